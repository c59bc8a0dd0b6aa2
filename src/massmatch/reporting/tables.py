"""Summaries of runs as tables: percent, as the paper shows them."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd
from rich.table import Table

from massmatch.metrics import summary


class Column(NamedTuple):
    """One column: its heading, the key in `summary`, and whether it is shown in percent."""

    heading: str
    key: str
    percent: bool = True


COLUMNS = (
    Column("DSC pooled", "dsc_pooled"),
    Column("ΔA pooled", "delta_a_pooled"),
    Column("SEN pooled", "sen_pooled"),
    Column("DSC", "dsc"),
    Column("ΔA", "delta_a"),
    Column("SEN", "sen"),
    Column("HAU px", "hau_px", False),
    Column("HAU95 px", "hau95_px", False),
    Column("HAU px, hits", "hau_px_hits", False),
    Column("ACC", "acc"),
)
COUNTS = (
    Column("images", "n", False),
    Column("missed", "missed", False),
    Column("predicted nothing", "prediction_empty", False),
)
NOTE = (
    "Percent but for HAU (pixels at the size of the cohort). Pooled: pixels of all images added up; otherwise the mean "
    "over images, with misses counted: DSC 0, HAU the diagonal of the image. 'Hits' leaves the missed images out."
)


def comparison(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A line per name with COLUMNS and COUNTS as text."""
    lines = {name: summary(of) for name, of in rows.items()}
    table = {name: [_text(line[c.key], c) for c in (*COLUMNS, *COUNTS)] for name, line in lines.items()}
    return pd.DataFrame.from_dict(table, orient="index", columns=[c.heading for c in (*COLUMNS, *COUNTS)])


def _text(value: float, column: Column) -> str:
    if pd.isna(value):
        return "–"
    if column in COUNTS:
        return str(int(value))
    return f"{100 * value:.2f}" if column.percent else f"{value:.2f}"


def on_screen(table: pd.DataFrame, title: str) -> Table:
    """The comparison turned round, a metric per row, so that it fits a terminal."""
    screen = Table(title=title, caption=NOTE)
    screen.add_column("")
    for name in table.index:
        screen.add_column(str(name), justify="right", overflow="fold")
    for heading in table.columns:
        screen.add_row(heading, *table[heading])
    return screen


def markdown(table: pd.DataFrame) -> str:
    """The comparison as a Markdown table."""
    head = ["loss", *table.columns]
    lines = [
        head,
        ["---"] + ["---:"] * len(table.columns),
        *([f"`{n}`", *v] for n, v in zip(table.index, table.values, strict=True)),
    ]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
