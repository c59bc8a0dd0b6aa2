"""A threshold can be chosen on the validation part, so that losses whose probabilities run low are not called blind."""

import numpy as np
import pytest
from safetensors import safe_open

from conftest import tiny
from massmatch.metrics import Counts
from massmatch.training.epochs import THRESHOLDS, best_threshold
from massmatch.training.experiment import Experiment
from massmatch.training.fit import run


def counted(probability, mask, tried):
    exceeded = np.searchsorted(tried, probability, side="left")
    return (np.bincount(exceeded[of], minlength=len(tried) + 1) for of in (mask, ~mask))


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_the_best_of_all_tried_one_by_one(seed):
    random, tried = np.random.default_rng(seed), np.array(THRESHOLDS)
    probability, mask = random.random((9, 9)).round(2), random.random((9, 9)) < 0.3
    found, at = best_threshold(tried, *counted(probability, mask, tried))
    slow = {t: Counts.of(probability > t, mask) for t in THRESHOLDS}
    assert found == slow[at]
    assert found.dice == max(counts.dice for counts in slow.values())


def test_a_probability_at_the_threshold_is_not_above_it():
    found, _ = best_threshold(np.array([0.5]), *counted(np.array([0.5, 0.51]), np.array([True, True]), np.array([0.5])))
    assert found == Counts(1, 0, 1, 0)


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken():
    tried = np.array(THRESHOLDS)
    _, at = best_threshold(tried, *counted(np.array([0.9, 0.1]), np.array([True, False]), tried))
    assert at == 0.5


def test_a_run_keeps_its_threshold_with_its_weights_and_measures_with_it(cohort, tmp_path):
    import pandas as pd

    folder = run(tiny(cohort, threshold="validation"), cohort, 0, tmp_path)
    history = pd.read_csv(folder / "history.csv")
    best = history[history["val_dsc_pooled"] == history["val_dsc_pooled"].max()].iloc[-1]
    with safe_open(folder / "best.safetensors", "pt") as file:
        assert f'"threshold": {best["val_threshold"]}' in file.metadata()["massmatch"]
    assert set(pd.read_csv(folder / "rows.csv")["threshold"]) == {best["val_threshold"]}


@pytest.mark.parametrize("wrong", [0, 1, "test"])
def test_other_thresholds_are_refused(wrong):
    with pytest.raises(ValueError, match="threshold"):
        Experiment(cohort="c", fingerprint="f", threshold=wrong)
