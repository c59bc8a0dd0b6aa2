"""The folder of a run: the names of its files, what they hold, and how far the run is."""

import functools
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from massmatch.errors import RunError, UsageError
from massmatch.runs.lock import is_held
from massmatch.runs.ranges import contradictory, out_of_range
from massmatch.wording import count

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

EXPERIMENT = "experiment.yaml"  # what the run is, and what was decided when it began
HISTORY = "history.csv"  # a row per epoch
HISTORY_LINES = "history.jsonl"  # the same for programs
CHECKPOINT = "last.ckpt"  # the state after the last finished epoch
WEIGHTS = "best.safetensors"  # of the epoch that is best on the validation part
PREDICTIONS = "predictions"  # a folder: <id>.png, the probabilities of each test image
ROWS = "rows.csv"  # a row of metrics per test image
NATIVE_ROWS = "rows_native.csv"  # the same, measured in the native frame
CANDIDATES = "candidates.csv"  # a row per candidate of the FROC (`lesion_candidates`)
DONE = "DONE"  # an empty file: the run is finished
FAILED = "FAILED.json"  # why the run failed; gone once it is started again
LOG = "log.txt"  # what a run of a sweep has printed

State = Literal["done", "running", "interrupted", "failed", "damaged", "never started"]
STATES: tuple[State, ...] = ("done", "running", "interrupted", "failed", "damaged", "never started")
NEEDED_RESOLVED = ("precision", "memory", "threads")
NEEDED_ROWS = ("id", "patient", "dsc", "tp", "fp", "fn", "tn", "truth_empty", "prediction_empty", "missed")
NEEDED_CANDIDATES = ("id", "score", "mass", "iou", "mass_at_centre")
NEEDED_EXPERIMENT: dict[str, type] = {
    **dict.fromkeys(("loss", "model"), str),
    **dict.fromkeys(("width", "seed", "fold"), int),
    **dict.fromkeys(("fingerprint", "cohort", "scheme"), str),
    **dict.fromkeys(("folds", "epochs"), int),
}
TEXT = dict.fromkeys(("id", "patient", "weights", "cohort"), str)  # columns in which numbers and "NA" are names
WORDS = (*TEXT, "side", "view", "density", "spacing_source")  # columns that need not hold numbers
SHOWN = 4  # runs in one message


@dataclass(frozen=True)
class RunFolder:
    """One run on the disk. Files are read when they are asked for; nothing is kept.

    Example:
        RunFolder.find(Path("runs/cbis_aunet-w8_hybrid_seed0_1a2b3c4d")).state  # "done"
    """

    path: Path

    @classmethod
    def find(cls, path: Path) -> "RunFolder":
        """The run in a folder, or the only run below it.

        Raises UsageError where the folder is missing, or holds no run or several; the message names what it holds.
        """
        found = run_folders(path)
        if len(found) == 1:
            return cls(found[0])
        if not found:
            raise UsageError(f"{path} holds no run: give the folder that `massmatch train` printed at its end")
        names = ", ".join(str(each) for each in found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
        raise UsageError(f"{path} holds {len(found)} runs: give one of them ({names})")

    def __fspath__(self) -> str:
        """The path, so that a run may stand wherever a path may."""
        return str(self.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def state(self) -> State:
        """How far the run is: one of STATES."""
        return self.state_and_reason()[0]

    def state_and_reason(self) -> tuple[State, str]:
        """How far the run is, and in one line why it failed, is damaged or is not finished."""
        if (self / DONE).is_file():
            fault = self.fault()
            return ("damaged", fault) if fault else ("done", "")
        if is_held(self.path):
            return "running", ""
        experiment: dict[str, Any] = {}
        if (self / EXPERIMENT).exists():
            try:
                experiment = self.experiment()
            except (OSError, RunError) as error:
                return "damaged", one_line(error)
        if (reason := self.failure()) is not None:
            return "failed", one_line(reason)
        if experiment or any((self / name).exists() for name in (HISTORY, CHECKPOINT)):
            of = experiment.get("epochs", "?")
            return "interrupted", f"no {DONE}: {self.epochs_done()} of {of} epochs are written"
        return "never started", f"no {EXPERIMENT}"

    def fault(self) -> str:
        """What is wrong with the files of a finished run, in one line; empty where nothing is."""
        return _fault(self.path, tuple(_written_at(self / name) for name in (EXPERIMENT, ROWS, HISTORY, CANDIDATES)))

    def experiment(self) -> dict[str, Any]:
        """The content of experiment.yaml. Raises RunError where it is missing or damaged."""
        import yaml

        path = self / EXPERIMENT
        if not path.is_file():
            raise RunError(f"{self.path} is no run's folder: it holds no {EXPERIMENT}")
        try:
            facts = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = one_line(error)
            raise RunError(f"{path}: cannot be read ({reason}): remove the folder to start this run again") from None
        if wrong := misfits(facts):
            raise RunError(f"{path}: {wrong}: remove the folder to start this run again")
        return dict(facts)

    def resolved(self) -> dict[str, Any]:
        """What was decided when the run began: number format, layout, threads. Raises RunError where it is not."""
        found = self.experiment().get("resolved") or {}
        if lacks := [name for name in NEEDED_RESOLVED if name not in found]:
            raise RunError(
                f"{self / EXPERIMENT}: lacks resolved ({', '.join(lacks)}): remove the folder to start this run again"
            )
        return dict(found)

    def cohort(self) -> Path:
        """Where the images of the run are. Raises UsageError where the run does not say, or they are there no more."""
        found = self.experiment().get("resolved", {}).get("cohort_path")
        if found is None:
            raise UsageError(f"{self.path} does not say where its images are: give the cohort it was trained on")
        if not Path(found).is_dir():
            raise UsageError(f"{self.path} was trained on {found}, which is there no more: give the cohort where it is")
        return Path(found)

    def rows(self) -> "pd.DataFrame":
        """A row of metrics per test image. Raises RunError where the file is missing, damaged or cut off."""
        rows = read_table(self / ROWS, NEEDED_ROWS)
        images = self.experiment().get("resolved", {}).get("images", {}) if (self / EXPERIMENT).is_file() else {}
        expected = images.get("test", len(rows))
        if len(rows) != expected:
            raise RunError(f"{self / ROWS}: holds {len(rows)} images, but the run tested {expected}")
        return rows

    def history(self) -> "pd.DataFrame":
        """A row per epoch. Raises RunError where the file is missing or damaged."""
        return read_table(self / HISTORY, ("epoch",))

    def candidates(self) -> "pd.DataFrame | None":
        """A row per candidate of the FROC; None where the run wrote none. Raises RunError for a damaged file."""
        path = self / CANDIDATES
        return read_table(path, NEEDED_CANDIDATES, may_be_empty=True) if path.is_file() else None

    def prediction(self, id: str, shape: tuple[int, ...]) -> "np.ndarray":
        """(H, W) float64 probabilities of a test image, as they were stored.

        Raises RunError where the file is missing or damaged, or holds no 16-bit numbers of this shape.
        """
        import numpy as np
        from PIL import Image

        path, mend = self / PREDICTIONS / f"{id}.png", "`massmatch evaluate` writes it again"
        try:
            with Image.open(path) as picture:
                stored = np.asarray(picture)
        except FileNotFoundError:
            raise RunError(f"{path} is missing: {mend}") from None
        except (OSError, SyntaxError, ValueError) as error:  # as PIL tells of a damaged PNG
            raise RunError(f"{path}: cannot be read ({one_line(error)}): {mend}") from None
        if stored.dtype != np.uint16 or stored.shape != shape:
            found = f"{stored.dtype} of the shape {stored.shape}"
            raise RunError(f"{path}: must hold numbers of 16 bits of the shape {shape}, but holds {found}: {mend}")
        return stored / 65535

    def epochs_done(self) -> int:
        """How many epochs the history tells of; 0 where it cannot be read."""
        try:
            return len(self.history())
        except RunError:
            return 0

    def failure(self) -> str | None:
        """Why the run failed, or None where it did not."""
        try:
            return str(json.loads((self / FAILED).read_text(encoding="utf-8"))["reason"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return f"{FAILED} cannot be read"

    def threshold_of(self, id: str) -> float | None:
        """The threshold at which an image was measured; None where the run does not say."""
        try:
            rows = self.rows()
        except RunError:
            return None
        if "threshold" not in rows or id not in set(rows["id"]):
            return None
        return float(rows.loc[rows["id"] == id, "threshold"].iloc[0])


def misfits(facts: object) -> str:
    """What is missing in the content of experiment.yaml, or is of another kind than it must be; empty if nothing is.

    >>> misfits({"loss": ["bce"], "model": "aunet"})
    "lacks width, seed, fold, fingerprint, cohort, scheme, folds, epochs; loss must be a str, but is ['bce']"
    """
    facts = {} if facts is None else facts  # of an empty file
    if not isinstance(facts, dict):
        return f"must hold lines `key: value`, but holds {facts!r}"
    lacks = [name for name in NEEDED_EXPERIMENT if name not in facts]
    kinds = {**NEEDED_EXPERIMENT, "resolved": dict}
    others = {name: kind for name, kind in kinds.items() if name in facts and not isinstance(facts[name], kind)}
    return "; ".join(
        [f"lacks {', '.join(lacks)}"] * bool(lacks)
        + [f"{name} must be a {kind.__name__}, but is {facts[name]!r}" for name, kind in others.items()]
    )


def run_folders(*roots: Path) -> list[Path]:
    """The folders of all runs at or below the given ones, each once, by name. Raises UsageError for a missing one."""
    found: dict[Path, Path] = {}
    for root in roots:
        if not root.is_dir():
            a_file = f"a file, not a folder of runs: give {root.parent} for all runs in it"
            raise UsageError(f"{root}: {a_file if root.exists() else 'no such folder'}")
        for folder in _walk(root):
            found.setdefault(folder.resolve(), folder)
    return sorted(found.values())


def read_table(path: Path, needed: Sequence[str] = (), *, may_be_empty: bool = False) -> "pd.DataFrame":
    """A CSV file of a run in which ids and patients are text, so that "007" and "NA" stay what they are.

    Raises RunError where the file cannot be read, lacks one of the columns `needed`, holds no row, has twice the same
    value in the first column of `needed`, holds something else than numbers, nothing in a column of `needed`, or
    numbers that contradict the counts of their row.
    """
    import pandas as pd

    try:
        undefined = {name: ["", "nan"] for name in pd.read_csv(path, nrows=0).columns if name not in TEXT}
        table = pd.read_csv(path, dtype=TEXT, keep_default_na=False, na_values=undefined)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read: {one_line(error)}") from None
    if lacks := [name for name in needed if name not in table]:
        raise RunError(f"{path}: lacks the columns {', '.join(lacks)}")
    if table.empty and not may_be_empty:
        raise RunError(f"{path}: holds no row")
    if needed and not may_be_empty and table[needed[0]].duplicated().any():
        raise RunError(f"{path}: {needed[0]} {table[needed[0]][table[needed[0]].duplicated()].iloc[0]} comes twice")
    for name in table.columns.difference(list(WORDS)):
        if (odd := _no_number(table[name], gaps=name not in needed)) is not None:
            raise RunError(f"{path}: {name} must hold a number in each row, but holds {odd!r}")
    if impossible := out_of_range(table) or contradictory(table):
        raise RunError(f"{path}: {impossible}")
    return table


def _no_number(column: "pd.Series", *, gaps: bool) -> str | None:
    """The first value of a column that is neither a number nor True or False; with `gaps` an empty cell may be."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        words = column.dropna().astype(str)
        words = words[~words.isin(("True", "False"))]
        odd = words[pd.to_numeric(words, errors="coerce").isna()]
        if len(odd):
            return str(odd.iloc[0])
    return "" if column.isna().any() and not gaps else None


def one_line(text: object) -> str:
    """A message without line breaks."""
    return " ".join(str(text).split())


@functools.lru_cache(maxsize=4096)
def _fault(folder: Path, written_at: tuple[int, ...]) -> str:
    """The fault of a finished run whose files were written at these times: read anew only when one has changed."""
    run = RunFolder(folder)
    try:
        facts, _, history, _ = run.experiment(), run.rows(), run.history(), run.candidates()
    except RunError as error:
        return one_line(error)
    if len(history) < facts["epochs"] and not facts.get("patience"):  # with patience a run may end at any epoch
        return f"{run / HISTORY}: holds {count(len(history), 'epoch')}, but the run trained {facts['epochs']}"
    return ""


def _written_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _walk(root: Path) -> Iterator[Path]:
    """The runs below a folder, and nothing below a run; names are never patterns, so brackets in them do no harm.

    Warns of a folder that cannot be read.
    """

    def tell(error: OSError) -> None:
        warnings.warn(f"{error.filename} cannot be read ({error.strerror}): runs in it are passed over", stacklevel=2)

    for name, below, files in os.walk(root, onerror=tell):
        folder = Path(name)
        if {EXPERIMENT, FAILED, CHECKPOINT, DONE} & set(files) or _is_empty_fold(folder):
            below.clear()
            yield folder
        below[:] = sorted(each for each in below if not each.startswith("."))


def _is_empty_fold(folder: Path) -> bool:
    """Whether a folder is named as a fold, and nothing has been written in it yet."""
    return folder.name.removeprefix("fold").isdigit() and folder.name.startswith("fold") and not any(folder.iterdir())
