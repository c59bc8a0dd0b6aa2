"""Summaries of runs as tables: percent, as the paper shows them; the files behind hold fractions."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from rich.table import Table as ScreenTable

from massmatch.metrics import summary
from massmatch.metrics.registry import metric
from massmatch.metrics.strata import by_density, by_size, by_view
from massmatch.reports.rendering import Line, Table, rows_markdown
from massmatch.statistics.comparison import against
from massmatch.statistics.intervals import DRAWS, Estimate, by_run, estimate, is_mean, sense
from massmatch.wording import count

IN_WORDS = {"fraction": "points", "px": "pixels", "px2": "pixels", "mm": "mm", "mm2": "mm²", "count": "whole ones"}


class Column(NamedTuple):
    """One column: its heading, the key in `summary`, and whether it is shown in percent."""

    heading: str
    key: str
    percent: bool = True


def column_of(key: str) -> Column:
    """The column of a metric, as the registry of metrics has it."""
    known = metric(key)
    return Column(known.heading, key, known.percent)


COLUMNS = tuple(
    column_of(key)
    for key in (
        "dsc_pooled",
        "delta_a_pooled",
        "sen_pooled",
        "dsc",
        "delta_a",
        "sen",
        "hau_px",
        "hau95_px",
        "hau_px_hits",
        "acc",
    )
)
FALSE_ALARMS = column_of("false_alarms")
DSC, INTERVAL = Column("DSC", "dsc"), "DSC, 95 % interval"
SPREAD = (Column("DSC, SD of images", "dsc_sd"), Column("DSC, median", "dsc_median"))
COUNTS = (
    Column("images", "n", False),
    Column("without mass", "truth_empty", False),
    Column("missed", "missed", False),
    Column("predicted nothing", "prediction_empty", False),
)
NOTE = (
    "Percent but for HAU (pixels at the size of the cohort). Pooled: pixels of all images added up; otherwise the mean "
    "over the images with mass, with misses counted: DSC 0, and where nothing was predicted HAU is the diagonal of the "
    "image. 'Hits' leaves the missed images out. ACC: over all images. False alarms: share of the images without mass "
    "on which something was predicted."
)
COUNTED = "Images, without mass, missed, predicted nothing: how many images."  # of `comparison`, whose COUNTS these are
MM = (column_of("hau_mm"), column_of("hau95_mm"))
RATES = (column_of("missed"), column_of("prediction_empty"))
STRATA: dict[str, Callable[[pd.DataFrame], pd.Series]] = {"size": by_size, "density": by_density, "view": by_view}


def comparison(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A line per name with COLUMNS, SPREAD, the DSC's interval over patients (see `statistics`) and COUNTS, as text.

    A metric that rows lack is a dash, as an undefined one is.
    """
    shown = (*COLUMNS, FALSE_ALARMS, *SPREAD, *COUNTS)
    table = {
        name: {
            **{c.heading: _text(line.get(c.key, math.nan), c) for c in shown},
            INTERVAL: interval(estimate(rows[name]), DSC),
        }
        for name, line in {name: summary(of) for name, of in rows.items()}.items()
    }
    order = [c.heading for c in (*COLUMNS, FALSE_ALARMS, *SPREAD)] + [INTERVAL] + [c.heading for c in COUNTS]
    return pd.DataFrame.from_dict(table, orient="index")[order]


def _text(value: float, column: Column) -> str:
    if pd.isna(value):
        return "–"
    if column in COUNTS:
        return str(int(value))
    return f"{100 * value:.2f}" if column.percent else f"{value:.2f}"


def on_screen(table: pd.DataFrame, title: str) -> ScreenTable:
    """The comparison turned round, a metric per row, so that it fits a terminal."""
    screen = ScreenTable(title=title, caption=f"{NOTE} {COUNTED}")
    screen.add_column("")
    for name in table.index:
        screen.add_column(str(name), justify="right", overflow="fold")
    for heading in table.columns:
        screen.add_row(heading, *table[heading])
    return screen


def markdown(table: pd.DataFrame) -> str:
    """The comparison as a Markdown table."""
    lines = [Line(str(name), tuple(cells)) for name, cells in zip(table.index, table.to_numpy(), strict=True)]
    return rows_markdown(["loss", *table.columns], lines)


def overview(rows: pd.DataFrame, *, columns: Sequence[Column] | None = None, draws: int = DRAWS) -> Table:
    """Every system of tidy rows: mean and SD over runs, intervals for both kinds of DSC; the highest mean DSC first.

    `columns`: by default COLUMNS, the distances in mm where they are known, RATES, and the false
    alarms where there are images without mass.
    """
    if columns is None:
        normals = [FALSE_ALARMS] if rows["truth_empty"].astype(bool).any() else []
        columns = [*COLUMNS, *(c for c in MM if rows[c.key].notna().any()), *RATES, *normals]
    own = {name: rows[rows["system"] == name] for name in ordered(rows)}
    cells = {name: {c.key: estimate(of, c.key, draws=draws) for c in columns} for name, of in own.items()}
    lines = [_overview_line(name, of, cells, columns) for name, of in own.items()]
    headings = [h for c in columns for h in ([c.heading, "95 % interval"] if c.key in INTERVALS else [c.heading])]
    note = f"{NOTE} Missed, predicted nothing: shares over the images with mass. {AVERAGED} {HIGHEST}{other_runs(own)}"
    return Table("Losses side by side", ("loss", "runs", *headings), tuple(lines), note, _values(own, cells))


def _overview_line(
    name: str, rows: pd.DataFrame, cells: Mapping[str, Mapping[str, Estimate]], columns: Sequence[Column]
) -> Line:
    texts, strong = [str(_runs(rows))], []
    for column in columns:
        cell = cells[name][column.key]
        if _is_best(cells, name, column):
            strong.append(len(texts))
        texts.append(spread_text(cell, column))
        if column.key in INTERVALS:
            texts.append(interval(cell, column))
    return Line(name, tuple(texts), strong=tuple(strong))


INTERVALS = ("dsc", "dsc_pooled")
AVERAGED = (
    "Mean over runs (seeds and folds) ± their standard deviation; intervals by bootstrap over patients, for the "
    "networks as trained."
)
HIGHEST = (
    "Bold: best mean of its column, which need not be a supported difference; none over the hits, which are other "
    "images for each loss."
)


def ordered(rows: pd.DataFrame) -> list[str]:
    """Systems by mean DSC, the highest first."""
    means = {str(name): float(by_run(of).mean()) for name, of in rows.groupby("system")}
    return sorted(means, key=lambda name: (-means[name], name))


def number(value: float, column: Column, digits: int = 1) -> str:
    """A number as the column shows it: in percent, or as it is."""
    if math.isnan(value):
        return "–"
    return f"{value * (100 if column.percent else 1):.{digits}f}".replace("-", "−")


def interval(found: Estimate, column: Column) -> str:
    """The ends of a confidence interval as text, "71.2 to 75.0"; a dash where there is none."""
    if math.isnan(found.low):
        return "–"
    return f"{number(found.low, column)} to {number(found.high, column)}"


def spread_text(cell: Estimate, column: Column) -> str:
    """The mean as text, with ± SD where there is more than one run."""
    sd = "" if math.isnan(cell.sd) else f" ± {number(cell.sd, column)}"
    return number(cell.value, column) + sd


def _is_best(cells: Mapping[str, Mapping[str, Estimate]], name: str, column: Column) -> bool:
    if len(cells) < 2 or column.key.endswith("_hits"):  # each system has hits of its own
        return False
    values = [sense(column.key) * of[column.key].value for of in cells.values()]
    own = sense(column.key) * cells[name][column.key].value
    return own == max((v for v in values if not math.isnan(v)), default=math.nan)


def _runs(rows: pd.DataFrame) -> int:
    return len(rows[["seed", "fold"]].drop_duplicates())


def other_runs(own: Mapping[str, pd.DataFrame]) -> str:
    """A warning where not all systems have the same seeds and folds."""
    sets = {frozenset(map(tuple, of[["seed", "fold"]].drop_duplicates().to_numpy())) for of in own.values()}
    if len(sets) < 2:
        return ""
    return " Not all losses have the same runs, so that their means are over other images: see the paired differences."


def _values(own: Mapping[str, pd.DataFrame], cells: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """A line per system: of each metric the mean, its SD over runs and its interval."""
    lines = []
    for name, of in own.items():
        line: dict[str, object] = {"system": name, "runs": _runs(of), "patients": of["patient"].nunique()}
        for key, cell in cells[name].items():
            line |= cell.columns(key)
        lines.append(line)
    return pd.DataFrame(lines)


def differences(rows: pd.DataFrame, baseline: str, metric: str = "dsc", *, draws: int = DRAWS) -> Table:
    """Every system minus the baseline on the images that both tested, the highest first. Values: those of `against`."""
    table, column = against(rows, baseline, metric, draws=draws), column_of(metric)
    return difference_table(
        table, f"Difference to {baseline}: {column.heading}", f"{column.heading} minus that of {baseline}"
    )


def difference_table(table: pd.DataFrame, title: str, what: str) -> Table:
    """A table of `against` or `pairwise`, of one metric, under a title. `what` is shown: "DSC minus that of hybrid"."""
    key = str(table["metric"].iloc[0]) if len(table) else "dsc"
    column = column_of(key)
    lines = [Line(str(line["system"]), _difference_cells(line, column)) for _, line in table.iterrows()]
    head = ("loss", "difference", "95 % over patients", "95 % over trainings", "p", "p (Holm)")
    headings = (*head, "better / worse / equal", "patients", "runs")
    test = (
        "p: Wilcoxon's signed-rank test of patients' means; Holm over the "
        f"{count(int(table['p'].count()), 'comparison')} of this table. Better, worse, equal: patients."
    )
    note = (
        f"{what}, in {IN_WORDS[metric(key).unit]}, on the same images. "
        "Over patients: bootstrap, the networks as trained. Over trainings: corrected t interval over runs (Nadeau and "
        "Bengio 2003), with chance in the training; with one seed, first weights are the same in all runs. "
        f"{test if is_mean(key) else 'No test: the metric has no mean per patient.'}"
    )
    return Table(title, headings, tuple(lines), note, table)


def _difference_cells(line: pd.Series, column: Column) -> tuple[str, ...]:
    over = [
        "–" if math.isnan(line[low]) else f"{signed(line[low], column)} to {signed(line[high], column)}"
        for low, high in (("low", "high"), ("training_low", "training_high"))
    ]
    counts = f"{line['better']} / {line['worse']} / {line['equal']}" if is_mean(line["metric"]) else "–"
    tests = [_p(line["p"]), _p(line["p_holm"])]
    return (signed(line["difference"], column), *over, *tests, counts, str(line["patients"]), str(line["runs"]))


def signed(value: float, column: Column, digits: int = 1) -> str:
    """A difference, with + or − unless it is rounded to 0."""
    text = number(value, column, digits)
    if not text.strip("−0."):
        return text.removeprefix("−")
    return f"+{text}" if value > 0 else text


def _p(value: float) -> str:
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def stratified(rows: pd.DataFrame, by: str = "size", metric: str = "dsc", *, draws: int = DRAWS) -> Table:
    """A metric by kind of image: "size" (quartiles of all tested images' mass), "density" or "view". KeyError else.

    Each image counts in one stratum, the same for all systems.
    """
    images = rows.drop_duplicates("id")
    label = STRATA[by](images)
    stratum = rows["id"].map(dict(zip(images["id"], label, strict=True)))
    column, names = column_of(metric), list(label.cat.categories)
    own = {name: rows["system"] == name for name in ordered(rows)}
    cells = {
        name: {str(s): estimate(rows[mask & (stratum == s)], metric, draws=draws) for s in names}
        for name, mask in own.items()
    }
    lines = [Line(name, tuple(_with_interval(cell, column) for cell in of.values())) for name, of in cells.items()]
    counts = [f"{s} (n = {int((label == s).sum())})" for s in names]
    note = (
        f"{column.heading}{' in percent' if column.percent else ''}: mean over runs, and 95 % interval over patients. "
        f"n: images.{other_runs({name: rows[mask] for name, mask in own.items()})}"
    )
    if by == "size":
        note += " Strata: quartiles of the share of the image that is mass."
    return Table(
        f"{column.heading} by {by}", ("loss", *counts), tuple(lines), note, _tidy_cells(cells, "stratum", metric)
    )


def _with_interval(cell: Estimate, column: Column) -> str:
    return number(cell.value, column) + ("" if math.isnan(cell.low) else f" ({interval(cell, column)})")


def _tidy_cells(cells: Mapping[str, Mapping[str, Estimate]], kind: str, metric: str) -> pd.DataFrame:
    lines = [
        {"system": name, kind: key, "metric": metric, **cell._asdict()}
        for name, of in cells.items()
        for key, cell in of.items()
    ]
    return pd.DataFrame(lines)


LESIONS = tuple(
    column_of(key)
    for key in (
        "masses_found",
        "masses_found_iou10",
        "masses_found_iou50",
        "masses_found_centre",
        "pieces",
        "pieces_false",
    )
)


def lesions(rows: pd.DataFrame, *, draws: int = DRAWS) -> Table:
    """Masses found and false pieces of every system, with intervals over patients."""
    own = {name: rows[rows["system"] == name] for name in ordered(rows)}
    columns = [c for c in LESIONS if c.key in rows]
    cells = {name: {c.key: estimate(of, c.key, draws=draws) for c in columns} for name, of in own.items()}
    if rows["truth_empty"].astype(bool).any():
        normal = Column("false per image without mass", "pieces_false_normal", False)
        for name, of in own.items():
            cells[name][normal.key] = estimate(of[of["truth_empty"].astype(bool)], "pieces_false", draws=draws)
        columns.append(normal)
    lines = [Line(name, tuple(_with_interval(of[c.key], c) for c in columns)) for name, of in cells.items()]
    masses = int(rows.drop_duplicates("id")["masses"].sum())
    note = (
        f"Of {count(masses, 'mass', 'masses')}; found in percent, at an IoU of 0.2 where nothing else is said. False: "
        "pieces of the prediction that touch no mass. Mean over runs, and 95 % interval over patients."
        f"{other_runs(own)}"
    )
    headings = ("loss", *(c.heading for c in columns))
    return Table("Masses found and false pieces", headings, tuple(lines), note, _values(own, cells))
