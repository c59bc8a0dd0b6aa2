"""A run as it is handed to a process of its own, and what came of it."""

import json
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from massmatch.training.experiment import Experiment
from massmatch.training.files import FAILED, write_atomic
from massmatch.training.precision import Speed
from massmatch.training.sweep.plans import Planned

LOG = "log.txt"


class Job(NamedTuple):
    """All that a process needs: paths are absolute, since it may be on another machine."""

    run: Planned
    cohort: Path
    runs: Path
    options: dict[str, Any]  # of `fit.run`, such as workers
    speed: Speed | None = None  # what the sweep has decided; None: the experiment says it

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.run.folder(self.runs)

    def to_json(self) -> str:
        """One line."""
        label, experiment, fold = self.run
        paths = {"cohort": str(self.cohort), "runs": str(self.runs)}
        how = {"options": self.options, "speed": self.speed}
        return json.dumps({"run": [label, experiment.model_dump(), fold], **paths, **how})

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """What `to_json` wrote."""
        facts = json.loads(text)
        label, experiment, fold = facts["run"]
        run = Planned(label, Experiment(**experiment), fold)
        speed = Speed(*facts["speed"]) if facts["speed"] else None
        return cls(run, Path(facts["cohort"]), Path(facts["runs"]), facts["options"], speed)


class Outcome(NamedTuple):
    """How a run ended. "held": another process is at it."""

    state: Literal["done", "failed", "interrupted", "held"]
    reason: str = ""


def write_failure(folder: Path, reason: str, error: BaseException | None = None) -> Outcome:
    """FAILED.json: why in one line, the traceback, when. A folder that cannot be written is no reason to stop."""
    trace = "" if error is None else "".join(traceback.format_exception(error))
    facts = {"reason": reason, "traceback": trace, "when": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / FAILED, json.dumps(facts, indent=1).encode())
    except OSError as second:
        reason = f"{reason} (and {FAILED} could not be written: {second})"
    return Outcome("failed", reason)


def failure(folder: Path) -> str | None:
    """The reason in FAILED.json, or None."""
    try:
        return str(json.loads((folder / FAILED).read_text())["reason"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return f"{FAILED} cannot be read"
