"""A sweep: which runs it plans, how far they are, and the doing of those that are left."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from massmatch.data import Cohort, Split, open_cohort
from massmatch.errors import RunError
from massmatch.runs.atomic import write_atomic
from massmatch.runs.collection import Collection, collect
from massmatch.runs.experiment import parts_of
from massmatch.runs.folder import EXPERIMENT, RunFolder
from massmatch.runs.precision import Speed
from massmatch.runs.recipes import Recipe
from massmatch.runs.record import refuse_other_parts, relatives
from massmatch.sweeps.cost import Cost, cost_of
from massmatch.sweeps.engines.drive import Ended, Engine, drive
from massmatch.sweeps.job import Job
from massmatch.sweeps.machines import Machines
from massmatch.sweeps.plan import Plan, checked, remarks_on, runs_of, systems_of
from massmatch.sweeps.speeds import Family, family_of, speeds_of, speeds_so_far
from massmatch.sweeps.status import Status, record_of, statuses
from massmatch.sweeps.tables import Planned


def sweep(
    cohort: Cohort | Path | str,
    *,
    losses: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    table: Literal[1, 2, 3] | None = None,
    figure: Literal["3a", "3b"] | None = None,
    protocol: Literal["paper"] | None = None,
    letter: bool = False,
    recipe: Recipe = "paper",
    out: Path | str = "runs",
    jobs: int = 1,
    **training: Any,
) -> Collection:
    """Train and measure many runs on this machine: losses by networks by folds by seeds, or a table of the paper.

    The same call again goes on with what is not done. A run that fails stops no other.

    Args:
        cohort: a cohort, or its folder.
        losses: as in `train`; or give `table` (of the paper), or `figure` (3a or 3b); by default that of the recipe, if
            it names one.
        models: names of networks; by default aunet.
        folds: which, from 0; by default all.
        seeds: by default 0.
        table: 1, 2 or 3 of the paper.
        figure: "3a" (cells by smallest or mean mass) or "3b" (sigmoid or direct).
        protocol: "paper" trains and tests as its section 4.1 says.
        letter: take the Spatial Matching losses as printed, without our readings.
        recipe: defaults of the training: "paper", or "strong", what the network in this package was trained with.
        out: where the folders of runs are.
        jobs: runs at a time.
        training: options of `train` that change results (`TrainingOptions`).

    Returns:
        The runs of the sweep, `finished` ones with their rows and `unfinished` ones with the reasons.

    Raises:
        UsageError: for what cannot be, before anything runs.
        DataError: for a cohort that is not as it must be.

    Example:
        runs = massmatch.sweep("cohort", losses=["hybrid", "soft-sm"], folds=[0], width=8, epochs=2)
        runs.rows.groupby("loss")["dsc"].mean()
    """
    lists = {"losses": losses, "models": models, "folds": folds, "seeds": seeds}
    named = {"table": table, "figure": figure, "protocol": protocol}
    asked: dict[str, Any] = {name: list(values) for name, values in lists.items() if values is not None}
    asked |= {name: value for name, value in named.items() if value is not None}
    plan = checked({**asked, "letter": letter, "recipe": recipe, "training": training})
    with Sweep.planned_on(open_cohort(cohort), plan, Path(out), Machines(jobs=jobs)) as runs:
        runs.drive()
    return collect(*(run.folder(Path(out)) for run in runs.planned))


@dataclass
class Sweep:
    """The runs of a plan, and how far they were when this was made.

    As a context it has an engine that is ready to do the rest; however it ends, no run goes on.
    """

    cohort: Cohort
    planned: list[Planned]
    out: Path
    machines: Machines
    options: dict[str, Any]  # how each run is started, such as workers
    remarks: list[str]  # what to know before the runs start, a line each
    states: list[Status]  # of the planned runs, in their order
    speeds: dict[Family, Speed]  # how each network computes, as far as it is decided
    engine: Engine | None = None

    @classmethod
    def planned_on(
        cls, cohort: Cohort, plan: Plan, out: Path, machines: Machines, options: dict[str, Any] | None = None
    ) -> "Sweep":
        """The sweep of a plan on a cohort. Writes nothing; raises UsageError or DataError for what cannot be."""
        machines.check((options or {}).get("workers", 0))
        systems, left_out = systems_of(plan, cohort)
        planned = runs_of(plan, systems, cohort, machines.threads)
        refuse_redivided(planned, cohort, out)
        states = statuses(out, planned)
        each = cls(cohort, planned, out, machines, options or {}, [*remarks_on(plan, cohort), *left_out], states, {})
        each.speeds, disagreements = speeds_so_far(each.rest, out)
        each.remarks += [*disagreements, *begun_anew(planned, states, out)]
        return each

    @property
    def rest(self) -> list[Planned]:
        """The runs that were not done when this was made."""
        return [run for run, state in zip(self.planned, self.states, strict=True) if state.state != "done"]

    @cached_property
    def cost(self) -> Cost:
        """The seconds that an epoch of each run will take, and where they come from."""
        sharing = self.machines.per_gpu(len(self.rest))
        return cost_of(self.planned, self.states, self.out, self.cohort, sharing, self.speeds)

    def __enter__(self) -> "Sweep":
        """Open the engine where there is something to do, and decide how each network computes."""
        if self.rest:
            self.engine = self.machines.opened(self.out)
            try:
                self.speeds = speeds_of(self.rest, self.speeds, self.engine.measure)
            except BaseException:
                self.engine.stop()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.engine is not None:
            self.engine.stop()

    def drive(self, look: Callable[[], None] = lambda: None) -> Ended:
        """Do the rest; what became of each. `look` is called again and again meanwhile."""
        name, content = record_of(self.planned, self.out, self.cost.epochs)
        write_atomic(self.out / name, content)  # so that `status` knows the runs that have not begun
        return drive(self.jobs, self.engine, look) if self.engine else []

    @property
    def jobs(self) -> list[Job]:
        """The rest, as it is handed to processes."""
        places = (self.cohort.root.resolve(), self.out.resolve(), self.options)
        return [Job(run, *places, self.speeds.get(family_of(run.experiment.model_dump()))) for run in self.rest]


def refuse_redivided(planned: Sequence[Planned], cohort: Cohort, out: Path) -> None:
    """Raise UsageError for a run that has begun, or is done, with another division of the cohort's images."""
    parts: dict[tuple[int, int], Split] = {}  # by seed and fold
    for run in planned:
        folder, key = RunFolder(run.folder(out)), (run.experiment.seed, run.fold)
        if (folder / EXPERIMENT).is_file():
            parts[key] = parts.get(key) or parts_of(run.experiment, cohort, run.fold)
            with suppress(RunError):  # what is damaged is told by its state
                refuse_other_parts(folder, parts[key], cohort)


def begun_anew(planned: Sequence[Planned], states: Sequence[Status], out: Path) -> list[str]:
    """A line where runs have folders of their own beside like ones: whoever wanted to go on with those sees why."""
    found = [
        (folder, differs)
        for run, state in zip(planned, states, strict=True)
        if state.state == "never started"
        for folder, differs in [*relatives(run.experiment, out, run.fold).items()][:1]
    ]
    if not found:
        return []
    folder, differs = found[0]
    return [f"begin anew, in folders of their own: {len(found)} of {len(planned)} runs; {folder} has {differs}"]
