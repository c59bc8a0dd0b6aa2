"""Curves for TensorBoard and MLflow, when asked for. history.csv and history.jsonl have them always."""

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from massmatch.errors import UsageError
from massmatch.runs.atomic import write_atomic
from massmatch.runs.experiment import Experiment
from massmatch.runs.history import Row


class Tracker(Protocol):
    """The interface of what curves are sent to: `log` after each epoch, `close` at the end."""

    logged: int  # epochs that are there already

    def log(self, row: Row) -> None:
        """Send the numbers of one epoch."""

    def close(self, finished: bool) -> None:
        """End the connection; `finished` says whether the training came to its end."""


class TensorBoard:
    """Event files in `tensorboard/` of the run's folder. Each start writes the curves anew over the old ones."""

    def __init__(self, experiment: Experiment, out: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.logged = 0
        self.writer = SummaryWriter(str(out / "tensorboard"), purge_step=1)
        text = "\n".join(f"    {name}: {value}" for name, value in experiment.model_dump().items())
        self.writer.add_text("experiment", text, 1)

    def log(self, row: Row) -> None:
        """Write a scalar for each column of an epoch."""
        for name, value in numbers(row).items():
            self.writer.add_scalar(name, value, row["epoch"])
        self.writer.flush()

    def close(self, finished: bool) -> None:
        """Close the file of events, whether the training came to its end or not."""
        self.writer.close()


class MLflow:
    """A run of MLflow, which a resumed training continues: its id stands in `mlflow_run` of the run's folder.

    The store is MLFLOW_TRACKING_URI of the environment, or else the folder `mlruns` beside the runs: nothing leaves the
    machine unless that variable says so.
    """

    def __init__(self, experiment: Experiment, out: Path) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 wants to be asked for its plain files
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # and to be told not to report each use
        from mlflow.tracking import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or (out.resolve().parent.parent / "mlruns").as_uri()
        self.client = MlflowClient(tracking_uri=uri)
        known = out / "mlflow_run"
        if known.is_file():
            self.run = known.read_text().strip()
            self.client.update_run(self.run, status="RUNNING")
        else:
            self.run = self._begun(experiment, out)
            write_atomic(known, self.run.encode())
        steps = [metric.step for metric in self.client.get_metric_history(self.run, "loss")]
        self.logged = max(steps, default=0)

    def _begun(self, experiment: Experiment, out: Path) -> str:
        run = self.client.create_run(self._of(experiment.cohort), run_name=f"{out.parent.name}/{out.name}").info.run_id
        for name, value in {**experiment.model_dump(), "fold": out.name.removeprefix("fold")}.items():
            self.client.log_param(run, name, value)
        return run

    def _of(self, cohort: str) -> str:
        """The id of the cohort's experiment in MLflow, which another run may make at the same moment."""
        if (found := self.client.get_experiment_by_name(cohort)) is not None:
            return found.experiment_id
        try:
            return self.client.create_experiment(cohort)
        except Exception:  # of several kinds, by store
            if (found := self.client.get_experiment_by_name(cohort)) is None:
                raise
            return found.experiment_id

    def log(self, row: Row) -> None:
        """Send a metric for each column of an epoch."""
        for name, value in numbers(row).items():
            self.client.log_metric(self.run, name, value, step=row["epoch"])

    def close(self, finished: bool) -> None:
        """End the run with the status FINISHED, or KILLED, which is MLflow's word for a run that may go on."""
        self.client.set_terminated(self.run, "FINISHED" if finished else "KILLED")


TRACKERS: dict[str, tuple[type[Any], str]] = {"tensorboard": (TensorBoard, "tensorboard"), "mlflow": (MLflow, "mlflow")}


class Trackers:
    """All trackers that were asked for, as one context. A failure of one is a warning and does not stop the run."""

    def __init__(self, names: tuple[str, ...], experiment: Experiment, out: Path) -> None:
        self.names, self.experiment, self.out = names, experiment, out
        self.open: dict[str, Tracker] = {}

    def __enter__(self) -> "Trackers":
        for name in self.names:
            with _forgiven(name):
                self.open[name] = TRACKERS[name][0](self.experiment, self.out)
        return self

    def log(self, history: list[Row]) -> None:
        """Send the epochs that have not been sent yet, so that a failure is made up for by the next call."""
        for name, tracker in self.open.items():
            with _forgiven(name):
                for row in history[tracker.logged :]:
                    tracker.log(row)
                    tracker.logged = row["epoch"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, tracker in self.open.items():
            with _forgiven(name):
                tracker.close(kind is None)


@contextmanager
def _forgiven(name: str) -> Iterator[None]:
    """Any failure of a tracker becomes a warning: it may be a server far away, and the run is worth more."""
    try:
        yield
    except Exception as error:
        reason = "".join(str(error).strip().splitlines()[:1])
        warnings.warn(f"--track {name}: {reason}; history.csv has every epoch", stacklevel=4)


def check_trackers(names: tuple[str, ...]) -> None:
    """Raise UsageError for a tracker that is unknown or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise UsageError(f"--track must be one of {', '.join(TRACKERS)}, but is {name!r}")
        if find_spec(TRACKERS[name][1]) is None:
            raise UsageError(f"--track {name} needs a package that is missing: pip install 'massmatch[tracking]'")


def numbers(row: Row) -> dict[str, float]:
    """The finite numbers of a history row, without its epoch."""
    return {name: float(value) for name, value in row.items() if name != "epoch" and math.isfinite(value)}
