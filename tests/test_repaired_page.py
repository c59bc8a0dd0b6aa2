"""The demonstrations of docs/repaired.md run, and each of their claims holds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "repaired.md").read_text()


def test_the_five_faults_are_there_and_the_repairs_mend_them():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert sum(block.count("assert") for block in blocks) >= 10
    space = {}
    for block in blocks:
        exec(compile(block, "docs/repaired.md", "exec"), space)


@pytest.mark.long
def test_the_tables_of_three_seeds_are_what_the_images_give():
    made = subprocess.run([sys.executable, DOCS / "repaired_tables.py"], capture_output=True, text=True, check=True)
    assert made.stdout.count("\n| `") >= 6
    tables = (DOCS / "results/soft_loss.md").read_text()
    assert [line for line in made.stdout.splitlines() if line not in tables.splitlines()] == []
