"""An option that would change nothing where it stands is refused in one line."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mammograms import mammogram
from massmatch.cli import app
from massmatch.data.readers.folder import folder
from massmatch.errors import UsageError
from massmatch.inference.network import refuse_unused


@pytest.fixture
def image(tmp_path):
    Image.fromarray((mammogram(64, 64) >> 4).astype(np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["predict", "IMAGE", "--out", "out", "--modality", "any"],
            "--modality: is about DICOM, but none of the 1 images",
        ),
        (["predict", "IMAGE", "--out", "out", "--keep-names"], "--keep-names: is about DICOM"),
        (
            ["predict", "IMAGE", "--out", "out", "--own-network", "mine:Net"],
            "--own-network: mine:Net is not what these",
        ),
        (
            ["export", "--to", "torch", "--own-network", "mine:Net"],
            "--own-network: mine:Net is not what these weights are",
        ),
        (["train", "COHORT", "--scheme", "split", "--folds", "7"], "folds: scheme split divides the patients once"),
        (["sweep", "COHORT", "--losses", "bce", "--scheme", "split", "--of", "7"], "folds: scheme split divides"),
        (["sweep", "COHORT", "--losses", "bce", "--address", "x:1"], "--address: --engine local has no such choice"),
        (["sweep", "COHORT", "--losses", "bce", "--gpus-per-run", "1"], "--gpus-per-run: --engine local has no such"),
        (["sweep", "COHORT", "--losses", "bce", "--engine", "ray", "--jobs", "2"], "--jobs: --engine ray has no such"),
        (["sweep", "COHORT", "--figure", "1", "--losses", "bce"], "--losses: --figure 1 is measured without cohort"),
        (["status", "COHORT", "--watch", "--json"], "--watch: --json is printed once"),
        (["losses", "--markdown", "show", "bce"], "--markdown: belongs to the list"),
        (["models", "--markdown", "show", "aunet"], "--markdown: belongs to the list"),
    ],
)
def test_an_option_that_changes_nothing_is_refused(cohort, image, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    words = {"COHORT": str(cohort.root), "IMAGE": str(image)}
    result = CliRunner().invoke(app, [words.get(each, each) for each in arguments])
    assert result.exit_code == 2, result.output
    assert f"massmatch: {told}" in result.output
    assert not (tmp_path / "out").exists()


def test_a_modality_is_what_dicom_names(image, tmp_path):
    root = tmp_path / "source"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
        (root / name / "a.png").write_bytes(image.read_bytes())
    with pytest.raises(UsageError, match="--modality: is what DICOM files name, but none"):
        folder(root, modality="any")


def test_a_network_of_ones_own_is_known_in_any_spelling():
    refuse_unused(["mine:Net:a=1,b=2"], ["aunet", "mine:Net:b=2,a=1"])
    with pytest.raises(UsageError, match="mine:Net is not what these weights are of"):
        refuse_unused(["mine:Net"], ["mine:Net:a=1"])
