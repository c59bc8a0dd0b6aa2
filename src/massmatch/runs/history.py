"""The rows of the epochs, as files: a table for people, JSON lines for programs."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from massmatch.runs.atomic import write_atomic
from massmatch.runs.folder import HISTORY, HISTORY_LINES

Row = dict[str, Any]


def write_history(folder: Path, history: list[Row]) -> None:
    """history.csv and history.jsonl, a row per epoch: written anew each time, so that no epoch can be there twice."""
    if not history:
        return
    columns = list(dict.fromkeys(name for row in history for name in row))  # older rows may have fewer
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(history)
    write_atomic(folder / HISTORY, text.getvalue().encode())
    lines = [json.dumps({name: defined(value) for name, value in row.items()}) for row in history]
    write_atomic(folder / HISTORY_LINES, "".join(f"{line}\n" for line in lines).encode())


def defined(value: Any) -> Any:
    """None for NaN and infinity, for which JSON has no word."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def epochs_since_best(history: list[Row]) -> int:
    """How many epochs came after the best one, the last of equals; all of them where none gave a number.

    >>> epochs_since_best([{"val_dsc_pooled": dsc} for dsc in (0.1, 0.3, 0.2)])
    1
    """
    best = best_so_far(history)
    scores = [row["val_dsc_pooled"] for row in reversed(history)]
    return scores.index(best) if best in scores else len(scores)


def best_so_far(history: list[Row]) -> float:
    """The highest pooled DSC on the validation part; epochs in which it is NaN are no candidates."""
    return max((v for row in history if not math.isnan(v := row["val_dsc_pooled"])), default=-math.inf)
