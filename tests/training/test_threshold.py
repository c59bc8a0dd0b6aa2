"""A threshold can be chosen on the validation part, so that losses whose probabilities run low are not called blind."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from safetensors import safe_open

from conftest import tiny
from massmatch.losses import make_loss
from massmatch.metrics import Counts
from massmatch.runs.experiment import Experiment
from massmatch.training import loop as epochs
from massmatch.training.batches import Samples
from massmatch.training.distributed.share import Share
from massmatch.training.run import run
from massmatch.training.thresholds import THRESHOLDS, as_stored, at_end, best_threshold, searched_before

LOWEST, HIGHEST = THRESHOLDS[0], THRESHOLDS[-1]


def counted(probability, mask, tried):
    exceeded = np.searchsorted(tried, probability, side="left")
    return (np.bincount(exceeded[of], minlength=len(tried) + 1) for of in (mask, ~mask))


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_the_best_of_all_tried_one_by_one(seed):
    random, tried = np.random.default_rng(seed), THRESHOLDS
    probability, mask = random.random((9, 9)).round(2), random.random((9, 9)) < 0.3
    found, at = best_threshold(tried, *counted(probability, mask, tried))
    slow = {t: Counts.of(probability > t, mask) for t in THRESHOLDS}
    assert found == slow[at]
    assert found.dice == max(counts.dice for counts in slow.values())


def test_a_probability_at_the_threshold_is_not_above_it():
    found, _ = best_threshold(np.array([0.5]), *counted(np.array([0.5, 0.51]), np.array([True, True]), np.array([0.5])))
    assert found == Counts(1, 0, 1, 0)


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken():
    tried = THRESHOLDS
    _, at = best_threshold(tried, *counted(np.array([0.9, 0.1]), np.array([True, False]), tried))
    assert at == 0.5


@pytest.mark.parametrize(
    ("chosen", "before"),
    [([0.35, 0.5], True), ([0.5, 0.3512], False), ([0.35, 0.3512], False), ([0.5, 0.5], False), ([], False)],
)
def test_runs_of_the_older_search_are_known_by_what_they_chose(chosen, before):
    """A new run that learned nothing, whose thresholds all are 0.5, was told to be trained again."""
    assert searched_before(chosen) == before


def test_the_search_goes_to_half_a_step_of_16_bits_from_0_and_1_and_has_no_gap():
    assert pytest.approx((0.5 / 65535, 1 - 0.5 / 65535), abs=1e-7) == (LOWEST, HIGHEST)
    logits = np.log(THRESHOLDS / (1 - THRESHOLDS))
    steps, inner = np.diff(THRESHOLDS), np.abs(logits[1:]) < 7
    assert np.diff(logits)[inner].max() < 0.04
    assert steps[~inner].max() < 2.01 / 65535
    assert (THRESHOLDS == 0.5).sum() == 1


@pytest.mark.parametrize("threshold", THRESHOLDS[[0, 1, 30, 408, -30, -2, -1]])
def test_a_stored_picture_cut_at_a_threshold_is_the_mask_that_was_measured(threshold):
    near = np.float32(threshold)
    assert near == threshold  # NumPy compares float32 with a Python float as float32
    below, above = np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(1))
    probability = np.array([0, below, near, above, 0.5, 1], np.float32)
    assert np.array_equal(as_stored(probability) / 65535 > threshold, probability > float(threshold))
    assert as_stored(np.float32([0, 1])).tolist() == [0, 65535]


# Four pixels of mass, four of the rest. By hand: at the best threshold all of the mass and one of the rest are above.
@pytest.mark.parametrize(
    ("mass", "rest", "low", "high"),
    [
        (1 - 1e-5, 1 - 4e-4, 1 - 4e-4, 1 - 1e-5),
        (0.9999, 0.999, 0.999, 0.9999),
        (4e-4, 1e-5, 1e-5, 4e-4),
        (1e-4, 2e-5, 2e-5, 1e-4),
    ],
)
def test_networks_that_are_certain_of_everything_get_the_threshold_between(mass, rest, low, high):
    probability = np.array([mass] * 5 + [rest] * 3, np.float32)
    truth = np.arange(8) < 4
    found, at = best_threshold(THRESHOLDS, *counted(probability, truth, THRESHOLDS))
    assert found == Counts(4, 1, 0, 3)
    assert low <= at < high
    assert found == Counts.of(probability > at, truth)
    nearer = [t for t in THRESHOLDS if abs(t - 0.5) < abs(at - 0.5)]
    assert all(Counts.of(probability > t, truth).dice < found.dice for t in nearer)
    assert not at_end(at)


def test_a_threshold_at_an_end_is_known_also_of_runs_that_tried_less():
    assert [at_end(t) for t in (LOWEST, 0.05, 0.95, HIGHEST)] == [True] * 4
    assert not any(at_end(t) for t in THRESHOLDS[1:-1])
    assert at_end(float(f"{HIGHEST:.12g}"))  # as a table gives it back


class Certain(torch.nn.Module):
    """A network that is certain of everything: logits from 7 to 11, the higher the brighter the pixel."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(4.0))

    def forward(self, image):
        return 7 + self.scale * (image - image.min()) / (image.max() - image.min())


def test_shares_of_the_validation_part_added_up_give_the_threshold_of_the_whole(cohort, monkeypatch):
    ids, fabric, given = list(cohort.ids[:5]), Fabric(accelerator="cpu", devices=1), []

    def samples(of):
        return Samples(cohort, of, make_loss("dice"))

    whole = epochs.validated(fabric, Certain(), samples(ids), "validation")
    monkeypatch.setattr(epochs, "summed", lambda _, values: given.append(list(values)) or given[-1])
    for rank in range(2):
        epochs.validated(fabric, Certain(), samples(Share(rank, 2).part(ids)), "validation")
    total = np.sum(given, axis=0).tolist()
    monkeypatch.setattr(epochs, "summed", lambda *_: total)
    assert epochs.validated(fabric, Certain(), samples(ids[:1]), "validation") == whole
    assert 0.999 < whole["val_threshold"] < HIGHEST
    probability = np.stack([epochs.probabilities(Certain(), cohort.load(id).image, cohort.normalise) for id in ids])
    mask = np.stack([cohort.load(id).mask for id in ids])
    dice = [Counts.of(probability > t, mask).dice for t in THRESHOLDS.tolist()]
    assert whole["val_dsc_pooled"] == max(dice) == dice[THRESHOLDS.tolist().index(whole["val_threshold"])]


@pytest.mark.parametrize(("logit", "said"), [(-14.0, "lowest"), (14.0, "highest"), (0.0, None)])
def test_training_says_where_the_threshold_stands_at_an_end(cohort, tmp_path, monkeypatch, logit, said):
    """Every pixel of mass lies just above, every other just below this logit: as far as the search can reach."""
    masks = [cohort.load(id) for id in cohort.ids]

    def probabilities(network, image, normalise):
        mask = next(sample.mask for sample in masks if np.array_equal(sample.image, image))
        return torch.sigmoid(torch.from_numpy(logit + np.where(mask, 2.5, -2.5))).float().numpy()

    monkeypatch.setattr(epochs, "probabilities", probabilities)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folder = run(tiny(cohort, threshold="validation"), cohort, 0, tmp_path)
    told = [str(each.message) for each in caught if "threshold of the best epoch" in str(each.message)]
    at = pd.read_csv(folder / "history.csv")["val_threshold"].iloc[-1]
    assert at_end(at) == (said is not None)
    assert len(told) == (said is not None)
    assert all(f"is the {said} that was tried" in text for text in told)


@pytest.fixture(scope="module")
def searched(cohort, tmp_path_factory):
    return run(tiny(cohort, threshold="validation"), cohort, 0, tmp_path_factory.mktemp("searched"))


def test_pictures_of_a_run_cut_at_its_threshold_hold_the_pixels_of_its_rows(searched, cohort):
    for row in pd.read_csv(searched / "rows.csv", dtype={"id": str}).itertuples():
        stored = np.asarray(Image.open(searched / "predictions" / f"{row.id}.png")) / 65535 > row.threshold
        mask = cohort.load(row.id).mask
        assert Counts.of(stored, mask) == Counts(row.tp, row.fp, row.fn, row.tn)


def test_a_run_keeps_its_threshold_with_its_weights_and_measures_with_it(searched):
    history = pd.read_csv(searched / "history.csv")
    best = history[history["val_dsc_pooled"] == history["val_dsc_pooled"].max()].iloc[-1]
    with safe_open(searched / "best.safetensors", "pt") as file:
        assert f'"threshold": {best["val_threshold"]}' in file.metadata()["massmatch"]
    assert set(pd.read_csv(searched / "rows.csv")["threshold"]) == {best["val_threshold"]}


@pytest.mark.parametrize("wrong", [0, 1, "test"])
def test_other_thresholds_are_refused(wrong):
    with pytest.raises(ValueError, match="threshold"):
        Experiment(cohort="c", fingerprint="f", threshold=wrong)
