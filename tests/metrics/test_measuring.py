"""Measuring networks: image by image, whole files, on the CPU where an accelerator fails."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from massmatch.cli.predicting import predict_all
from massmatch.errors import DataError, RunError
from massmatch.inference.batch import predict
from massmatch.inference.network import load_network
from massmatch.metrics import CANDIDATE, cpm, froc, lesion_candidates
from massmatch.runs.weights import best_device, load_weights
from massmatch.training import evaluate as measuring
from massmatch.training.evaluate import Measured, evaluate, evaluate_run, predicted, probabilities


@pytest.fixture(scope="module")
def network(trained):
    return load_weights(trained / "best.safetensors")[0]


def test_an_image_is_measured_the_same_whatever_else_is(network, cohort):
    together = evaluate(network, cohort, cohort.ids[:5], 0.5)
    apart = [evaluate(network, cohort, [id], 0.5) for id in reversed(cohort.ids[:5])]
    for whole, joined in zip(together, Measured.joined(apart, cohort.ids), strict=True):
        pd.testing.assert_frame_equal(joined, whole.reset_index(drop=True))


def test_measuring_a_run_again_gives_the_same_bytes(trained, cohort, tmp_path):
    before = {name: (trained / name).read_bytes() for name in ("rows.csv", "candidates.csv")}
    evaluate_run(trained, cohort)
    assert {name: (trained / name).read_bytes() for name in before} == before


def test_candidates_follow_from_the_probabilities_and_give_a_curve(network, cohort, trained):
    rows, stored = pd.read_csv(trained / "rows.csv"), pd.read_csv(trained / "candidates.csv")
    assert list(stored.columns) == ["id", "patient", *CANDIDATE, "area_mm2"]
    id = rows["id"][0]
    sample = cohort.load(id)
    expected = lesion_candidates(probabilities(network, sample.image, "min-max"), sample.instances)
    found = stored[stored["id"] == id][[*CANDIDATE]].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    curve = froc(stored, rows)
    assert 0 <= cpm(curve) <= 1
    assert curve["fp_per_image"].iloc[-1] <= len(stored) / len(rows)


def test_a_table_that_cannot_be_written_leaves_the_old_ones(trained, cohort, tmp_path, monkeypatch):
    old = pd.DataFrame({"id": ["old"]})
    Measured(old, old).write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunError, match=r"disk full|No space left"):
        Measured(old.assign(new=1), old.assign(new=1)).write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


class Crowded(nn.Module):
    """A network on an accelerator without memory: it can only work on the CPU."""

    def __init__(self, network):
        super().__init__()
        self.network, self.crowded = network, True

    def parameters(self, recurse=True):
        return iter([torch.empty(1, device="meta")]) if self.crowded else self.network.parameters(recurse)

    def to(self, device):
        assert device == "cpu"
        self.crowded = False
        return self

    def forward(self, images):
        if self.crowded:
            raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")
        return self.network(images)


def test_row_56_without_memory_on_the_accelerator_evaluation_goes_on_on_the_cpu(network, cohort):
    expected = evaluate(network, cohort, cohort.ids[:3], 0.5)
    with pytest.warns(RuntimeWarning) as said:
        found = evaluate(Crowded(network), cohort, cohort.ids[:3], 0.5)
    assert [str(each.message) for each in said] == [
        "meta ran out of memory on an image of 64x64: going on on the CPU"  # once: there it stays
    ]
    for table, other in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(table, other, rtol=1e-3)


def test_row_56_without_memory_on_the_accelerator_prediction_goes_on_on_the_cpu(trained, cohort, tmp_path, monkeypatch):
    images = [cohort.root / "images" / f"{id}.png" for id in cohort.ids[:2]]
    predict_all(images, tmp_path / "plain", weights=[trained])
    crowded, facts = load_network(trained)
    monkeypatch.setattr("massmatch.inference.batch.load_ensemble", lambda paths, own: (Crowded(crowded), facts))
    with pytest.warns(RuntimeWarning, match="going on on the CPU") as said:
        predict_all(images, tmp_path / "crowded", weights=[trained])
    assert len(said) == 1
    for id in cohort.ids[:2]:
        masks = [np.asarray(Image.open(tmp_path / kind / f"{id}_mask.png")) for kind in ("plain", "crowded")]
        assert (masks[0] == masks[1]).all()


def test_row_56_a_cpu_without_memory_is_no_place_to_go_on(cohort):
    class Full(nn.Linear):
        def forward(self, images):
            raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")

    with pytest.raises(torch.OutOfMemoryError):
        predicted(Full(1, 1), cohort.load(cohort.ids[0]).image, "min-max", "a")


class NoNumbers(nn.Linear):
    """A network that divides by the mean of what it sees, say, as an own one may outside of training."""

    def forward(self, images):
        return images * torch.nan


def test_no_numbers_are_no_empty_prediction(cohort):
    """NaN is above no threshold: such an image counted as one in which no mass was found."""
    with pytest.raises(DataError, match=f"^{cohort.ids[1]}: the network gives NaN for it"):
        evaluate(NoNumbers(1, 1), cohort, cohort.ids[1:2], 0.5)


def test_an_image_without_numbers_is_a_row_with_an_error(trained, cohort, tmp_path, monkeypatch):
    images = [cohort.root / "images" / f"{id}.png" for id in cohort.ids[:2]]
    _, facts = load_network(trained)
    monkeypatch.setattr("massmatch.inference.batch.load_ensemble", lambda paths, own: (NoNumbers(1, 1), facts))
    batch = predict(images, tmp_path / "out", weights=[trained])
    assert len(batch.failed) == 2
    assert all("the network gives NaN for it" in fault for fault in batch.failed.values())
    assert not list((tmp_path / "out").glob("*.png"))


def built_for_cuda(monkeypatch, available):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", available)


def test_row_57_without_a_gpu_the_cpu_computes_and_one_line_says_so(monkeypatch, trained):
    built_for_cuda(monkeypatch, lambda: False)
    with pytest.warns(RuntimeWarning) as said:
        network, _ = load_weights(trained / "best.safetensors")
    assert next(network.parameters()).device.type == "cpu"
    assert [str(each.message) for each in said] == ["no cuda device can be used: computing on the CPU"]


def test_row_57_a_driver_that_does_not_fit_is_named_in_the_line(monkeypatch):
    def mismatch():
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old.\nPlease update", stacklevel=1)
        return False

    built_for_cuda(monkeypatch, mismatch)
    with pytest.warns(RuntimeWarning) as said:
        assert best_device().type == "cpu"
    assert [str(each.message) for each in said] == [
        "no cuda device can be used (CUDA initialization: The NVIDIA driver on your system is too old.): "
        "computing on the CPU"
    ]


def test_row_57_a_gpu_that_works_is_used_without_a_word(monkeypatch):
    built_for_cuda(monkeypatch, lambda: True)
    assert best_device().type == "cuda"


@pytest.mark.parametrize("listed", ["", "-1"])
def test_gpus_that_are_hidden_on_purpose_are_not_missed(monkeypatch, listed):
    built_for_cuda(monkeypatch, lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert best_device().type == "cpu"


def test_a_network_in_evaluation_is_left_in_evaluation(network, cohort):
    network.train()
    measuring.evaluate(network, cohort, cohort.ids[:1], 0.5)
    assert not network.training
