"""Early stopping: when it ends a training, what is kept, and that an interruption changes nothing."""

import math

import pandas as pd
import pytest

from conftest import tiny
from interruption import CutOffError
from massmatch.errors import UsageError
from massmatch.runs.experiment import experiment_on
from massmatch.runs.folder import RunFolder
from massmatch.runs.history import epochs_since_best
from massmatch.runs.weights import read_weights
from massmatch.training import loop
from massmatch.training import run as fit

NAN = math.nan
ONE_STEP = {"epochs": 8, "batch_size": 32}  # what an epoch learns is not looked at
SCORES = [0.1, 0.3, 0.2, 0.29, 0.3, 0.1, 0.2, 0.9]  # the fifth is as good as the second, and counts as the best


@pytest.mark.parametrize(
    ("scores", "since"),
    [
        ([], 0),
        ([0.0], 0),
        ([0.0, 0.0], 0),
        ([0.3, 0.1, 0.2], 2),
        ([0.3, 0.1, 0.3], 0),
        ([NAN, 0.2, NAN], 1),
        ([NAN], 1),
    ],
)
def test_epochs_are_counted_from_the_last_of_the_best(scores, since):
    assert epochs_since_best([{"val_dsc_pooled": score} for score in scores]) == since


@pytest.fixture
def scripted(monkeypatch):
    """Validation parts that score as SCORES says, from an epoch on."""

    def begin(epoch=0):
        rest = iter(SCORES[epoch:])
        found = {"val_sen_pooled": 0.5, "val_predicted_px": 9, "val_threshold": 0.5}
        monkeypatch.setattr(loop, "validated", lambda *_: {"val_dsc_pooled": next(rest), **found})

    return begin


@pytest.mark.parametrize(
    ("patience", "epochs"),
    [pytest.param(0, 8, marks=pytest.mark.long), (2, 4), pytest.param(3, 8, marks=pytest.mark.long), (1, 3)],
)
def test_a_training_ends_once_so_many_epochs_were_no_better(cohort, tmp_path, scripted, patience, epochs):
    scripted()
    run = RunFolder(fit.run(tiny(cohort, patience=patience, **ONE_STEP), cohort, 0, tmp_path))
    assert run.history()["val_dsc_pooled"].tolist() == SCORES[:epochs]
    assert run.state == "done"
    assert len(run.rows())


@pytest.mark.long
def test_an_interruption_changes_neither_the_end_nor_a_bit(cohort, tmp_path, scripted):
    experiment = tiny(cohort, patience=2, **ONE_STEP)

    def cut(now):
        if now.phase == "train" and now.epoch == 4:
            raise CutOffError

    scripted()
    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, tmp_path / "cut", cut)
    scripted(3)
    cut_off = fit.run(experiment, cohort, 0, tmp_path / "cut")
    scripted()
    whole = fit.run(experiment, cohort, 0, tmp_path / "whole")
    histories = [pd.read_csv(each / "history.csv").drop(columns="seconds") for each in (cut_off, whole)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert len(histories[0]) == 4
    (_, one), (_, other) = (read_weights(each / "best.safetensors") for each in (cut_off, whole))
    assert all((one[name] == other[name]).all() for name in one)


def test_a_run_that_was_out_of_patience_when_it_was_killed_trains_no_further(cohort, tmp_path, scripted, monkeypatch):
    def killed(*_):
        raise CutOffError

    experiment = tiny(cohort, patience=2, **ONE_STEP)
    scripted()
    with monkeypatch.context() as patched:
        patched.setattr(fit, "measure_together", killed)
        with pytest.raises(CutOffError):
            fit.run(experiment, cohort, 0, tmp_path)
    scripted(8)  # validating once more would fail
    run = RunFolder(fit.run(experiment, cohort, 0, tmp_path))
    assert (run.state, len(run.history())) == ("done", 4)


def test_one_cycle_which_gains_most_at_its_end_is_not_cut_short(cohort):
    with pytest.raises(UsageError, match="patience: must be 0 with schedule one-cycle, whose last epochs gain most"):
        experiment_on(cohort, patience=2, schedule="one-cycle")
    assert experiment_on(cohort, patience=2).patience == 2
