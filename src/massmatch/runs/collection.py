"""Run folders as data: which are finished, which are not and why, and which may be compared with each other."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import yaml

from massmatch.errors import UsageError
from massmatch.runs.experiment import Experiment
from massmatch.runs.failure import failure

State = Literal["failed", "interrupted", "never started", "damaged"]
VARIED = ("loss", "model", "width", "seed", "fold")  # what a comparison may vary; all else must agree
NEUTRAL = ("cohort", "resolved")  # a folder's name (the fingerprint decides), and where it ran
NEEDED = ("id", "patient", "dsc", "tp", "fp", "fn", "tn", "truth_empty", "prediction_empty", "missed")  # of rows.csv
TEXT = {"id": str, "patient": str}  # columns in which numbers and "NA" are names


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its folder and what is in it."""

    folder: Path
    experiment: dict[str, Any]  # experiment.yaml as it stands
    fold: int
    rows: pd.DataFrame  # a row per test image
    history: pd.DataFrame  # a row per epoch
    candidates: pd.DataFrame | None = None  # a row per predicted piece, where the run wrote them

    @property
    def loss(self) -> str:
        """With its options, as on the command line."""
        return self.experiment["loss"]

    @property
    def model(self) -> str:
        """Its name in the catalogue."""
        return self.experiment["model"]

    @property
    def width(self) -> int:
        """Channels of the first level."""
        return self.experiment["width"]

    @property
    def seed(self) -> int:
        """Of folds, first weights and order."""
        return self.experiment["seed"]

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

    Raises UsageError where a folder is missing or no run is anywhere, or where the same experiment and
    fold stands in two folders: it would be counted twice.
    """
    read = [_read(folder) for folder in run_folders(*roots)]
    if not read:
        names = ", ".join(map(str, roots))
        raise UsageError(f"{names}: no runs here; give the folder that `massmatch train --out` or `sweep` wrote")
    finished = [each for each in read if isinstance(each, Run)]
    _refuse_copies(finished)
    return Collection(finished, [each for each in read if isinstance(each, Unfinished)])


def run_folders(*roots: Path) -> list[Path]:
    """Folders of runs at or below the given ones, each once, by name. FileNotFoundError for a missing one."""
    found: dict[Path, Path] = {}
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"{root}: {'a file, not a folder of runs' if root.exists() else 'no such folder'}")
        for folder in _walk(root):
            found.setdefault(folder.resolve(), folder)
    return sorted(found.values())


def _walk(root: Path) -> Iterator[Path]:
    """Down to the runs and no further; names are never patterns, so brackets in them do no harm."""
    for name, below, files in os.walk(root):
        folder = Path(name)
        if {"experiment.yaml", "FAILED.json", "last.ckpt"} & set(files) or _awaits(folder):
            below.clear()
            yield folder
        below[:] = sorted(each for each in below if not each.startswith("."))


def _awaits(folder: Path) -> bool:
    """A folder named as a fold, in which nothing has been written yet."""
    return folder.name.removeprefix("fold").isdigit() and folder.name.startswith("fold") and not any(folder.iterdir())


def _read(folder: Path) -> Run | Unfinished:
    """A run, or why it is none."""
    if not (folder / "DONE").is_file():
        return _unfinished(folder)
    try:
        experiment = _experiment(folder)
        rows, history = _table(folder / "rows.csv", NEEDED), _table(folder / "history.csv", ("epoch",))
        expected = experiment.get("resolved", {}).get("images", {}).get("test", len(rows))
        if len(rows) != expected:
            raise UsageError(f"{folder / 'rows.csv'}: holds {len(rows)} images, but the run tested {expected}")
        candidates = folder / "candidates.csv"
        pieces = _table(candidates, ("id",), may_be_empty=True) if candidates.is_file() else None
        return Run(folder, experiment, experiment["fold"], rows, history, pieces)
    except (OSError, ValueError) as error:
        return Unfinished(folder, "damaged", _line(error), _epochs(folder))


def _unfinished(folder: Path) -> Unfinished:
    epochs = _epochs(folder)
    try:
        experiment = _experiment(folder)
    except (OSError, ValueError) as error:
        if (folder / "experiment.yaml").exists():
            return Unfinished(folder, "damaged", _line(error), epochs)
        experiment = {}
    if (reason := failure(folder)) is not None:
        return Unfinished(folder, "failed", _line(reason), epochs, experiment)
    if not experiment:
        return Unfinished(folder, "never started", "no experiment.yaml", epochs)
    of = experiment.get("epochs", "?")
    return Unfinished(folder, "interrupted", f"no DONE: {epochs} of {of} epochs are written", epochs, experiment)


def _experiment(folder: Path) -> dict[str, Any]:
    path = folder / "experiment.yaml"
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    lacks = [name for name in (*VARIED, "fingerprint") if not isinstance(facts, dict) or name not in facts]
    if lacks:
        raise UsageError(f"{path}: lacks {', '.join(lacks)}")
    return facts


def _table(path: Path, needed: Sequence[str], *, may_be_empty: bool = False) -> pd.DataFrame:
    """A CSV file with at least these columns, each image or epoch once."""
    try:
        undefined = {name: ["", "nan"] for name in pd.read_csv(path, nrows=0).columns if name not in TEXT}
        table = pd.read_csv(path, dtype=TEXT, keep_default_na=False, na_values=undefined)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    if lacks := [name for name in needed if name not in table]:
        raise UsageError(f"{path}: lacks the columns {', '.join(lacks)}")
    if table.empty and not may_be_empty:
        raise UsageError(f"{path}: holds no row")
    if not may_be_empty and table[needed[0]].duplicated().any():
        raise UsageError(f"{path}: {needed[0]} {table[needed[0]][table[needed[0]].duplicated()].iloc[0]} comes twice")
    return table


def _epochs(folder: Path) -> int:
    """How many epochs history.csv tells of."""
    try:
        return len(_table(folder / "history.csv", ("epoch",)))
    except (OSError, ValueError):
        return 0


def _line(text: object) -> str:
    return " ".join(str(text).split())


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
    """Runs that agree in all but loss, model, width, seed and fold; the largest group first.

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


def systems(runs: Sequence[Run]) -> list[str]:
    """What is compared, of each run: the loss, with network and width behind it where the runs differ in them."""
    several = len({(run.model, run.width) for run in runs}) > 1
    return [f"{run.loss} ({run.model}-w{run.width})" if several else run.loss for run in runs]


def tidy(runs: Sequence[Run], part: Literal["rows", "history", "candidates"] = "rows") -> pd.DataFrame:
    """One table of a part of all runs; in front system, loss, model, width, seed, fold, scheme and train_images.

    `system` is what is compared: see `systems`.
    `train_images`: how many the run learned from (NaN where it does not say). Runs without candidates add nothing.
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
        head = {"system": system, **known, "scheme": run.facts["scheme"], "train_images": images.get("train", math.nan)}
        tables.append(pd.concat([pd.DataFrame(head, index=table.index), table], axis=1))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
