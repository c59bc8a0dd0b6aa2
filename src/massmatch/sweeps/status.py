"""How far runs are, read from their folders alone, so that any process on any machine that sees them may ask."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from massmatch.errors import RunError
from massmatch.runs.folder import HISTORY, RunFolder, State, run_folders
from massmatch.runs.lock import age
from massmatch.sweeps.tables import Planned, System, label

OVER = ("done", "failed", "damaged")  # states that no waiting changes
# What a file of `record_of` says of each run, and the kind of it.
RECORDED: dict[str, Callable[[Any], Any]] = {"label": str, "folder": str, "seed": int, "fold": int, "epochs": int}
BEGINNING = 10.0  # seconds in which a run begins on two cores: Python, torch, the cohort and its images


@dataclass(frozen=True)
class Status:
    """One run. Seconds and the best DSC (pooled, on the validation part) are None before the first epoch's end."""

    folder: Path
    label: str
    seed: int
    fold: int
    state: State
    epoch: int  # that are done
    epochs: int
    best_dsc: float | None = None
    epoch_seconds: float | None = None
    seconds_left: float | None = None
    reason: str = ""  # why it failed or is damaged

    def to_dict(self, root: Path) -> dict[str, Any]:
        """For JSON: the folder as it is called below `root`."""
        return {**vars(self), "folder": self.folder.relative_to(root).as_posix()}


def status_of(folder: Path, name: str, seed: int, fold: int, epochs: int) -> Status:
    """How far the run in a folder is; the folder need not exist."""
    run = RunFolder(folder)
    state, reason = run.state_and_reason()
    reason = reason if state in ("failed", "damaged") else ""
    history = history_of(run)
    found = Status(folder, name, seed, fold, state, len(history), epochs, reason=reason)
    if history.empty:
        return found
    best, seconds = history["val_dsc_pooled"].max(), float(history["seconds"].median())
    left = max(0.0, seconds * (epochs - len(history)))
    if state == "running":
        left = max(0.0, left - age(folder / HISTORY))
    return Status(
        **{
            **vars(found),
            "best_dsc": None if pd.isna(best) else float(best),
            "epoch_seconds": seconds,
            "seconds_left": 0.0 if state == "done" else left,
        }
    )


def history_of(run: RunFolder) -> pd.DataFrame:
    """A row per epoch that is done; empty before the first, and where the file is damaged."""
    try:
        history = run.history()
    except RunError:
        return pd.DataFrame()
    return history if {"val_dsc_pooled", "seconds"} <= set(history) else pd.DataFrame()


def experiment_of(run: RunFolder) -> dict[str, Any]:
    """The content of experiment.yaml; empty if there is none, or it is damaged."""
    try:
        return {**run.experiment(), "resolved": run.resolved()}
    except (OSError, RunError):
        return {}


def statuses(runs: Path, planned: Iterable[Planned]) -> list[Status]:
    """Those of the runs of a sweep."""
    return [
        status_of(each.folder(runs), each.label, each.experiment.seed, each.fold, each.experiment.epochs)
        for each in planned
    ]


def all_statuses(runs: Path) -> list[Status]:
    """Every run in a folder of runs: those that a sweep has planned there, in its order, then all others.

    Where several have one name, fold and seed (of other widths or epochs), the folder stands behind the name.
    """
    known: dict[Path, Status] = {}
    for path in sorted(runs.glob("sweep_*.json")):
        for fact in recorded(path):
            folder = runs / fact["folder"]
            status = status_of(folder, fact["label"], fact["seed"], fact["fold"], fact["epochs"])
            known.setdefault(folder, guessed(status, fact.get("epoch_seconds")))
    seen = {folder.resolve() for folder in known}
    for folder in run_folders(runs):
        if folder.resolve() not in seen:
            known[folder] = found_status(folder)
    named = Counter((each.label, each.seed, each.fold) for each in known.values())
    return [
        replace(each, label=f"{each.label} ({each.folder.parent.name})")
        if named[each.label, each.seed, each.fold] > 1
        else each
        for each in known.values()
    ]


def recorded(path: Path) -> list[dict[str, Any]]:
    """The runs that a file of `record_of` names. RunError, which says what to do, for a damaged one."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return [{**fact, **{name: kind(fact[name]) for name, kind in RECORDED.items()}} for fact in facts]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: cannot be read ({type(error).__name__}: {error}): remove it, and the same sweep writes it again"
        ) from None


def found_status(folder: Path) -> Status:
    """How far a run is that no sweep has planned; one that says nothing of itself is called as its folder is."""
    if facts := experiment_of(RunFolder(folder)):
        name = label(System(facts["loss"], facts["model"]))
        return status_of(folder, name, facts["seed"], facts["fold"], facts["epochs"])
    fold = folder.name.removeprefix("fold")
    return status_of(folder, folder.parent.name, 0, int(fold) if fold.isdigit() else 0, 0)


def guessed(status: Status, epoch_seconds: float | None) -> Status:
    """With the time left by the sweep's own estimate of an epoch, as long as no epoch of the run was timed."""
    if status.seconds_left is not None or epoch_seconds is None or status.state in OVER:
        return status
    return replace(status, seconds_left=epoch_seconds * status.epochs + BEGINNING)


def time_left(states: Sequence[Status], places: int, epochs: Sequence[float] | None = None) -> float | None:
    """Seconds until all that can go on is done, so many at a time; None while nothing is known of it.

    `epochs`: seconds of an epoch of each run, as estimated; by default the median of those that were timed. Those that
    have not begun take BEGINNING besides.
    """
    timed = [each.epoch_seconds for each in states if each.epoch_seconds is not None]
    guesses = epochs or [float(np.median(timed)) if timed else math.nan] * len(states)
    left = [
        each.seconds_left if each.seconds_left is not None else guess * each.epochs + BEGINNING
        for each, guess in zip(states, guesses, strict=True)
        if each.state not in OVER
    ]
    total = max(sum(left) / places, max(left, default=0.0))
    return None if math.isnan(total) else total


def record_of(planned: Sequence[Planned], runs: Path, epochs: Sequence[float] = ()) -> tuple[str, bytes]:
    """Name and content of the file by which a folder of runs knows those that a sweep has not begun.

    `epochs`: seconds of an epoch of each run, as estimated; NaN where there is nothing to estimate. The name is that of
    the plan alone.
    """
    facts: list[dict[str, Any]] = [
        {
            "label": each.label,
            "folder": each.folder(runs).relative_to(runs).as_posix(),
            "seed": each.experiment.seed,
            "fold": each.fold,
            "epochs": each.experiment.epochs,
        }
        for each in planned
    ]
    name = f"sweep_{hashlib.sha256(json.dumps(facts, indent=1).encode()).hexdigest()[:8]}.json"
    for fact, seconds in zip(facts, epochs, strict=False):
        if not math.isnan(seconds):
            fact["epoch_seconds"] = seconds
    return name, json.dumps(facts, indent=1).encode()
