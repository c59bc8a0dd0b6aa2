"""Runs as processes on this machine."""

import os
import subprocess
import time
from collections.abc import Mapping

from massmatch.runs.experiment import Experiment
from massmatch.runs.failure import Outcome
from massmatch.runs.precision import Speed
from massmatch.sweeps.engines import process as launch
from massmatch.sweeps.job import Job
from massmatch.sweeps.speeds import measured

TICK = 0.5  # seconds between two looks


class Local:
    """So many runs at a time. On a machine with several GPUs each place has one, in turn."""

    def __init__(self, places: int, gpus: list[str]) -> None:
        self.places, self.gpus = places, gpus
        self.free = list(range(places))
        self.running: dict[int, tuple[Job, subprocess.Popen[str]]] = {}

    @property
    def has_room(self) -> bool:
        """Whether another run may start."""
        return bool(self.free)

    def measure(self, experiment: Experiment) -> Speed:
        """The fastest way for a network on this machine, while no run uses it."""
        return measured(experiment)

    def start(self, job: Job) -> None:
        """Start a run in a free place."""
        place = self.free.pop(0)
        self.running[place] = (job, launch.start(job, self.environment(place)))

    def environment(self, place: int) -> Mapping[str, str]:
        """Which GPU a place has; nothing to say where there is one or none."""
        return {"CUDA_VISIBLE_DEVICES": self.gpus[place % len(self.gpus)]} if len(self.gpus) > 1 else {}

    def ended(self) -> list[tuple[Job, Outcome]]:
        """Runs that have ended since the last call; waits a moment."""
        time.sleep(TICK)
        over = {place: code for place, (_, process) in self.running.items() if (code := process.poll()) is not None}
        outcomes = []
        for place, code in over.items():
            job, process = self.running.pop(place)
            launch.let_go(process)
            self.free.append(place)
            outcomes.append((job, launch.outcome(job, code)))
        return outcomes

    def stop(self) -> None:
        """Stop all runs of this engine, and wait until none goes on."""
        launch.stop([process for _, process in self.running.values()])


def visible_gpus() -> list[str]:
    """The names by which the GPUs of this machine are made visible."""
    import torch

    if listed := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return listed.split(",")
    return [str(number) for number in range(torch.cuda.device_count())]
