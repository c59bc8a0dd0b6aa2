"""What a report is made of, apart from how it looks: sections of words, tables, charts and pictures.

`templates/report.html` draws each block by its `kind`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from massmatch.pictures import Window
from massmatch.reports import rendering as rendered
from massmatch.reports.charts import Panel, Ranks, RowChart


@dataclass(frozen=True)
class Heading:
    """A heading within a section, above what follows."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Words:
    """A paragraph; `soft` where it explains rather than reports."""

    text: str
    soft: bool = False
    kind: str = "words"


@dataclass(frozen=True)
class Lines:
    """Several sentences: a "list", or a "warning" in a box."""

    lines: Sequence[str]
    kind: str = "list"


@dataclass(frozen=True)
class Pairs:
    """Names with their values: as "facts" numbers in boxes, as "terms" a list of definitions."""

    pairs: Sequence[tuple[str, str]]
    kind: str = "facts"


@dataclass(frozen=True)
class Code:
    """The text of a file, in a block that is folded at first."""

    summary: str
    text: str
    kind: str = "code"


@dataclass(frozen=True)
class Table:
    """A table in the page and in files called `name`. `words`: columns of words, counted from 0 behind the names."""

    name: str
    table: rendered.Table
    words: Sequence[int] = ()
    folded: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Chart:
    """A chart below its title; its kind is "rows", "panels" or "ranks"."""

    title: str
    caption: str
    chart: RowChart | None = None
    panels: Sequence[Panel] = ()
    ranks: Ranks | None = None

    @property
    def kind(self) -> str:
        """The kind of drawing, by which the template chooses its macro."""
        return "rows" if self.chart is not None else "ranks" if self.ranks is not None else "panels"


class Mammogram(NamedTuple):
    """An image that the page holds once, however often it is shown."""

    anchor: str
    uri: str
    width: int  # pixels of the cohort, in which the contours are given
    height: int


class Picture(NamedTuple):
    """A mammogram, or a part of it, with contours as SVG paths."""

    anchor: str  # of the Mammogram
    window: Window
    truth: str
    prediction: str
    caption: str
    says: str
    frame: Window | None = None  # what the pictures beside it show


@dataclass(frozen=True)
class Pictures:
    """The same image several times, each with the contours of one loss."""

    title: str
    caption: str
    mammogram: Mammogram
    cells: Sequence[Picture]
    kind: str = "pictures"


@dataclass(frozen=True)
class Key:
    """The legend: what the colours of the contours mean."""

    kind: str = "key"


Block = Heading | Words | Lines | Pairs | Code | Table | Chart | Pictures | Key


class Section(NamedTuple):
    """A part of the report: its title, its place in the navigation, and its blocks."""

    anchor: str
    title: str
    blocks: Sequence[Block]


def tables(sections: Sequence[Section]) -> list[Table]:
    """All tables of a report, in the order of its sections."""
    return [block for section in sections for block in section.blocks if isinstance(block, Table)]


def mammograms(sections: Sequence[Section]) -> list[Mammogram]:
    """All images that the page must hold, each of them once."""
    shown = [block.mammogram for section in sections for block in section.blocks if isinstance(block, Pictures)]
    return list(dict.fromkeys(shown))


def text_of(value: Any, form: str) -> str:
    """A number as a table shows it: "%" in percent with two digits, "%1" with one, "d" whole, "f2" with two digits."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "–"
    if form == "d":
        return f"{int(value)}"
    number = 100 * value if form.startswith("%") else value
    text = f"{number:.{int(form[1:] or 2)}f}"
    return text.replace("-", "−" if text.strip("-0.") else "")  # never -0.0


def table(
    name: str,
    title: str,
    numbers: pd.DataFrame,
    columns: Mapping[str, tuple[str, str]],
    *,
    note: str = "",
    strong: Collection[str] = (),
    **more: Any,
) -> Table:
    """A table of the numbers whose first column names the rows.

    `columns`: column of `numbers` -> (heading, form of `text_of`); those that are not there are left out. `strong`:
    rows that stand out, by name.
    """
    first, *keys = [key for key in columns if key in numbers]
    lines = [
        rendered.Line(
            str(row[first]),
            tuple(text_of(row[key], columns[key][1]) for key in keys),
            strong=tuple(range(len(keys))) if row[first] in strong else (),
        )
        for row in numbers.to_dict("records")
    ]
    headings = tuple(columns[key][0] for key in (first, *keys))
    return Table(name, rendered.Table(title, headings, tuple(lines), note, numbers), **more)
