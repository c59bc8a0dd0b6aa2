"""docs/systems.md holds the tables of the catalogues as they are, and the README counts what there is."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.losses import LOSSES
from massmatch.models import MODELS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/systems.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("command", ["losses", pytest.param("models", marks=pytest.mark.long)])
@pytest.mark.filterwarnings("ignore")
def test_the_tables_of_the_page_are_those_of_the_catalogue(command):
    printed = CliRunner().invoke(app, [command, "--markdown"]).output.splitlines()
    start = PAGE.index(printed[0])
    end = next(n for n in range(start, len(PAGE)) if not PAGE[n].startswith("|"))
    assert PAGE[start:end] == printed, "run: python docs/tables.py"


def test_the_readme_counts_the_catalogue():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ours = {name for name, entry in LOSSES.items() if entry.variant}
    for counted, count in (("other losses", len(LOSSES) - len(ours)), ("networks", len(MODELS))):
        assert {int(number) for number in re.findall(rf"(\d+) {counted}", readme)} <= {count}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("losses", "show", "focal"), ("Lin et al. 2017", "gamma=2.0: how fast", "core=focal")),
        (("losses", "show", "sm-bce-s-nz"), ("adapted: only the kept cells", "min_cell=4: lower bound")),
        (("models", "show", "dsunet"), ("Rajalakshmi", "width 64", "deep supervision")),
    ],
)
def test_show_tells_all_of_one(command, said):
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0
    for words in said:
        assert words in found.output


@pytest.mark.parametrize(("command", "near"), [("losses", "focal"), ("models", "aunet")])
def test_show_of_an_unknown_name_is_one_line(command, near):
    found = CliRunner().invoke(app, [command, "show", near + "x"])
    assert found.exit_code == 2
    assert f"did you mean '{near}'?" in found.output


def test_every_option_has_a_meaning():
    assert [(name, o.name) for name, entry in LOSSES.items() for o in entry.options() if not o.meaning] == []
