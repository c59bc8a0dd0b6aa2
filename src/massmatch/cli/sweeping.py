"""What `sweep` and `status` do."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.live import Live

from massmatch.cli.board import Board, count_of, duration, line, name_of, plainly, summary, table
from massmatch.cli.screen import errors, screen
from massmatch.data import open_cohort
from massmatch.errors import UsageError
from massmatch.runs.atomic import write_atomic
from massmatch.runs.failure import Outcome
from massmatch.runs.folder import LOG
from massmatch.runs.precision import Speed
from massmatch.sweeps.cost import Cost, cost_of
from massmatch.sweeps.engines.drive import Engine, drive
from massmatch.sweeps.engines.local import Local, visible_gpus
from massmatch.sweeps.job import Job
from massmatch.sweeps.plan import checked, read_plan, remarks_on, runs_of, systems_of
from massmatch.sweeps.speeds import Family, family_of, open_families, speeds_of, speeds_so_far
from massmatch.sweeps.status import OVER, Status, all_statuses, record_of, statuses, time_left
from massmatch.sweeps.tables import Planned

ENGINES = ("local", "ray")


class Where(NamedTuple):
    """The machines that do the runs."""

    engine: str
    jobs: int
    address: str
    cpus: int
    gpus: float
    cores: int

    @property
    def threads(self) -> int:
        """Of a run that was not given any: its share of the cores."""
        return self.cpus if self.engine == "ray" else max(1, self.cores // self.jobs)

    def per_gpu(self, runs: int) -> float:
        """How many of so many runs share a GPU; 1 where each has its own, or none."""
        if self.engine == "ray":
            return max(1.0, min(1 / self.gpus, runs)) if self.gpus else 1.0
        gpus = len(visible_gpus())
        return max(1.0, min(self.jobs, runs) / gpus) if gpus else 1.0

    def opened(self, runs: Path) -> Engine:
        """The engine, ready. ValueError where there is none."""
        runs.mkdir(parents=True, exist_ok=True)
        if self.engine == "local":
            return Local(self.jobs, visible_gpus())
        from massmatch.sweeps.engines.ray import Cluster

        return Cluster(self.address, self.cpus, self.gpus, runs.resolve())


def sweep(
    path: Path,
    file: Path | None,
    content: dict[str, Any],
    fields: dict[str, Any],
    where: Where,
    options: dict[str, Any],
    out: Path,
    *,
    dry_run: bool,
) -> bool:
    """All of it; whether some runs are not done at the end.

    Raises ValueError, FileNotFoundError and CohortError for mistakes in what was asked for, before anything runs.
    """
    if where.engine not in ENGINES:
        raise UsageError(f"--engine: must be one of {', '.join(ENGINES)}, but is {where.engine!r}")
    from_file = read_plan(file) if file else {}
    if file:
        checked(from_file, str(file))
    plan = checked({**from_file, **content, "training": {**from_file.get("training", {}), **fields}})
    cohort = open_cohort(path)
    systems, left_out = systems_of(plan, cohort)
    for remark in [*remarks_on(plan, cohort), *left_out]:
        errors.print(remark, style="yellow", markup=False, highlight=False)
    planned = runs_of(plan, systems, cohort, where.threads)
    states = statuses(out, planned)
    rest = [run for run, state in zip(planned, states, strict=True) if state.state != "done"]
    speeds, disagreements = speeds_so_far(rest, out)
    for remark in disagreements:
        errors.print(remark, style="yellow", markup=False, highlight=False)
    engine = where.opened(out) if rest and not dry_run else None
    if engine:
        speeds = decided(engine, rest, speeds)
    cost = cost_of(planned, states, out, cohort, where.per_gpu(len(rest)), speeds)
    if dry_run:
        show_all(states, None)
    announce(planned, states, cost, where, engine, threads_given=plan.training.get("threads") is not None)
    for said in ways_told(rest, speeds):
        plainly(said)
    if dry_run:
        return False
    write_record(planned, out, cost)
    places = (cohort.root.resolve(), out.resolve(), options)
    todo = [Job(run, *places, speeds.get(family_of(run.experiment.model_dump()))) for run in rest]
    outcomes = drive_shown(todo, planned, cost, engine, out) if engine else []
    return tell(outcomes, planned, out)


def decided(engine: Engine, rest: Sequence[Planned], known: dict[Family, Speed]) -> dict[Family, Speed]:
    """How each network computes. Whatever goes wrong, the engine is not left open."""
    try:
        return speeds_of(rest, known, engine.measure)
    except BaseException:
        engine.stop()
        raise


def ways_told(rest: Sequence[Planned], speeds: dict[Family, Speed]) -> list[str]:
    """A line for each network whose number format and memory layout the command leaves open."""
    return [
        f"runs of {experiment.model} compute in {speeds[family]} memory: decided once for all that are compared; "
        "--precision and --memory choose otherwise"
        if family in speeds
        else f"number format and memory layout of {experiment.model}: decided once for all, when the first run starts"
        for family, experiment in open_families(rest).items()
    ]


def announce(
    planned: Sequence[Planned],
    states: Sequence[Status],
    cost: Cost,
    where: Where,
    engine: Engine | None,
    *,
    threads_given: bool,
) -> None:
    """How many runs, what they will take, and where."""
    finished = sum(each.state == "done" for each in states)
    plainly(f"{count_of(len(planned), 'run')}, {finished} done, {len(planned) - finished} to do")
    if finished == len(planned):
        return
    places = engine.places if engine else where.jobs
    machines = "on this machine" if where.engine == "local" else "on the cluster"
    plainly(
        f"about {duration(time_left(states, places, cost.epochs))} with {places} at a time {machines}, and seconds to "
        f"begin each; estimated from {cost.source}"
    )
    if not threads_given:
        threads = where.threads
        share = "cores // jobs" if where.engine == "local" else "--cpus-per-run"
        plainly(
            f"each with {count_of(threads, 'CPU thread')} ({share}). Threads are part of an "
            f"experiment: give --threads {threads} to go on with these runs under another --jobs or on another machine"
        )


def write_record(planned: Sequence[Planned], out: Path, cost: Cost) -> None:
    """The sweep's runs, so that `status` knows those that have not begun, and what they will take."""
    name, content = record_of(planned, out, cost.epochs)
    write_atomic(out / name, content)


def drive_shown(
    todo: Sequence[Job], planned: Sequence[Planned], cost: Cost, engine: Engine, out: Path
) -> list[tuple[Job, Outcome]]:
    """Do the runs and show how far they are. However it ends, no run goes on."""
    with Board(statuses(out, planned)) as board:

        def look() -> None:
            states = statuses(out, planned)
            board.show(states, time_left(states, engine.places, cost.epochs))

        try:
            return drive(todo, engine, look)
        except KeyboardInterrupt:
            errors.print("stopping the runs (Ctrl-C again kills them)")
            raise
        finally:
            engine.stop()


def tell(outcomes: Sequence[tuple[Job, Outcome]], planned: Sequence[Planned], out: Path) -> bool:
    """The end: what is done, and why the rest is not. True if there is a rest."""
    states = statuses(out, planned)
    if screen.is_terminal:
        show_all(states, None)
    rest = [(job, outcome) for job, outcome in outcomes if outcome.state != "done"]
    names = {each.folder: name_of(each, with_seed=len({s.seed for s in states}) > 1) for each in states}
    for job, outcome in rest:
        head = f"{names[job.run.folder(out)]}: {outcome.state}: {outcome.reason}"
        errors.print(head, style="red", markup=False, highlight=False)
        errors.print(f"    {job.folder / LOG}", markup=False, highlight=False)
    count = sum(each.state == "done" for each in states)
    screen.print(f"{count} of {len(states)} runs are done in {out}", highlight=False, soft_wrap=True)
    return bool(rest)


def status(runs: Path, *, watch: bool, as_json: bool) -> None:
    """The table of a folder of runs, once or live."""
    if not runs.is_dir():
        raise UsageError(f"no such folder: {runs}")
    states = all_statuses(runs)
    if as_json:
        facts = {"runs": [each.to_dict(runs) for each in states], "seconds_left": left_of(states)}
        plainly(json.dumps(facts, indent=1, allow_nan=False))
        return
    if not states:
        raise UsageError(f"{runs} holds no runs")
    if not (watch and screen.is_terminal):
        show_all(states, left_of(states))
        return
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            states = all_statuses(runs)
            live.update(table(states, left_of(states), max(3, screen.height - 5)), refresh=True)
            if all(each.state in OVER for each in states):
                return
            time.sleep(2)


def left_of(states: Sequence[Status]) -> float | None:
    """Time left if as many run at a time as now."""
    return time_left(states, max(1, sum(each.state == "running" for each in states)))


def show_all(states: Sequence[Status], left: float | None) -> None:
    """The table on a terminal, a line per run elsewhere; and the reasons of what has failed."""
    if not screen.is_terminal:
        for each in states:
            plainly(line(each))
        plainly(summary(states, left))
        return
    screen.print(table(states, left))
