"""Where each mark of a chart stands; `templates/report_charts.html` draws them as SVG.

Rows (boxes, intervals, dots) lie on one axis from left to right, in percent of its length, so that they fit any
screen. Panels (curves) have a fixed frame of WIDTH x HEIGHT. Nothing here knows colours: the page's style does.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 300, 180  # of a panel, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 32  # its margins


class Axis(NamedTuple):
    """A line from `low` to `high` with `ticks` on it, as (value, text)."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def at(self, value: float) -> float:
        """The place of a value in percent of the axis' length, kept between 0 and 100."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


def axis(
    values: Iterable[float], *, percent: bool = False, whole: bool = False, tight: bool = False, most: int = 6
) -> Axis:
    """An axis with round ticks that holds all finite values; from 0 to 1 where there are none.

    `percent`: the values are fractions, and the ticks are labelled in percent. `whole`: ticks at whole numbers only.
    `tight`: from the lowest to the highest value, rather than from tick to tick.
    """
    factor = 100.0 if percent else 1.0
    finite = [factor * value for value in values if math.isfinite(value)] or [0.0, factor]
    low, high = min(finite), max(finite)
    if low == high:
        low, high = low - 0.5, high + 0.5
    ticks = MaxNLocator(most, integer=whole, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2).tick_values(low, high)
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    digits += round(10**digits * (ticks[1] - ticks[0]), 6) % 1 != 0  # steps of 2.5
    texts = [f"{tick:.{digits}f}".replace("-", "−") for tick in ticks]
    places = [round(tick / factor, 12) + 0.0 for tick in ticks]
    placed = tuple(zip(places, texts, strict=True))
    if tight:
        low, high = low / factor, high / factor
        return Axis(low, high, tuple((at, text) for at, text in placed if low <= at <= high))
    return Axis(places[0], places[-1], placed)


class Mark(NamedTuple):
    """Something drawn in a row: a "dot", "ring", "diamond" or "tick" at `low`; a "line", "bar" or "band" to `high`."""

    kind: str
    low: float  # percent along the axis
    high: float
    says: str = ""  # shown when the pointer rests on it


class Row(NamedTuple):
    """A line of a chart: its name, its marks, its numbers as text."""

    name: str
    marks: tuple[Mark, ...]
    text: str
    strong: bool = False


class RowChart(NamedTuple):
    """Rows on one axis. `zero`: where a line of reference stands, in percent along the axis."""

    ticks: tuple[tuple[float, str], ...]  # (percent along the axis, text)
    rows: tuple[Row, ...]
    zero: float | None = None


def _placed(line: Axis) -> tuple[tuple[float, str], ...]:
    return tuple((line.at(value), text) for value, text in line.ticks)


def boxes(values: Mapping[str, Sequence[float]]) -> RowChart:
    """One box for each name, of fractions from 0 to 1: quartiles and median, a diamond for the mean, whiskers from the
    5th to the 95th percentile.

    Undefined values (NaN) are left out, and their number is in the row's text.
    """
    line = axis([0.0, 1.0], percent=True)
    return RowChart(_placed(line), tuple(_box(name, np.asarray(v, float), line) for name, v in values.items()))


def _box(name: str, values: np.ndarray, line: Axis) -> Row:
    there = values[np.isfinite(values)]
    if not len(there):
        return Row(name, (), "no value")
    low, first, median, third, high = np.percentile(there, [5, 25, 50, 75, 95])
    mean = float(there.mean())
    undefined = f", {len(values) - len(there)} undefined" if len(there) < len(values) else ""
    marks = (
        Mark("line", line.at(low), line.at(high), f"5th to 95th percentile: {percent(low)} to {percent(high)}"),
        Mark("bar", line.at(first), line.at(third), f"quartiles: {percent(first)} and {percent(third)}"),
        Mark("tick", line.at(median), line.at(median), f"median: {percent(median)}"),
        Mark("diamond", line.at(mean), line.at(mean), f"mean: {percent(mean)}"),
    )
    return Row(name, marks, f"median {percent(median)}, mean {percent(mean)} (n = {len(there)}{undefined})")


class Interval(NamedTuple):
    """A difference and its confidence interval; `supported` ones are drawn as full dots, others as rings."""

    name: str
    value: float
    low: float
    high: float
    supported: bool
    text: str


def forest(intervals: Sequence[Interval], *, percent: bool) -> RowChart:
    """Differences with their confidence intervals, about a line at 0."""
    line = axis([0.0, *(v for i in intervals for v in (i.value, i.low, i.high))], percent=percent)
    return RowChart(_placed(line), tuple(_interval(i, line) for i in intervals), line.at(0.0))


def _interval(given: Interval, line: Axis) -> Row:
    kind = "dot" if given.supported else "ring"
    marks = [Mark(kind, line.at(given.value), line.at(given.value), given.text)] if math.isfinite(given.value) else []
    if math.isfinite(given.low) and math.isfinite(given.high):
        marks.insert(0, Mark("line", line.at(given.low), line.at(given.high), given.text))
    return Row(given.name, tuple(marks), given.text, given.supported)


def dots(values: Mapping[str, Mapping[str, float]], texts: Mapping[str, str], *, percent: bool = True) -> RowChart:
    """A dot for each run, named as `values[name][run]` is, and a tick at the mean of each name."""
    line = axis([0.0, *(v for runs in values.values() for v in runs.values())], percent=percent)
    return RowChart(_placed(line), tuple(_dots(name, runs, texts[name], line) for name, runs in values.items()))


def _dots(name: str, runs: Mapping[str, float], text: str, line: Axis) -> Row:
    finite = {run: value for run, value in runs.items() if math.isfinite(value)}
    marks = [Mark("dot", line.at(v), line.at(v), f"{run}: {percent(v)}") for run, v in finite.items()]
    if len(finite) > 1:
        mean, low, high = float(np.mean(list(finite.values()))), min(finite.values()), max(finite.values())
        marks = [Mark("line", line.at(low), line.at(high)), *marks, Mark("tick", line.at(mean), line.at(mean))]
    return Row(name, tuple(marks), text)


class Curve(NamedTuple):
    """One line of a panel: its pieces as SVG points (it is broken where a value is undefined), and its kind."""

    pieces: tuple[str, ...]
    says: str
    kind: str = "thin"  # "thin", "strong" or "faint"


class Panel(NamedTuple):
    """Curves on two axes; ticks as (SVG units, text)."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    curves: tuple[Curve, ...]
    says: str  # the panel in words


def panel(
    title: str,
    lines: Sequence[tuple[str, str, Sequence[float], Sequence[float]]],
    x_axis: Axis,
    y_axis: Axis,
    *,
    labels: tuple[str, str],
    says: str,
) -> Panel:
    """A panel with one curve for each of `lines`, which are (kind, name, xs, ys)."""
    curves = tuple(Curve(_pieces(xs, ys, x_axis, y_axis), what, kind) for kind, what, xs, ys in lines)
    x_ticks = tuple((_x(value, x_axis), text) for value, text in x_axis.ticks)
    y_ticks = tuple((_y(value, y_axis), text) for value, text in y_axis.ticks)
    return Panel(title, *labels, x_ticks, y_ticks, curves, says)


def _x(value: float, line: Axis) -> float:
    return round(LEFT + line.at(value) / 100 * (WIDTH - LEFT - RIGHT), 1)


def _y(value: float, line: Axis) -> float:
    return round(HEIGHT - BOTTOM - line.at(value) / 100 * (HEIGHT - TOP - BOTTOM), 1)


def _pieces(xs: Sequence[float], ys: Sequence[float], x_axis: Axis, y_axis: Axis) -> tuple[str, ...]:
    """SVG points between the gaps; a single point becomes a short dash that can be seen."""
    pieces: list[list[str]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            pieces[-1].append(f"{_x(x, x_axis)},{_y(y, y_axis)}")
        else:
            pieces.append([])
    return tuple(" ".join(piece if len(piece) > 1 else piece * 2) for piece in pieces if piece)


RANKS_AXIS, RANKS_LINE, LETTER = 340, 20, 7.0  # of a critical-difference diagram: axis, per name, per letter


class Rank(NamedTuple):
    """One name of a critical-difference diagram: where its mark and its label stand."""

    name: str
    text: str
    x: float
    y: float
    right: bool


class Ranks(NamedTuple):
    """A critical-difference diagram (Demsar 2006): the best rank on the left, and lines that join names which the test
    cannot tell apart.
    """

    side: float  # for the names, on either side of the axis
    width: float
    height: float
    axis_y: float
    ticks: tuple[tuple[float, str], ...]
    marks: tuple[Rank, ...]
    bars: tuple[tuple[float, float, float], ...]  # (from, to, y)
    critical: tuple[float, float, str]  # from, to, text
    says: str


def ranks(mean_ranks: Mapping[str, float], groups: Sequence[Sequence[str]], critical: float) -> Ranks:
    """The diagram of mean ranks (1 is best); `groups` are names that the test cannot tell apart."""
    ordered = sorted(mean_ranks, key=lambda name: (mean_ranks[name], name))
    count = len(ordered)
    low = math.floor(min(mean_ranks.values()))
    high = max(math.ceil(max(mean_ranks.values())), low + math.ceil(critical), low + 1)
    side = 40 + LETTER * max(len(f"{name} (0.00)") for name in ordered)
    step = RANKS_AXIS / (high - low)

    def place(rank: float) -> float:
        return round(side + (rank - low) * step, 1)

    many = [group for group in groups if len(group) > 1]
    bars = tuple(
        (place(min(mean_ranks[n] for n in g)) - 4, place(max(mean_ranks[n] for n in g)) + 4, 62 + 8.0 * i)
        for i, g in enumerate(many)
    )
    top = 62 + 8 * len(many) + 16
    half = (count + 1) // 2
    marks = tuple(
        Rank(
            name=name,
            text=f"{mean_ranks[name]:.2f}",
            x=place(mean_ranks[name]),
            y=float(top + RANKS_LINE * (i if i < half else count - 1 - i)),
            right=i >= half,
        )
        for i, name in enumerate(ordered)
    )
    every = max(1, (high - low) // 12)
    ticks = tuple((place(rank), str(rank)) for rank in range(low, high + 1, every))
    says = "Mean ranks: " + ", ".join(f"{mark.name} {mark.text}" for mark in marks)
    says += f". Critical difference {critical:.2f}."
    says += "".join(f" Not told apart: {', '.join(group)}." for group in many)
    return Ranks(
        side=side,
        width=RANKS_AXIS + 2 * side,
        height=top + RANKS_LINE * half,
        axis_y=50.0,
        ticks=ticks,
        marks=marks,
        bars=bars,
        critical=(side, round(side + critical * step, 1), f"{critical:.2f}"),
        says=says,
    )


def percent(value: float, digits: int = 1) -> str:
    """A fraction in percent, with a real minus; an en dash for what is undefined."""
    return "–" if not math.isfinite(value) else f"{100 * value:.{digits}f}".replace("-", "−")
