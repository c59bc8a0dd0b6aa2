"""Every fault that the project answers for has a test by its number."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# Checkpoints and resuming; metrics; files and annotations; patients' names; the system
ROWS = [*range(1, 32), *range(32, 51), *range(51, 54), *range(54, 62)]


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_a_test_by_its_number(row):
    texts = [path.read_text() for path in TESTS.rglob("test_*.py")]
    assert any(re.search(rf"^def test_row_{row}_", text, re.MULTILINE) for text in texts)
