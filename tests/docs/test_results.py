"""The page of results says what the committed rows say."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        return runpy.run_path(str(DOCS / "results.py"))


def test_the_page_tells_the_runs_and_the_nested_choice_of_the_committed_table(script):
    page = (DOCS / "results.md").read_text()
    rows = script["shared_runs"](script["new_rows"]())
    for told in (script["runs_line"](rows), script["nested_choice"](rows)):
        assert told in page, "run python docs/results.py"


def test_old_and_new_rows_stand_in_tables_of_their_own(script):
    new, old = script["new_rows"](), script["old_rows"]()
    assert (new["settings"].str.contains('"threshold": "validation"')).all()
    assert old["threshold"].between(0.05, 0.95).all()
    assert "settings" not in old


def test_an_unknown_mark_is_no_block(script):
    with pytest.raises(KeyError, match="other"):
        script["with_blocks"]("<!-- begin other -->\n<!-- end other -->")
