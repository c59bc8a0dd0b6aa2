"""Which values the columns of a run's tables can have: others were not written by a measurement."""

import math
from typing import TYPE_CHECKING, NamedTuple

from massmatch.metrics.counts import Counts
from massmatch.metrics.registry import METRICS

if TYPE_CHECKING:
    import pandas as pd

SHARES = ("threshold", "score", "mass_fraction", "val_threshold")  # from 0 to 1, and no metrics
TRUTH = {"True": 1, "False": 0}  # as text, in columns with gaps
FLAGS = ("truth_empty", "prediction_empty", "missed", "false_positive")
COUNTED = {  # columns that follow from the pixels that are counted beside them
    "dsc": lambda counts: counts.dice,
    "iou": lambda counts: counts.iou,
    "sen": lambda counts: counts.sensitivity,
    "truth_empty": lambda counts: counts.tp + counts.fn == 0,
}
ROUNDED = 0.005  # what a table of two decimals has lost
UNBOUNDED = {"delta_a": 0.0, "delta_a_pooled": 0.0, "delta_a_signed": -1.0}  # shares of the true area, and their least


class Range(NamedTuple):
    """The least and the greatest value of a column, and whether it may be infinite or lie between whole numbers."""

    least: float
    most: float = math.inf
    infinite: bool = False
    whole: bool = False

    def __str__(self) -> str:
        if self.most == math.inf:
            return f"a {'whole' if self.whole else 'finite'} number of at least {self.least:g}"
        return f"{self.least:g} or {self.most:g}" if self.whole else f"from {self.least:g} to {self.most:g}"

    def outside(self, values: "pd.Series") -> "pd.Series":
        """Which values cannot be; a gap can."""
        wrong = (values < self.least) | (values > self.most)
        wrong |= values.abs().eq(math.inf) & (not self.infinite)
        return wrong | (values % 1 > 0) if self.whole else wrong


def range_of(column: str) -> Range | None:
    """The range of a column of rows.csv, candidates.csv or history.csv; None for one that may hold any number.

    >>> str(range_of("val_dsc")), str(range_of("tp")), range_of("loss")
    ('from 0 to 1', 'a whole number of at least 0', None)
    """
    name = column.removeprefix("val_")
    if column in SHARES:
        return Range(0, 1)
    if name not in METRICS:
        return None
    metric = METRICS[name]
    if name in FLAGS:
        return Range(0, 1, whole=True)
    if metric.unit == "count" or name.startswith("masses_found"):
        return Range(0, whole=True)
    if metric.unit == "fraction":
        return Range(UNBOUNDED[name]) if name in UNBOUNDED else Range(0, 1)
    return Range(0, infinite=name.startswith("hau_raw"))


def out_of_range(table: "pd.DataFrame") -> str:
    """What is said of the first value that a column cannot have; empty where all can be."""
    for name in table:
        if (allowed := range_of(str(name))) is None:
            continue
        values = _numbers(table[name])
        if (wrong := allowed.outside(values)).any():
            row = int(wrong.to_numpy().argmax())
            return f"{name} must be {allowed}, but is {values.iloc[row]:g} in row {row + 1}{_of(table, row)}"
    return ""


def contradictory(table: "pd.DataFrame") -> str:
    """What is said of the first value that is another one than the counts of its row give; empty where none is."""
    if not set(Counts._fields) <= set(table):
        return ""
    counts = [Counts(*row) for row in table[list(Counts._fields)].itertuples(index=False)]
    for name, follow in COUNTED.items():
        for row, given in enumerate(_numbers(table[name]) if name in table else ()):
            if abs(given - (expected := follow(counts[row]))) > ROUNDED:
                of = ", ".join(f"{field} {value:g}" for field, value in counts[row]._asdict().items())
                return f"{name} is {given:g} in row {row + 1}{_of(table, row)}, but {of} give {expected:g}"
    return ""


def _numbers(column: "pd.Series") -> "pd.Series":
    """A column in float64, True and False as 1 and 0."""
    return column.map(lambda value: TRUTH.get(value, value)).astype(float)


def _of(table: "pd.DataFrame", row: int) -> str:
    return f" ({table['id'].iloc[row]})" if "id" in table else ""
