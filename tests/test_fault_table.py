"""Every row of docs/faults.md has a test by its number, and every test by a number has a row."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/faults.md").read_text()
ROWS = [int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.M)]
NAMED = {
    int(number)
    for path in TESTS.rglob("test_*.py")
    for number in re.findall(r"^def test_row_(\d+)_", path.read_text(), re.M)
}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_a_test_by_its_number(row):
    assert row in NAMED


def test_the_page_has_every_row_that_a_test_names_once():
    assert len(ROWS) >= 61
    assert sorted(set(ROWS)) == ROWS
    assert set(ROWS) >= NAMED
