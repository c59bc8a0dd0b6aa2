"""The comparison in a report: side by side, against the baseline, ranks, how the images are spread."""

import math
from collections.abc import Sequence

import pandas as pd

from massmatch.losses import LossSpec
from massmatch.reports import rendering as rendered
from massmatch.reports import tables
from massmatch.reports.blocks import Block, Chart, Heading, Table, Words, table
from massmatch.reports.charts import Interval, RowChart, boxes, forest, ranks
from massmatch.reports.subject import Subject
from massmatch.reports.tables import column_of, signed
from massmatch.runs.collection import systems
from massmatch.statistics.comparison import against, pairwise
from massmatch.statistics.findings import verdict
from massmatch.statistics.intervals import paired_difference
from massmatch.statistics.ranks import ranking

# The metrics in which the paper gives its difference to the baseline (section 4.1.2).
PAPERS_ROW = ("dsc_pooled", "delta_a_pooled", "sen_pooled", "dsc", "delta_a", "sen", "hau_px", "acc")


def side_by_side(of: Subject, draws: int) -> list[Block]:
    """All systems with all metrics, and how their images are spread."""
    return [
        Table("overview", tables.overview(of.rows, draws=draws)),
        Chart(
            "DSC of the images with mass.",
            "Box: quartiles; upright stroke: median; diamond: mean of the images (the table has that of the runs); "
            "line: 5th to 95th percentile; percent. An image counts once per run.",
            chart=boxes({system: _with_mass(of.of(system))["dsc"].tolist() for system in of.order}),
        ),
    ]


def _with_mass(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of images with mass: on others two empty masks agree without any skill."""
    return rows[~rows["truth_empty"].astype(bool)]


def differences(of: Subject, draws: int) -> list[Block]:
    """Every system compared with the baseline: intervals as a chart and as a table, the paper's row, ranks."""
    if len(of.order) < 2:
        return [Words("There is one loss only: nothing to compare it with.")]
    return [
        Chart(
            f"Mean DSC minus that of {of.baseline}, in points.",
            "Dot and line: difference on the same images and its 95 % interval over patients. Full dots: supported "
            "for these networks at least (see the summary for the rule); rings: not supported. The line of dashes "
            "is no difference.",
            chart=_forest(of, draws),
        ),
        Table("differences", tables.differences(of.rows, of.baseline, draws=draws)),
        _papers_row(of, draws),
        Heading("Ranks"),
        *_ranks(of),
    ]


def _forest(of: Subject, draws: int) -> RowChart:
    lines = [line for _, line in against(of.rows, of.baseline, draws=draws).iterrows()]
    return forest([_interval(line) for line in lines], percent=True)


def _interval(line: pd.Series) -> Interval:
    supported = verdict(line) != "not supported"
    return interval(line["system"], line["difference"], line["low"], line["high"], supported)


def interval(name: str, value: float, low: float, high: float, supported: bool) -> Interval:
    """The interval of a difference for the chart, with its numbers as text."""
    return Interval(name, value, low, high, supported, with_limits(value, low, high))


def _papers_row(of: Subject, draws: int) -> Table:
    """The difference in each of the paper's metrics, with intervals."""
    base = of.of(of.baseline)
    numbers, lines = [], []
    for system in of.order:
        if system == of.baseline:
            continue
        found = {key: paired_difference(of.of(system), base, key, draws=draws) for key in PAPERS_ROW}
        numbers += [{"system": system, "metric": key, **each._asdict()} for key, each in found.items()]
        cells = [with_limits(found[key].value, found[key].low, found[key].high, key) for key in PAPERS_ROW]
        lines.append(rendered.Line(system, tuple(cells)))
    note = (
        "The paper's row (section 4.1.2) for every loss: the difference on the same images, in points (HAU in "
        "pixels), with its 95 % interval over patients. For ΔA and HAU less is better."
    )
    headings = ("loss", *(column_of(key).heading for key in PAPERS_ROW))
    title = f"Difference to the baseline {of.baseline} in each metric"
    return Table("difference_to_baseline", rendered.Table(title, headings, tuple(lines), note, pd.DataFrame(numbers)))


def with_limits(value: float, low: float, high: float, metric: str = "dsc") -> str:
    """A difference with its interval, if it has one, as text: +1.2 (−0.3 to 2.7)."""
    text, *limits = (signed(each, column_of(metric)) for each in (value, low, high))
    return text if math.isnan(low) else f"{text} ({' to '.join(limits)})"


def _ranks(of: Subject) -> Sequence[Block]:
    if len(of.order) < 3:
        return [Words("Ranks need at least three losses; with two, the difference above says it all.")]
    try:
        found = ranking(of.rows)
    except ValueError as error:
        return [Words(f"No ranks: {error}.")]
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    numbers = pd.DataFrame({"system": list(found.mean_ranks), "rank": list(found.mean_ranks.values())})
    left = (
        f" {found.left_out} of {len(of.rows)} results (an image counts once per loss and run) are left out, since the "
        "image holds no mass or was not tested by all losses."
        if found.left_out
        else ""
    )
    return [
        Chart(
            "Critical-difference diagram.",
            f"Mean rank over {found.patients} patients by the mean DSC of their images; 1 is best. Friedman's test "
            f"that all are equal: {p}. Losses joined by a bar cannot be told apart by Nemenyi's test at 5 % (Demšar "
            f"2006). The ranks say nothing about chance in the training.{left}",
            ranks=ranks(found.mean_ranks, found.groups, found.critical),
        ),
        table(
            "ranks",
            "Mean ranks",
            numbers,
            {"system": ("loss", ""), "rank": ("mean rank", "f2")},
            note=f"Critical difference {found.critical:.2f}.",
            folded=True,
        ),
    ]


OPTIONS = {  # Figure 3: option, its default, the other values, what it asks
    "3a": (
        "cell_statistic",
        "min",
        "Size of the cells: after the smallest mass of an image (the default) or the mean one",
    ),
    "3b": ("rescale", "sigmoid", "Scale and distance through the sigmoid (the default) or as they are"),
}


def figure_3(of: Subject, draws: int) -> list[Block]:
    """The paper's two ablations, where runs with and without the option in question were made."""
    blocks: list[Block] = []
    for part, (option, default, question) in OPTIONS.items():
        pairs = _pairs(of, option, default)
        if pairs:
            blocks += [Heading(f"Figure 3{part[1:]}: {question}"), *_figure(of, part, pairs, draws)]
    if blocks:
        return blocks
    return [
        Words(
            "Not here: no loss was run with and without cell_statistic=mean (3a) or rescale=direct (3b). "
            "`massmatch sweep COHORT --figure 3a` and `--figure 3b` run them."
        )
    ]


def _pairs(of: Subject, option: str, default: str) -> list[tuple[str, str, str]]:
    """(default, other, its value) among the systems that differ in this option alone."""
    parts = {
        system: (*_without(run.loss, option), run.network)
        for run, system in zip(of.runs, systems(of.runs), strict=True)
    }
    found = []
    for system, (rest, value, network) in parts.items():
        if value in (None, default):
            continue
        for other, (other_rest, other_value, other_network) in parts.items():
            if other_value in (None, default) and (other_rest, other_network) == (rest, network):
                found.append((other, system, str(value)))
    return sorted(found)


def _without(loss: str, option: str) -> tuple[tuple[str, ...], str | None]:
    """The name and the other options of a loss, and the value of this one."""
    spec = LossSpec.parse(loss)
    options = dict(spec.options)
    value = options.pop(option, None)
    return (spec.name, *sorted(f"{key}={v}" for key, v in options.items())), value


def _figure(of: Subject, part: str, pairs: Sequence[tuple[str, str, str]], draws: int) -> list[Block]:
    option, default, _ = OPTIONS[part]
    found = pairwise(of.rows, [(other, one) for one, other, _ in pairs], draws=draws)
    shown = [system for pair in pairs for system in pair[:2]]
    own = of.rows[of.rows["system"].isin(shown)]
    return [
        Chart(
            f"Mean DSC with {option}={pairs[0][2]} minus that with {default}, in points.",
            "On the same images, with the 95 % interval over patients. Full dots: supported for these networks at "
            "least (see the summary for the rule); rings: not supported. The paper reports that the default is better.",
            chart=forest([_interval(line) for _, line in found.iterrows()], percent=True),
        ),
        Table(
            f"figure_{part}_differences",
            tables.difference_table(
                found, f"Figure {part}: {option} against its default", f"DSC minus that with {default}"
            ),
        ),
        Table(f"figure_{part}", tables.overview(own, draws=draws)._replace(title=f"The losses of Figure {part}")),
    ]
