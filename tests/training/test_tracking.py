"""Curves in TensorBoard and MLflow: whole, without doubles after a resume, and never worth a run."""

import json
import warnings

import pandas as pd
import pytest

from conftest import tiny
from interruption import CutOffError, cut_in
from massmatch.training import run as fit
from massmatch.training import tracking

BOTH = ("tensorboard", "mlflow")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def client(runs, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=(runs / "mlruns").resolve().as_uri())


@pytest.fixture
def alone(monkeypatch):
    """Whatever server the machine knows of."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def resumed(cohort, tmp_path, alone):
    """A run of three epochs that was cut off in the last."""
    experiment = tiny(cohort, epochs=3)
    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, tmp_path, cut_in(3), track=BOTH)
    return fit.run(experiment, cohort, 0, tmp_path, track=BOTH)


@pytest.mark.long
def test_tensorboard_has_each_epoch_once_after_a_resume(resumed):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(resumed / "tensorboard"))
    events.Reload()
    history = pd.read_csv(resumed / "history.csv")
    for column in ("loss", "val_dsc_pooled", "learning_rate"):
        scalars = events.Scalars(column)
        assert [scalar.step for scalar in scalars] == [1, 2, 3]
        assert [scalar.value for scalar in scalars] == pytest.approx(history[column].tolist(), rel=1e-6)


@pytest.mark.long
def test_mlflow_goes_on_with_the_same_run_and_has_each_epoch_once(resumed, cohort, monkeypatch):
    store = client(resumed.parent.parent, monkeypatch)
    (experiment,) = [e for e in store.search_experiments() if e.name == cohort.name]
    (run,) = store.search_runs([experiment.experiment_id])
    assert run.info.run_id == (resumed / "mlflow_run").read_text()
    assert run.info.status == "FINISHED"
    assert run.data.params["loss"] == "sm-tversky-sd-nz"
    assert run.data.params["fold"] == "0"
    history = pd.read_csv(resumed / "history.csv")
    metrics = store.get_metric_history(run.info.run_id, "loss")
    assert [metric.step for metric in metrics] == [1, 2, 3]
    assert [metric.value for metric in metrics] == history["loss"].tolist()


@pytest.mark.long
def test_history_files_agree_and_have_each_epoch_once_after_a_resume(resumed):
    rows = [json.loads(line) for line in (resumed / "history.jsonl").read_text().splitlines()]
    assert pd.DataFrame(rows).equals(pd.read_csv(resumed / "history.csv"))
    assert [row["epoch"] for row in rows] == [1, 2, 3]


@pytest.mark.long
def test_two_runs_that_begin_at_once_share_the_cohorts_experiment(cohort, tmp_path, alone, monkeypatch):
    """Between this run's look and its try, another one has made it."""
    store, looked = client(tmp_path, monkeypatch), []
    from mlflow.tracking import MlflowClient

    look = MlflowClient.get_experiment_by_name

    def late(self, name):
        looked.append(name)
        if len(looked) > 1:
            return look(self, name)
        store.create_experiment(name)
        return None

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", late)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        out = fit.run(tiny(cohort), cohort, 0, tmp_path, track=("mlflow",))
    assert store.get_run((out / "mlflow_run").read_text()).info.status == "FINISHED"
    assert len(looked) == 2


@pytest.mark.long
def test_a_run_that_was_cut_off_is_killed_in_mlflow_until_it_goes_on(cohort, tmp_path, alone, monkeypatch):
    experiment = tiny(cohort, epochs=3)
    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, tmp_path, cut_in(3), track=("mlflow",))
    run = (experiment.folder(tmp_path, 0) / "mlflow_run").read_text()
    assert client(tmp_path, monkeypatch).get_run(run).info.status == "KILLED"


def test_nothing_is_tracked_unasked(trained):
    assert not (trained / "tensorboard").exists()
    assert not (trained.parent.parent / "mlruns").exists()


def test_a_tracker_that_fails_is_warned_of_and_made_up_for(cohort, tmp_path, monkeypatch):
    seen = []

    class Flaky:
        logged = 0

        def __init__(self, *_):
            pass

        def log(self, row):
            if row["epoch"] == 2 and "failed" not in seen:
                seen.append("failed")
                raise ConnectionError("no route to host\nand more")
            seen.append(row["epoch"])

        def close(self, finished):
            seen.append(finished)

    monkeypatch.setitem(tracking.TRACKERS, "flaky", (Flaky, "json"))
    with pytest.warns(UserWarning, match=r"--track flaky: no route to host; history\.csv has every epoch"):
        fit.run(tiny(cohort, epochs=3), cohort, 0, tmp_path, track=("flaky",))
    assert seen == [1, "failed", 2, 3, True]


def test_a_tracker_that_is_not_installed_names_the_extra(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--track mlflow needs .* pip install 'massmatch\[tracking\]'"):
        fit.run(tiny(cohort), cohort, 0, tmp_path, track=("mlflow",))
    with pytest.raises(ValueError, match="--track must be one of tensorboard, mlflow, but is 'wandb'"):
        fit.run(tiny(cohort), cohort, 0, tmp_path, track=("wandb",))
    assert not list(tmp_path.iterdir())
