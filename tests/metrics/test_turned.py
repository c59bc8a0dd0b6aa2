"""Measuring a network on another cohort: images are turned as the network has learnt them, predictions turned back."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from conftest import tiny
from massmatch.cli import app
from massmatch.data import Sample, write_cohort
from massmatch.data.preprocessing.breast import chest_side
from massmatch.errors import UsageError
from massmatch.inference.evaluation import evaluate_weights
from massmatch.runs.weights import load_weights, save_weights
from massmatch.training.evaluate import evaluate, evaluate_native, predicted, predicted_as_learned


@pytest.fixture(scope="module")
def mirrored(cohort, tmp_path_factory):
    """The made-up cohort with every image and mask mirrored."""
    samples = [
        Sample(s.id, s.patient, s.image[:, ::-1].copy(), s.instances[:, ::-1].copy(), spacing_mm=s.spacing_mm)
        for s in map(cohort.load, cohort.ids)
    ]
    root = tmp_path_factory.mktemp("mirrored") / "mirrored"
    return write_cohort(samples, root, reader="t", options={}, licence="x")


class Leftish(nn.Module):
    """A network that has learnt left chest walls only: it finds what is bright, and is blind in the right half."""

    def __init__(self):
        super().__init__()
        self.steep = nn.Parameter(torch.tensor(20.0))

    def forward(self, images):
        half = images.shape[-1] // 2
        found = self.steep * (images - images.mean())
        return torch.cat([found[..., :half], found[..., half:] - 1000], dim=-1)


@pytest.fixture(scope="module")
def weights_of_one_side():
    return Leftish()


@pytest.fixture(scope="module")
def found(weights_of_one_side, cohort):
    return evaluate(weights_of_one_side, cohort, cohort.ids, 0.5, orientation="left")


def test_rows_of_a_mirrored_cohort_are_those_of_the_cohort(found, weights_of_one_side, cohort, mirrored, tmp_path):
    assert {chest_side(cohort.load(id).image) for id in cohort.ids} == {"left"}
    model = weights_of_one_side
    turned = evaluate(model, mirrored, mirrored.ids, 0.5, orientation="left", out=tmp_path)
    same = ["id", "dsc", "tp", "fp", "fn", "tn", "hau_px"]
    pd.testing.assert_frame_equal(turned.rows[same], found.rows[same])
    left_alone = evaluate(model, mirrored, mirrored.ids, 0.5)
    assert not left_alone.rows["tp"].equals(found.rows["tp"])  # a network of one side is not symmetric


def test_so_are_probabilities_and_other_orientations_turn_nothing(weights_of_one_side, cohort):
    sample = cohort.load(cohort.ids[0])
    mirror = replace(sample, image=sample.image[:, ::-1])
    plain = predicted(weights_of_one_side, sample.image, cohort.normalise, sample.id)
    turned = predicted_as_learned(weights_of_one_side, mirror, cohort.normalise, "left")
    np.testing.assert_array_equal(turned, plain[:, ::-1])
    for orientation in ("left", "mixed", None):
        same = predicted_as_learned(weights_of_one_side, sample, cohort.normalise, orientation)
        np.testing.assert_array_equal(same, plain)


def test_the_command_turns_what_the_weights_have_learnt_the_other_way(trained, cohort, mirrored, tmp_path):
    arguments = ["evaluate", trained / "best.safetensors", mirrored.root, "--out", tmp_path / "out"]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    rows = pd.read_csv(tmp_path / "out" / "rows.csv")
    found = evaluate(load_weights(trained / "best.safetensors")[0], cohort, cohort.ids, 0.5)
    assert rows["tp"].tolist() == found.rows["tp"].tolist()
    assert rows["fp"].tolist() == found.rows["fp"].tolist()


def test_a_folder_with_what_was_measured_on_other_images_is_refused(trained, mirrored, tmp_path):
    out = tmp_path / "out"
    evaluate_weights(trained, mirrored.root, out)
    evaluate_weights(trained, mirrored.root, out)  # the same images may be measured again
    gone = mirrored.ids[0]
    few = [mirrored.load(id) for id in mirrored.ids if id != gone]
    fewer = write_cohort(few, tmp_path / "few", reader="t", options={}, licence="x")
    before = (out / "rows.csv").read_bytes()
    for left in ("rows.csv", f"predictions/{gone}.png"):
        with pytest.raises(
            UsageError, match=rf"^--out: .*out holds an evaluation of images that .*few does not have \({gone}\)"
        ):
            evaluate_weights(trained, fewer.root, out)
        assert not (out / "rows.csv").exists() or (out / "rows.csv").read_bytes() == before
        (out / left).unlink()
    evaluate_weights(trained, fewer.root, out)


@pytest.mark.filterwarnings("ignore:this is the cohort that the network was trained on")
def test_a_folder_with_what_other_weights_or_another_cohort_gave_is_refused(trained, cohort, mirrored, tmp_path):
    """rows_native.csv of the earlier one stayed beside the new rows.csv."""
    out, model = tmp_path / "out", load_weights(trained / "best.safetensors")[0]
    save_weights(tmp_path / "other.safetensors", model, tiny(cohort), 0.4, (64, 64), cohort)
    evaluate_weights(trained, mirrored.root, out)
    before = {path: path.read_bytes() for path in out.glob("*.csv")}
    for weights, images, what in (
        (tmp_path / "other.safetensors", mirrored, r"weights \(\S+ \w{12}\)"),
        (trained, cohort, rf"cohort \({mirrored.fingerprint}\)"),
    ):
        with pytest.raises(UsageError, match=rf"^--out: .*out holds an evaluation of other {what}: give another"):
            evaluate_weights(weights, images.root, out)
    assert {path: path.read_bytes() for path in out.glob("*.csv")} == before
    shutil.copy(trained / "best.safetensors", tmp_path / "copy.safetensors")
    evaluate_weights(tmp_path / "copy.safetensors", mirrored.root, out)


def test_from_python_it_gives_the_rows_that_it_writes_and_tells_of_every_image(trained, mirrored, tmp_path):
    seen = []
    found = evaluate_weights(trained, mirrored.root, tmp_path, watch=seen.append)
    assert found.path == tmp_path / "rows.csv"
    assert pd.read_csv(found.path)["id"].tolist() == found.rows["id"].tolist() == mirrored.ids
    assert [(now.done, now.of) for now in seen] == [(n + 1, len(mirrored)) for n in range(len(mirrored))]


def test_the_native_frame_is_turned_too(weights_of_one_side, cohort, mirrored, monkeypatch):
    class Same:
        """The frame of images that are measured as they are."""

        def undo(self, probability):
            return probability

        def native_spacing(self, spacing):
            return spacing

    monkeypatch.setattr(type(cohort), "native_frame", lambda self, id: Same())
    monkeypatch.setattr(type(cohort), "native_instances", lambda self, id: self.load(id).instances)
    one, other = (
        evaluate_native(weights_of_one_side, each, each.ids, 0.5, orientation="left") for each in (cohort, mirrored)
    )
    assert one["tp"].tolist() == other["tp"].tolist()
