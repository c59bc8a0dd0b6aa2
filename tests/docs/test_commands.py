"""The page of all commands is what the program says of itself."""

import importlib.util
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/cli.md"


def test_the_page_is_current():
    spec = importlib.util.spec_from_file_location("commands", PAGE.with_name("commands.py"))
    commands = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(commands)
    assert PAGE.read_text() == commands.page(), "run: python docs/commands.py"
