"""A run as it is handed to a process of its own, and what came of it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from massmatch.runs.experiment import Experiment
from massmatch.runs.precision import Speed
from massmatch.sweeps.tables import Planned


class Job(NamedTuple):
    """All that a process needs: paths are absolute, since it may be on another machine."""

    run: Planned
    cohort: Path
    runs: Path
    options: dict[str, Any]  # of `fit.run`, such as workers
    speed: Speed | None = None  # what the sweep has decided; None: the experiment says it

    @property
    def folder(self) -> Path:
        """The folder of the run. It may not exist yet."""
        return self.run.folder(self.runs)

    def to_json(self) -> str:
        """The job as one line of JSON."""
        label, experiment, fold = self.run
        paths = {"cohort": str(self.cohort), "runs": str(self.runs)}
        how = {"options": self.options, "speed": self.speed}
        return json.dumps({"run": [label, experiment.model_dump(), fold], **paths, **how})

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """The job that `to_json` has written."""
        facts = json.loads(text)
        label, experiment, fold = facts["run"]
        run = Planned(label, Experiment(**experiment), fold)
        speed = Speed(*facts["speed"]) if facts["speed"] else None
        return cls(run, Path(facts["cohort"]), Path(facts["runs"]), facts["options"], speed)
