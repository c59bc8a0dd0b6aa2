"""The README's Python runs as it stands; its commands and files exist."""

import re
from pathlib import Path

from typer.main import get_command

from massmatch.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("(16, 32)")


def test_the_commands_exist_with_their_options():
    """In the README and the page on data; every command but the demo is shown in the README."""
    commands = get_command(app).commands
    documents = [README, (ROOT / "docs/data.md").read_text()]
    used = [found for text in documents for found in re.findall(r"^massmatch ([\w-]+)((?:.*\\\n)*.*)$", text, re.M)]
    assert {name for name, _ in re.findall(r"^massmatch ([\w-]+)(.*)$", README, re.M)} == set(commands) - {"demo"}
    for name, rest in used:
        command = commands[name]
        subcommand = getattr(command, "commands", {}).get(rest.split()[0] if rest.split() else "", command)
        known = {option for parameter in subcommand.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest.split("#")[0])) <= known, name
    for option in re.findall(r"`(--[a-z-]+)", documents[1]):
        assert any(option in p.opts for command in commands.values() for p in command.params), option


def test_the_make_targets_and_files_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {*re.findall(r"^make ([a-z-]+)", README, re.M), *re.findall(r"`make ([a-z-]+)`", README)} <= targets
    for path in re.findall(r"\]\(([^)#:]+)\)|`(src/[^`]+|tests/[^`]+)`", README):
        assert (ROOT / "".join(path)).exists(), path
