"""The paper's Tables 1 to 3 from our runs, each printed line below ours."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import pandas as pd

from massmatch.errors import UsageError
from massmatch.losses import LOSSES, VariantName
from massmatch.reports.paper.published import METRICS, ODDITIES, published
from massmatch.reports.rendering import Line, Table
from massmatch.reports.tables import Column, number, other_runs, signed, spread_text
from massmatch.statistics.intervals import DRAWS, Estimate, estimate

Number = Literal[1, 2, 3]
COLUMNS = (  # our pooled metrics, which the paper's numbers fit best
    Column("DSC", "dsc_pooled"),
    Column("ΔA", "delta_a_pooled"),
    Column("SEN", "sen_pooled"),
    Column("HAU", "hau_px", False),
    Column("ACC", "acc_pooled"),
)
CORES = {1: {"BCE": "bce", "Tversky": "tversky"}, 3: {"Dice": "dice"}}
VARIANTS = {"SM-B": "b", "SM-D": "d", "SM-S": "s", "SM-SD": "sd"}
TITLES = {
    1: "Table 1: variants of the Spatial Matching loss with BCE and Tversky",
    2: "Table 2: the Spatial Matching loss and other methods",
    3: "Table 3: variants of the Spatial Matching loss with Dice",
}
NOTE = (
    "Ours: pixels added up within each run, in percent; HAU: in pixels, mean over images, a miss counts as the "
    "diagonal; mean over runs (seeds and folds) ± their standard deviation. Lines of the paper: as printed, on other "
    "data and not comparable; its HAU is not defined. A dash: not run, or not printed. Difference to the hybrid loss: "
    "of the Spatial Matching loss with the highest DSC, which flatters it, since it is the best of several"
)
NOTHING = Estimate(math.nan, math.nan, math.nan, 0, 0, 0)
BLANK = ("",) * len(COLUMNS)


class Entry(NamedTuple):
    """What one method reached here, and what the paper prints of it; None where there is nothing."""

    name: str
    loss: str
    ours: dict[str, Estimate] | None  # by key of COLUMNS
    printed: tuple[float, ...] | None  # in the order of COLUMNS


def paper_table(which: Number, rows: pd.DataFrame, *, draws: int = DRAWS) -> Table:
    """Table 1, 2 or 3 in the paper's layout, from tidy rows.

    Tables 1 and 3 have lines more for the plain core losses and the hybrid loss at the same budget. The network is
    AU-Net if it was trained, otherwise the first one; ARF-Net besides in Table 2. Losses with options of their own are
    not the paper's and are left out. Values: a line per method, ours as fractions and, in paper_*, as printed.

    Raises UsageError for rows of several widths of a network: those are several networks.
    """
    for model, own in rows.groupby("model"):
        if own["width"].nunique() > 1:
            raise UsageError(f"a table of the paper shows one width of {model}, but has {sorted(set(own['width']))}")
    models = list(dict.fromkeys(rows["model"]))
    model = "aunet" if "aunet" in models else models[0]
    if which == 2:
        entries, lines = _table_2(rows, model, draws)
        headings = ("method", *(c.heading for c in COLUMNS))
    else:
        entries, lines = _variants(which, rows, model, draws)
        headings = ("loss", *(f"{half} {c.heading}" for half in ("G-A", "G-NZ") for c in COLUMNS))
    losses, networks = {each.loss for each in entries if each.ours}, {model, "arfnet"} if which == 2 else {model}
    shown = rows[rows["loss"].isin(losses) & rows["model"].isin(networks)]
    apart = other_runs({str(system): own for system, own in shown.groupby(["model", "loss"])})
    note = f"{NOTE}{_chosen(entries)}.{apart}"
    note = " ".join([note, *(text for text, where in ODDITIES.items() if which in where)])
    title = TITLES[which] if model == "aunet" else f"{TITLES[which]} ({model} in place of AU-Net)"
    return Table(title, headings, tuple(lines), note, _values(which, entries))


def _entry(which: Number, name: str, rows: pd.DataFrame, model: str, loss: str, draws: int) -> Entry:
    """`which`: the table in which the paper prints it."""
    own = rows[(rows["model"] == model) & (rows["loss"] == loss)]
    table = published()
    in_print = "arfnet" if model == "arfnet" else "aunet"
    printed = table[(table["table"] == which) & (table["loss"] == loss) & (table["model"] == in_print)]
    return Entry(
        name,
        loss,
        None if own.empty else {c.key: estimate(own, c.key, draws=draws) for c in COLUMNS},
        None if printed.empty else tuple(float(v) for v in printed.iloc[0][list(METRICS)]),
    )


def _variants(which: Number, rows: pd.DataFrame, model: str, draws: int) -> tuple[list[Entry], list[Line]]:
    """Tables 1 and 3: G-A to the left, G-NZ to the right."""
    entries: list[Entry] = []
    lines: list[Line] = []
    halves: tuple[list[Entry], list[Entry]] = ([], [])
    for title, core in CORES[which].items():
        plain = _entry(which, title, rows, model, core, draws)
        entries.append(plain)
        lines.append(Line(f"{title} alone", (*_cells(plain), *BLANK), "baseline"))
        for name, variant in VARIANTS.items():
            pair = [
                _entry(which, f"{name} {title} {half}", rows, model, VariantName(core, variant, code).text, draws)
                for half, code in (("G-A", "a"), ("G-NZ", "nz"))
            ]
            lines += [
                Line(f"{name} {title}", tuple(cell for each in pair for cell in _cells(each))),
                Line(f"{name} {title}, paper", tuple(c for each in pair for c in _printed(each)), "published"),
            ]
            entries += pair
            halves[0].append(pair[0])
            halves[1].append(pair[1])
    base = _entry(2, "hybrid loss", rows, model, "hybrid", draws)
    lines += [
        Line("hybrid loss", (*_cells(base), *BLANK), "baseline"),
        Line("hybrid loss, paper", (*_printed(base), *BLANK), "published"),
    ]
    return [*entries, base], [*lines, *_differences(halves, base)]


def _table_2(rows: pd.DataFrame, model: str, draws: int) -> tuple[list[Entry], list[Line]]:
    table = published()
    named = table[table["table"] == 2][["name", "model", "loss"]].to_numpy().tolist()
    entries = [_entry(2, name, rows, m if m == "arfnet" else model, loss, draws) for name, m, loss in named]
    base = next(each for each in entries if each.name == "AU-Net")
    lines = []
    for each in entries:
        kind: Literal["baseline", "run"] = "baseline" if each is base else "run"
        lines += [Line(each.name, _cells(each), kind), Line(f"{each.name}, paper", _printed(each), "published")]
    return entries, [*lines, *_differences([[e for e in entries if LOSSES[e.loss].variant]], base)]


def _cells(entry: Entry) -> tuple[str, ...]:
    if entry.ours is None:
        return ("–",) * len(COLUMNS)
    return tuple(spread_text(entry.ours[c.key], c) for c in COLUMNS)


def _printed(entry: Entry) -> tuple[str, ...]:
    values = entry.printed or (math.nan,) * len(COLUMNS)
    return tuple(number(value, column, 2) for value, column in zip(values, COLUMNS, strict=True))


def _differences(halves: Sequence[Sequence[Entry]], base: Entry) -> Iterator[Line]:
    """The paper's "compared to the baseline", ours and as printed."""
    ours = [_gap([_ours(e) for e in half], _ours(base), 1) for half in halves]
    printed = [_gap([e.printed for e in half], base.printed, 2) for half in halves]
    yield Line("difference to the hybrid loss", tuple(c for half in ours for c in half), "difference")
    yield Line("difference to the hybrid loss, paper", tuple(c for half in printed for c in half), "published")


def _chosen(entries: Sequence[Entry]) -> str:
    """Which of our variants the difference is of; nothing where none was run."""
    halves = [
        [e for e in entries if e.ours and (variant := LOSSES[e.loss].variant) and variant.aggregation == half]
        for half in ("a", "nz")
    ]
    best = [max(half, key=lambda e: e.ours["dsc_pooled"].value if e.ours else -1).name for half in halves if half]
    return f" (ours: {', '.join(best)})" if best else ""


def _ours(entry: Entry) -> tuple[float, ...] | None:
    return None if entry.ours is None else tuple(entry.ours[c.key].value for c in COLUMNS)


def _gap(
    candidates: Sequence[tuple[float, ...] | None], base: tuple[float, ...] | None, digits: int
) -> tuple[str, ...]:
    """The candidate with the highest DSC minus the baseline, signed."""
    known = [each for each in candidates if each is not None]
    if not known or base is None:
        return ("–",) * len(COLUMNS)
    best = max(known, key=lambda values: values[0])
    return tuple(signed(b - a, c, digits) for a, b, c in zip(base, best, COLUMNS, strict=True))


def _values(which: Number, entries: Sequence[Entry]) -> pd.DataFrame:
    """A line per method: ours with interval and SD, then the paper's."""
    lines = []
    for entry in entries:
        line: dict[str, object] = {"table": which, "method": entry.name, "loss": entry.loss}
        for column in COLUMNS:
            line |= (entry.ours[column.key] if entry.ours else NOTHING).columns(column.key)
        printed = entry.printed or (math.nan,) * len(COLUMNS)
        line |= {f"paper_{name}": value for name, value in zip(METRICS, printed, strict=True)}
        lines.append(line)
    return pd.DataFrame(lines)
