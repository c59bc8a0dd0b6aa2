"""The examples in docstrings that begin with >>> give what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import massmatch

SOURCE = Path(massmatch.__file__).parent
FILES = sorted(path for path in SOURCE.rglob("*.py") if ">>> " in path.read_text())
MODULES = [".".join(["massmatch", *path.relative_to(SOURCE).with_suffix("").parts]) for path in FILES]


def test_there_are_examples():
    assert {"massmatch.errors", "massmatch.metrics.registry"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_say(module):
    found = doctest.testmod(import_module(module))
    assert found.attempted
    assert not found.failed
