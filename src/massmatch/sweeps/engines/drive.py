"""The loop of a sweep: start what there is room for, look, tell, until all is done."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from massmatch.runs.experiment import Experiment
from massmatch.runs.failure import Outcome
from massmatch.runs.precision import Speed
from massmatch.sweeps.job import Job


class Engine(Protocol):
    """A place where runs are done: this machine or a cluster."""

    places: int  # how many at a time

    @property
    def has_room(self) -> bool:
        """Whether another run may be handed over."""

    def measure(self, experiment: Experiment) -> Speed:
        """The fastest number format and memory layout where the runs are done."""

    def start(self, job: Job) -> None:
        """Hand over a run; comes back at once."""

    def ended(self) -> list[tuple[Job, Outcome]]:
        """Runs that have ended since the last call; waits a moment."""

    def stop(self) -> None:
        """Stop all runs; comes back when none is running."""


Ended = list[tuple[Job, Outcome]]


def drive(jobs: Sequence[Job], engine: Engine, look: Callable[[], None] = lambda: None) -> Ended:
    """Do all jobs, whatever becomes of each; `look` is called after every moment. The caller stops the engine."""
    waiting, outcomes = deque(jobs), Ended()
    while len(outcomes) < len(jobs):
        while waiting and engine.has_room:
            engine.start(waiting.popleft())
        outcomes += engine.ended()
        look()
    return outcomes
