"""What the report marks as a reconstruction is what the docs call one."""

import re
from pathlib import Path

import massmatch
from massmatch.losses import LOSSES
from massmatch.models import MODELS
from massmatch.reports import reconstructions
from massmatch.reports.reconstructions import is_reconstruction

SYSTEMS = Path(massmatch.__file__).parents[2] / "docs/systems.md"


def test_the_reconstructions_are_those_of_the_docs():
    lines = [line for line in SYSTEMS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    called = {re.match(r"\| `([^`]+)`", line).group(1) for line in lines if "reconstruction" in line}
    assert called == reconstructions.LOSSES | reconstructions.MODELS
    assert set(LOSSES) >= reconstructions.LOSSES
    assert set(MODELS) >= reconstructions.MODELS


def test_options_do_not_hide_a_reconstruction():
    assert is_reconstruction("asp-q:groups=3", "aunet")
    assert is_reconstruction("bce", "arfnet")
    assert not is_reconstruction("sm-tversky-s-a", "aunet")
