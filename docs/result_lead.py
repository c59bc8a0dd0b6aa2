"""How far the lead of the soft form goes: its difference to the hybrid loss against network and budget."""

import json

import pandas as pd
from matplotlib.figure import Figure

from massmatch.statistics.comparison import against

LOSSES = ("hybrid", "soft-sm:random_phase=true", "boundary", "sm-tversky-sd-nz")  # of docs/studies/lead_128.yaml
BASELINE = "hybrid"
START = (8, 12)  # width and epochs of the large table, from which one of the two is moved at a time
NAMES = {"width": "width of the network", "epochs": "epochs"}


def with_budget(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the losses of this study, with the number of epochs as a column of its own.

    Raises ValueError if the runs differ in anything but width and epochs: the figure would show something else.
    """
    rows = rows[rows["loss"].isin(LOSSES)]
    known = rows["settings"].map({text: json.loads(text) for text in rows["settings"].unique()})
    others = known.map(lambda of: json.dumps({name: value for name, value in of.items() if name != "epochs"}))
    if others.nunique() > 1:
        raise ValueError(f"the runs differ in more than width and epochs: {sorted(others.unique())}")
    return rows.assign(epochs=known.map(lambda of: of["epochs"]), system=rows["loss"])


def lead(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each width, number of epochs and loss: both means, and the difference with its interval.

    Only runs on folds and seeds that the baseline was tested on with the same network and budget count.
    """
    lines = []
    for (width, epochs), of in rows.groupby(["width", "epochs"]):
        base = of[of["system"] == BASELINE]
        shared = of.merge(base[["seed", "fold"]].drop_duplicates(), on=["seed", "fold"])
        if shared["system"].nunique() < 2:
            continue
        means = shared.groupby("system")["dsc"].mean()
        table = against(shared, BASELINE)
        own = table.assign(width=width, epochs=epochs, base=means[BASELINE], dsc=table["system"].map(means))
        lines.append(own)
    columns = ["width", "epochs", "system", "runs", "base", "dsc", "difference", "low", "high"]
    return pd.concat(lines, ignore_index=True)[columns] if lines else pd.DataFrame(columns=columns)


def lead_lines(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """The same for a page, in percent and points."""
    head = ["loss", "width", "epochs", "runs", "DSC of `hybrid`", "DSC", "difference"]
    return head, [
        [
            f"`{line.system}`",
            *map(str, (line.width, line.epochs, line.runs)),
            *(f"{100 * value:.1f}" for value in (line.base, line.dsc)),
            f"{100 * line.difference:+.1f} ({100 * line.low:.1f} to {100 * line.high:.1f})",
        ]
        for line in table.sort_values(["system", "epochs", "width"]).itertuples()
    ]


def draw_lead(table: pd.DataFrame) -> Figure:
    """The difference against the width at 12 epochs, and against the epochs at width 8, with 95 % intervals."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    fixed = dict(zip(("width", "epochs"), START, strict=True))
    for ax, (moved, other) in zip(panels, (("width", "epochs"), ("epochs", "width")), strict=True):
        of = table[table[other] == fixed[other]]
        places = sorted(of[moved].unique())
        ax.axhline(0, color="grey", lw=1)
        for index, (name, own) in enumerate(of.groupby("system")):
            x = own[moved].map(places.index) + 0.1 * index
            bounds = 100 * (own["difference"] - own["low"]), 100 * (own["high"] - own["difference"])
            ax.errorbar(x, 100 * own["difference"], bounds, fmt="o-", capsize=3, label=name)
        ax.set_xticks(range(len(places)), places)
        ax.set_xlabel(f"{NAMES[moved]} ({NAMES[other]}: {fixed[other]})")
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(f"mean DSC minus {BASELINE}, points")
    panels[0].legend(fontsize=8, frameon=False)
    return figure
