"""What `sweep` and `status` show."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.live import Live

from massmatch.cli.board import Board, duration, line, name_of, plainly, summary, table
from massmatch.cli.screen import errors, screen
from massmatch.errors import UsageError
from massmatch.runs.folder import LOG
from massmatch.sweeps.engines.drive import Ended
from massmatch.sweeps.speeds import open_families
from massmatch.sweeps.status import OVER, Status, all_statuses, statuses, time_left
from massmatch.sweeps.sweep import Sweep
from massmatch.wording import count


def show_sweep(sweep: Sweep, *, dry_run: bool, threads_given: bool) -> bool:
    """Do a sweep and show how far it is, or with `dry_run` only what it would take; whether some runs are left over."""
    for remark in sweep.remarks:
        errors.print(remark, style="yellow")
    if dry_run:
        show_all(sweep.states, None)
        announce(sweep, threads_given=threads_given)
        return False
    with sweep:
        announce(sweep, threads_given=threads_given)
        outcomes = drive_shown(sweep)
    return tell(outcomes, sweep)


def ways_told(sweep: Sweep) -> list[str]:
    """A line for each network whose number format and memory layout the command leaves open."""
    return [
        f"runs of {experiment.model} compute in {sweep.speeds[family]} memory: decided once for all that are compared; "
        "--precision and --memory choose otherwise"
        if family in sweep.speeds
        else f"number format and memory layout of {experiment.model}: decided once for all, when the first run starts"
        for family, experiment in open_families(sweep.rest).items()
    ]


def announce(sweep: Sweep, *, threads_given: bool) -> None:
    """How many runs there are, what they will take, where, and how they compute."""
    to_do, machines = len(sweep.rest), sweep.machines
    plainly(f"{count(len(sweep.planned), 'run')}, {len(sweep.planned) - to_do} done, {to_do} to do")
    if not to_do:
        return
    with screen.status("what the runs will take: timing a step of each network"):
        cost, places = sweep.cost, sweep.engine.places if sweep.engine else machines.jobs
    where = "on this machine" if machines.engine == "local" else "on the cluster"
    plainly(
        f"about {duration(time_left(sweep.states, places, cost.epochs))} with {places} at a time {where}; "
        f"estimated from {cost.source}, and corrected as runs go on"
    )
    if not threads_given:
        share = "cores // jobs" if machines.engine == "local" else "--cpus-per-run"
        plainly(
            f"each with {count(machines.threads, 'CPU thread')} ({share}). Threads are part of an experiment: give "
            f"--threads {machines.threads} to go on with these runs under another --jobs or on another machine"
        )
    for said in ways_told(sweep):
        plainly(said)


def drive_shown(sweep: Sweep) -> Ended:
    """Do the runs and show how far they are."""
    if sweep.engine is None:
        return sweep.drive()
    cost, places = sweep.cost, sweep.engine.places
    with Board(sweep.states) as board:

        def look() -> None:
            states = statuses(sweep.out, sweep.planned)
            board.show(states, time_left(states, places, cost.corrected(sweep.planned, states)))

        try:
            return sweep.drive(look)
        except KeyboardInterrupt:
            errors.print("stopping the runs (Ctrl-C again kills them)")
            raise


def tell(outcomes: Ended, sweep: Sweep) -> bool:
    """The end: what is done, and why the rest is not. True if there is a rest."""
    out, states = sweep.out, statuses(sweep.out, sweep.planned)
    if screen.is_terminal:
        show_all(states, None)
    done = [each.folder for each in states if each.state == "done"]  # some by another sweep, which held them
    left = ((job, outcome) for job, outcome in outcomes if job.run.folder(out) not in done)
    rest = [(job, outcome) for job, outcome in left if outcome.state != "done"]
    names = {each.folder: name_of(each, with_seed=len({s.seed for s in states}) > 1) for each in states}
    for job, outcome in rest:
        head = f"{names[job.run.folder(out)]}: {outcome.state}: {outcome.reason}"
        errors.print(head, style="red")
        errors.print(f"    {job.folder / LOG}")
    screen.print(f"{len(done)} of {len(states)} runs are done in {out}", soft_wrap=True)
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
