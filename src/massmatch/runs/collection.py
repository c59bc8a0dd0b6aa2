"""Run folders as data: which are finished, which are not and why, and which may be compared with each other."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from massmatch.errors import RunError, UsageError
from massmatch.metrics.lesions import FLOOR
from massmatch.runs.experiment import Experiment
from massmatch.runs.folder import CANDIDATES, ROWS, RunFolder, State, run_folders

# What a comparison may vary; all else must agree.
VARIED = ("loss", "model", "width", "start", "start_sha256", "seed", "fold", "own_code")
NEUTRAL = ("cohort", "resolved")  # a folder's name (the fingerprint decides), and where it ran


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its folder and what is in it."""

    folder: Path
    experiment: dict[str, Any]  # experiment.yaml as it stands
    fold: int
    rows: pd.DataFrame  # a row per test image
    history: pd.DataFrame  # a row per epoch
    candidates: pd.DataFrame | None = None  # a row per candidate of the FROC, where the run wrote them

    @property
    def loss(self) -> str:
        """With its options, as on the command line."""
        return self.experiment["loss"]

    @property
    def model(self) -> str:
        """The name of the network in the catalogue."""
        return self.experiment["model"]

    @property
    def width(self) -> int:
        """Channels of the first level."""
        return self.experiment["width"]

    @property
    def network(self) -> str:
        """Name and width, and what its training started from where that was not chance."""
        start, digest = self.experiment.get("start", "random"), self.experiment.get("start_sha256")
        origin = Path(start).stem + (f" {digest[:8]}" if digest else "")
        return f"{self.model}-w{self.width}" + ("" if start == "random" else f" from {origin}")

    @property
    def seed(self) -> int:
        """Of folds, first weights and order."""
        return self.experiment["seed"]

    @property
    def own_code(self) -> dict[str, str]:
        """Version and source digest of the loss and the network of one's own, by name; of the catalogue's nothing."""
        parts = (self.experiment.get("own_code") or "").split("; ")
        return dict(part.split(" of ", 1) for part in parts if " of " in part)

    @property
    def facts(self) -> dict[str, Any]:
        """All that must agree between runs that are compared; an option that came later has its default."""
        known = {name: of.default for name, of in Experiment.model_fields.items() if not of.is_required()}
        return {k: v for k, v in {**known, **self.experiment}.items() if k not in (*VARIED, *NEUTRAL)}


@dataclass(frozen=True)
class Unfinished:
    """A folder that has no result, and why."""

    folder: Path
    state: State
    reason: str  # one line
    epochs_done: int = 0
    experiment: dict[str, Any] = field(default_factory=dict, compare=False)  # empty where it cannot be read


@dataclass(frozen=True, eq=False)
class Collection:
    """All runs below some folders, in the order of their names."""

    finished: list[Run]
    unfinished: list[Unfinished]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Test rows of all finished runs, tidy."""
        return tidy(self.finished)

    @cached_property
    def histories(self) -> pd.DataFrame:
        """Epochs of all finished runs, tidy."""
        return tidy(self.finished, "history")

    @cached_property
    def groups(self) -> "list[Group]":
        """The finished runs that belong together."""
        return comparable_groups(self.finished)


def collect(*roots: Path) -> Collection:
    """All runs at or below the given folders; folders without a run in them are passed over.

    Raises UsageError where a folder is missing, no run is anywhere, or the same experiment and
    fold stands in two folders: it would be counted twice.
    """
    read = [_read(folder) for folder in run_folders(*roots)]
    if not read:
        names = ", ".join(map(str, roots))
        raise UsageError(f"{names}: no runs here; give the folder that `massmatch train --out` or `sweep` wrote")
    finished = [each for each in read if isinstance(each, Run)]
    _refuse_copies(finished)
    return Collection(finished, [each for each in read if isinstance(each, Unfinished)])


def fingerprints(collection: Collection) -> list[str]:
    """Of the cohorts on which the finished runs were trained, each once."""
    return list(dict.fromkeys(str(run.experiment["fingerprint"]) for run in collection.finished))


def _read(path: Path) -> Run | Unfinished:
    """A finished run, or why there is none."""
    folder = RunFolder(path)
    state, reason = folder.state_and_reason()
    if state == "done":
        experiment = folder.experiment()
        rows, history, candidates = folder.rows(), folder.history(), folder.candidates()
        fault = "" if candidates is None else _other_images(rows, candidates)
        if not fault:
            return Run(path, experiment, experiment["fold"], rows, history, candidates)
        state, reason = "damaged", f"{folder / CANDIDATES}: {fault}; `massmatch evaluate` writes it again"
    try:
        experiment = folder.experiment()
    except RunError:
        experiment = {}
    return Unfinished(path, state, reason, folder.epochs_done(), experiment)


def _other_images(rows: pd.DataFrame, candidates: pd.DataFrame) -> str:
    """What is said of the first image that rows have and candidates lack, or the other way round; empty if none is."""
    if strange := sorted({*candidates["id"]} - {*rows["id"]}):
        return f"{strange[0]} is no image of {ROWS}"
    predicted = ~rows["prediction_empty"].astype(bool) & (rows.get("threshold", 0) >= FLOOR)
    if lost := sorted({*rows["id"][predicted]} - {*candidates["id"]}):
        return f"holds no piece of {lost[0]}, where {ROWS} has something predicted"
    return ""


def _refuse_copies(runs: Sequence[Run]) -> None:
    seen: dict[str, Path] = {}
    for run in runs:
        facts = {k: v for k, v in {**run.experiment, **run.facts}.items() if k not in NEUTRAL}
        own = _key(facts)
        if own in seen:
            raise UsageError(f"{seen[own]} and {run.folder} hold the same run: it would count twice; give one of them")
        seen[own] = run.folder


def _key(facts: dict[str, Any]) -> str:
    """The same for the same facts: 0 and 0.0 are one number."""
    numbers = {name: float(value) if type(value) is int else value for name, value in facts.items()}
    return json.dumps(numbers, sort_keys=True, default=str)


class Group(NamedTuple):
    """Runs that may be compared, and all the facts in which they agree."""

    runs: list[Run]
    facts: dict[str, Any]


def comparable_groups(runs: Sequence[Run]) -> list[Group]:
    """Runs that agree in all but loss, network, seed and fold, and the code of one's own; the largest group first.

    Another cohort, budget, scheme or threshold makes another group.
    """
    groups: dict[str, Group] = {}
    for run in runs:
        facts = run.facts
        groups.setdefault(_key(facts), Group([], facts)).runs.append(run)
    return sorted(groups.values(), key=lambda group: -len(group.runs))


def differing(one: Group, other: Group) -> dict[str, tuple[Any, Any]]:
    """Why two groups are not comparable: the keys that differ, with the value of each."""
    keys = dict.fromkeys([*one.facts, *other.facts])
    values = {key: (one.facts.get(key), other.facts.get(key)) for key in keys}
    return {key: pair for key, pair in values.items() if pair[0] != pair[1]}


def changed_code(runs: Sequence[Run]) -> dict[str, list[str]]:
    """By name, the sources of those losses and networks of one's own that are not the same in all of these runs."""
    sources: dict[str, list[str]] = {}
    for name, source in dict.fromkeys(pair for run in runs for pair in run.own_code.items()):
        sources.setdefault(name, []).append(source)
    return {name: each for name, each in sources.items() if len(each) > 1}


def systems(runs: Sequence[Run]) -> list[str]:
    """What is compared, of each run: the loss, with the network behind it where the runs differ in it.

    A loss or network of one's own that was changed between the runs is another one: its source stands behind the name.
    """
    several = len({run.network for run in runs}) > 1
    changed = changed_code(runs)
    names = []
    for run in runs:
        sources = "".join(f" [{source}]" for name, source in run.own_code.items() if name in changed)
        names.append(run.loss + (f" ({run.network})" if several else "") + sources)
    return names


def tidy(runs: Sequence[Run], part: Literal["rows", "history", "candidates"] = "rows") -> pd.DataFrame:
    """One table of a part of all runs; in front system, loss, model, width, seed, fold, scheme, train_images
    and test_images.

    `system` is what is compared: see `systems`.
    `train_images`: how many the run learned from (NaN where it does not say); `test_images`: on how many it was
    tested. Runs without candidates add nothing.
    The training loss of a history is called `train_loss`, since `loss` is a name.
    """
    tables = []
    for run, system in zip(runs, systems(runs), strict=True):
        if (table := getattr(run, part)) is None:
            continue
        if part == "history":
            table = table.rename(columns={"loss": "train_loss"})
        known = {name: getattr(run, name) for name in ("loss", "model", "width", "seed", "fold")}
        images = run.experiment.get("resolved", {}).get("images", {})
        head = {"system": system, **known, "scheme": run.facts["scheme"]}
        head |= {"train_images": images.get("train", math.nan), "test_images": len(run.rows)}
        tables.append(pd.concat([pd.DataFrame(head, index=table.index), table], axis=1))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
