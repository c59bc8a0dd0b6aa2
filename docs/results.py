"""Writes every number of docs/results.md, its forest plot and the table of the README, from the rows in docs/results.

    python docs/results.py

What stands between the marks `<!-- begin NAME -->` and `<!-- end NAME -->` of these pages is replaced.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from collect import KEY as RUN
from collect import read_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from result_beside import beside, beside_lines, in_points
from result_grid import grid_lines, ideas_lines
from result_lead import (
    BASELINE,
    draw_lead,
    lead,
    lead_lines,
    on_fold,
    shared_runs,
    size_lines,
    with_budget,
    with_quarters,
)
from result_nuclei import nuclei_lines

from massmatch.statistics.comparison import against
from massmatch.statistics.intervals import KEY, by_run, estimate
from massmatch.sweeps.tables import System, label

HERE = Path(__file__).parent
PAGES = (HERE / "results.md", HERE.parent / "README.md")
FOREST = HERE / "images/forest.png"
LEAD = HERE / "images/lead.png"
RECOMMENDED = "soft-sm:random_phase=true"
SINGLE = {"readings": "sm-dice-s-nz", "systems": "hybrid", "recipe": RECOMMENDED}  # trainings beside one of the table
README = {  # the losses of its table, and what it calls them
    RECOMMENDED: "the default",
    "boundary": "distances to the outline",
    "sm-dice-b-nz": "the highest of the paper's",
    BASELINE: "Dice and cross-entropy",
    "cc-dice-bce": "all masses alike",
}
SHOWN = (-30, 20)  # points, in the forest plot: the interval over trainings of which one failed is cut off


def table_rows() -> pd.DataFrame:
    """The images of table_128.csv.gz, in which every run chose its threshold from the whole range."""
    rows = read_table(HERE / "results/table_128.csv.gz")
    assert rows["settings"].nunique() == 1, "runs with other settings do not belong in one table"
    return rows.assign(system=rows["loss"])


def lead_rows() -> pd.DataFrame:
    """The same with other networks and budgets, fold 0; those of the large table among them."""
    return with_budget(pd.concat([table_rows(), read_table(HERE / "results/lead_128.csv.gz")]))


def nuclei_rows() -> pd.DataFrame:
    """The images of nuclei_256.csv.gz: another domain, with many objects in each image."""
    rows = read_table(HERE / "results/nuclei_256.csv.gz")
    return rows.assign(system=rows["loss"])


def packaged_rows() -> pd.DataFrame:
    """The images of packaged_256.csv.gz: the packaged network and those beside it at 256 x 256 pixels."""
    return read_table(HERE / "results/packaged_256.csv.gz")


def choice_rows() -> pd.DataFrame:
    """What validation and test part say of them, alone and together, each without and with mirrored images."""
    return pd.read_csv(HERE / "results/packaged_choice.csv")


def single_rows(name: str, reference: str) -> pd.DataFrame:
    """The images of single trainings in results/NAME_128.csv.gz, beside those of a loss of the large table."""
    return beside(read_table(HERE / f"results/{name}_128.csv.gz"), table_rows(), reference)


def common_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the folds and seeds that every loss was tested on: means over other images cannot stand in a row."""
    tested = rows.drop_duplicates(RUN).groupby(["seed", "fold"])["loss"].nunique()
    shared = tested[tested == rows["loss"].nunique()].reset_index()[["seed", "fold"]]
    return rows.merge(shared, on=["seed", "fold"])


def repeated(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the losses that were trained with several seeds, on the folds and seeds that all of them have."""
    seeds = rows.groupby("loss")["seed"].nunique()
    return common_runs(rows[rows["loss"].isin(seeds.index[seeds > 1])])


def losses_table(rows: pd.DataFrame) -> str:
    """A line per loss, the highest mean DSC first, with its difference to the baseline."""
    lines = against(rows, BASELINE).set_index("system")
    part = "seed" if rows["seed"].nunique() > 1 else "fold"
    several = [f"each {part}"] if rows[part].nunique() > 1 else []
    head = ["loss", "validation, pooled", "threshold", "DSC", *several, "DSC pooled", "smallest to largest quarter"]
    head += ["missed", "predicted nothing", "masses found", "false pieces per image"]
    head += ["DSC minus `hybrid`: patients", "trainings", "p (Holm)"]
    cells = {}
    for name, of in with_quarters(rows).groupby("system"):
        own = of.drop_duplicates(RUN)
        quarters = [percent(part["dsc"].mean()) for _, part in of.groupby("quarter", observed=True)]
        runs = by_run(of)
        mean = runs.mean()
        cells[mean, name] = [
            f"`{name}`",
            percent(own["val_dsc_pooled"].mean()),
            threshold_text(own["val_threshold"]),
            percent(mean),
            *(" / ".join(percent(value) for value in runs.groupby(part).mean()) for _ in several),
            percent(estimate(of, "dsc_pooled", draws=1).value),
            ", ".join(quarters),
            str(of["missed"].sum()),
            str(of["prediction_empty"].sum()),
            percent(of["masses_found"].sum() / of["masses"].sum()),
            f"{of['pieces_false'].mean():.1f}",
            *([""] * 3 if name == BASELINE else difference(lines.loc[name])),
        ]
    return markdown(head, [cells[key] for key in sorted(cells, reverse=True)])


def difference(line: pd.Series) -> list[str]:
    """The difference to the baseline with both intervals; a dash where one training says nothing about others."""
    trainings = points(line["training_low"], line["training_high"]) if line["runs"] > 1 else "–"
    return [
        in_points(line),
        trainings,
        "< 0.001" if line["p_holm"] < 0.001 else f"{line['p_holm']:.2g}",
    ]


def readme_table(rows: pd.DataFrame) -> str:
    """A line for each loss that the README names, the highest mean DSC first."""
    lines = against(rows, BASELINE).set_index("system")
    means = {name: by_run(rows[rows["loss"] == name]).mean() for name in README}
    head = ["loss", "mean DSC", "minus `hybrid`: patients", "trainings"]
    cells = [
        [
            f"`{name}`, {README[name]}",
            percent(means[name]),
            *([""] * 2 if name == BASELINE else difference(lines.loc[name])[:2]),
        ]
        for name in sorted(means, key=means.__getitem__, reverse=True)
    ]
    return markdown(head, cells)


def nested_choice(rows: pd.DataFrame) -> str:
    """What the loss with the best validation part of each run reaches on that run's test part."""
    runs = rows.drop_duplicates(RUN).set_index(["seed", "fold", "loss"])["val_dsc_pooled"]
    lines = []
    for (seed, fold), values in runs.groupby(level=["seed", "fold"]):
        chosen = str(values.idxmax()[2])
        of = rows[(rows["seed"] == seed) & (rows["fold"] == fold)].groupby("loss")["dsc"].mean()
        best = str(of.idxmax())
        base = percent(of[BASELINE])
        lines.append(
            f"- Seed {seed}, fold {fold}, {len(values)} losses: the validation part chooses `{chosen}` (pooled DSC "
            f"{percent(values.max())}), which has a mean DSC of {percent(of[chosen])} on the test part; `{BASELINE}` "
            f"has {base}, the best of all, seen afterwards, is `{best}` with {percent(of[best])}."
        )
    return "\n".join(lines)


def nnunet_table(rows: pd.DataFrame) -> str:
    """nnU-Net beside the baseline and the recommended loss, on the images of its fold, 0."""
    told = json.loads((HERE / "results/nnunet_128.json").read_text())
    lines = [["nnU-Net 2.8, 2-D plan", percent(told["dsc"]), percent(told["dsc_pooled"]), str(told["missed"])]]
    for name in (BASELINE, RECOMMENDED):
        of = rows[(rows["system"] == name) & (rows["seed"] == 0) & (rows["fold"] == 0)]
        assert len(of) == told["images"], "nnU-Net was tested on other images"
        pooled = percent(estimate(of, "dsc_pooled", draws=1).value)
        lines.append([f"AU-Net of width 8, `{name}`", percent(of["dsc"].mean()), pooled, str(of["missed"].sum())])
    return markdown(["", "DSC", "DSC pooled", f"missed of {told['images']}"], lines)


def packaged_table(rows: pd.DataFrame) -> str:
    """A line per training: its settings, the validation part, and the test part with intervals over its patients."""
    head = ["network", "loss", "fold", "first weights", "augmentation", "epochs", "peak rate", "average"]
    head += ["validation, pooled", "DSC", "DSC pooled", "missed", "masses found", "pieces per image that touch no mass"]
    lines = []
    for (model, width, loss, fold, text), of in rows.groupby(["model", "width", "loss", "fold", "settings"]):
        known, run = json.loads(str(text)), of.iloc[0]
        scores = [estimate(of, metric) for metric in ("dsc", "dsc_pooled")]
        lines.append(
            [
                f"`{model}` of width {width}",
                f"`{loss}`",
                str(fold),
                known.get("start", "random"),
                *(str(known[name]) for name in ("augment", "epochs", "learning_rate")),
                str(known["ema"] or "none"),
                percent(run["val_dsc_pooled"]),
                *(f"{percent(score.value)} ({points(score.low, score.high)})" for score in scores),
                str(of["missed"].sum()),
                percent(of["masses_found"].sum() / of["masses"].sum()),
                f"{of['pieces_false'].mean():.1f}",
            ]
        )
    return markdown(head, lines)


def choice_table(rows: pd.DataFrame) -> str:
    """A line for each network and view, with the scores of both parts."""
    head = ["network", "fold", "mirrored images, too"]
    head += [f"{part}: {what}" for part in ("validation", "test") for what in ("DSC", "DSC pooled", "missed")]
    lines = []
    for (network, fold, both), of in rows.groupby(["network", "fold", "mirrored"], sort=False):
        parts = of.set_index("part").loc[["validation", "test"]].itertuples()
        scores = [text for part in parts for text in (percent(part.dsc), percent(part.dsc_pooled), str(part.missed))]
        lines.append([str(network), str(fold), "yes" if both else "no", *scores])
    return markdown(head, lines)


def runs_line(rows: pd.DataFrame) -> str:
    """What the table rests on, and how many of its runs there are."""
    runs = rows.drop_duplicates(RUN)
    known = json.loads(rows["settings"].iloc[0])
    images = rows.drop_duplicates(KEY)
    folds = runs.groupby("seed")["fold"].unique().map(lambda of: ", ".join(map(str, sorted(of))))
    told = "; ".join(f"seed {seed}: fold {text}" for seed, text in folds.items())
    made = runs["computed"].map(lambda text: json.loads(text)["versions"]["massmatch"]).value_counts().sort_index()
    return (
        f"{len(runs)} runs of {runs['loss'].nunique()} losses ({told}); each loss is tested on {len(images)} images "
        f"with {images['masses'].sum()} masses of {images['patient'].nunique()} patients. {known['epochs']} epochs, "
        f"{known['optimizer']}, peak rate {known['learning_rate']}, {known['precision']}; "
        f"{' and '.join(f'{number} by version {name}' for name, number in made.items())}."
    )


def draw_forest(every: pd.DataFrame, best: pd.DataFrame, path: Path) -> None:
    """Differences of mean DSC to the baseline: all losses on the left, those with more seeds on the right."""
    tables = [against(rows, BASELINE) for rows in (every, best)]
    most = max(map(len, tables))
    figure = Figure(figsize=(12, 1.6 + 0.26 * most), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    for ax, table in zip(axes, tables, strict=True):
        _draw_differences(ax, table)
        ax.set_title(f"{len(table)} losses, {table['runs'].max()} trainings of each", fontsize=10)
        ax.set_xlim(*SHOWN)
        ax.set_ylim(0.5 - most, 0.5)  # a line is as high in one plot as in the other
    figure.supxlabel(f"mean DSC minus {BASELINE}, points (thick: 95 % over patients; thin: over trainings)", fontsize=9)
    figure.savefig(path, dpi=90)


def _draw_differences(ax: Axes, table: pd.DataFrame) -> None:
    """A line per loss, the best on top."""
    places = [-place for place in range(len(table))]
    ax.axvline(0, color="grey", lw=1)
    for limits, width in ((("training_low", "training_high"), 1), (("low", "high"), 4)):
        low, high = (100 * table[name] for name in limits)
        ax.hlines(places, low, high, color="#4c72b0", lw=width)
    ax.plot(100 * table["difference"], places, "o", color="black", ms=3)
    ax.set_yticks(places, [label(System(name)) for name in table["system"]], fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def markdown(head: list[str], lines: list[list[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def percent(value: float) -> str:
    """A fraction in percent, with one decimal."""
    return f"{100 * value:.1f}"


def points(low: float, high: float) -> str:
    """An interval in points."""
    return f"{percent(low)} to {percent(high)}"


def threshold_text(values: pd.Series) -> str:
    """The thresholds of the runs, from the lowest to the highest."""
    low, high = (f"{value:.5g}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def blocks() -> dict[str, Callable[[], str]]:
    """The parts of the page that are written here, by the names of their marks."""
    rows = shared_runs(table_rows())
    common, best = common_runs(rows), repeated(rows)
    nuclei = common_runs(shared_runs(nuclei_rows()))
    return {
        "runs": lambda: runs_line(common),
        "losses": lambda: losses_table(common),
        "variants": lambda: markdown(*grid_lines(common)),
        "ideas": lambda: markdown(*ideas_lines(common)),
        "nnunet": lambda: nnunet_table(common),
        "nested": lambda: nested_choice(common),
        "lead": lambda: markdown(*lead_lines(lead(lead_rows()))),
        "lead by size": lambda: markdown(*size_lines(lead_rows(), RECOMMENDED)),
        "lead again": lambda: markdown(*lead_lines(lead(with_budget(read_table(HERE / "results/again_128.csv.gz"))))),
        "lead fold 1": lambda: markdown(*lead_lines(lead(on_fold(lead_rows(), 1, RECOMMENDED)))),
        "lead fold 1 by size": lambda: markdown(*size_lines(on_fold(lead_rows(), 1, RECOMMENDED), RECOMMENDED)),
        "packaged": lambda: packaged_table(packaged_rows()),
        "choice": lambda: choice_table(choice_rows()),
        **{
            name: lambda name=name, reference=reference: markdown(
                *beside_lines(single_rows(name, reference), reference)
            )
            for name, reference in SINGLE.items()
        },
        "nuclei runs": lambda: runs_line(nuclei),
        "nuclei": lambda: losses_table(nuclei),
        "nuclei ideas": lambda: markdown(*nuclei_lines(nuclei)),
        "best runs": lambda: runs_line(best),
        "best losses": lambda: losses_table(best),
        "readme": lambda: readme_table(best),
    }


def with_blocks(text: str) -> str:
    """The page with what its marks hold written anew. KeyError for a mark that is not known here."""
    known = blocks()
    marks = re.compile(r"(<!-- begin (.*?) -->\n).*?(<!-- end \2 -->)", re.S)
    return marks.sub(lambda mark: f"{mark[1]}{known[mark[2]]()}\n{mark[3]}", text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_blocks(page.read_text(encoding="utf-8")), encoding="utf-8")
    shared = shared_runs(table_rows())
    draw_forest(common_runs(shared), repeated(shared), FOREST)
    draw_lead(lead(lead_rows())).savefig(LEAD, dpi=90)
