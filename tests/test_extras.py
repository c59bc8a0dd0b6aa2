"""A plain install is light: each command names the extra that it lacks in one line."""

from importlib.metadata import packages_distributions

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from licences import PROJECT, required
from massmatch.cli import app, extras
from massmatch.data import DataError, dicom

LIGHT = {"losses", "models", "nnunet"}


def packages(extra):
    """The distributions that an extra adds to a plain install, with those of the extras that it includes."""
    return {each.name.lower() for each in required(extra)} - {each.name.lower() for each in required()}


@pytest.mark.parametrize("extra", extras.PACKAGES)
def test_what_is_looked_for_is_what_the_extra_brings(extra):
    brought, wanted = packages_distributions(), packages(extra)
    bringing = [{name.lower() for name in brought[package]} & wanted for package in extras.PACKAGES[extra]]
    assert all(bringing)  # another distribution may bring the same package, as pytorch-lightning does
    assert set().union(*bringing) == wanted


def test_all_brings_every_extra_that_a_command_line_can_use():
    rest = set(PROJECT["optional-dependencies"]) - {"all", "dev", "docs", "examples", "nnunet"}
    assert packages("all") == set().union(*map(packages, rest))


def without(monkeypatch, package):
    real = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == package else real(name))


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [
        ("matplotlib", "report .", "report"),
        ("PIL", "explain .", "report"),
        ("yaml", "status .", "train"),
        ("sklearn", "phantom out", "data"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(package, command, extra, monkeypatch):
    without(monkeypatch, package)
    result = CliRunner().invoke(app, command.split(), env={"COLUMNS": "200"})
    assert result.exit_code == 2
    line = f"this command needs {package}, which is not installed: pip install 'massmatch[{extra}]'"
    assert result.output.strip() == f"massmatch: {line}"


def test_help_needs_no_extra(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    for name in get_command(app).commands:
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


def test_losses_and_networks_need_no_extra(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    light = {name for name in get_command(app).commands if name in LIGHT}
    assert light == LIGHT
    assert CliRunner().invoke(app, ["losses"]).exit_code == 0


def test_the_version_is_printed():
    from massmatch import __version__

    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output.strip()) == (0, f"massmatch {__version__}")


def test_a_dicom_file_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"a\.dcm: .* pip install 'massmatch\[dicom\]'"):
        dicom.read_dicom(tmp_path, "a.dcm")
