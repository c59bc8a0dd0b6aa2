"""How far the lead of the soft form goes: its difference to the hybrid loss against network and budget."""

import json

import pandas as pd
from matplotlib.figure import Figure
from result_beside import in_points

from massmatch.statistics.comparison import against
from massmatch.statistics.intervals import KEY

FORMS = ("soft-sm:random_phase=true,stray=2", "soft-sm:found=0.5,random_phase=true")  # tried where the lead had ended
LOSSES = ("hybrid", "soft-sm:random_phase=true", "boundary", "sm-dice-b-nz", *FORMS)  # docs/studies/lead_128.yaml
BASELINE = "hybrid"
BUDGET = ["width", "epochs", "augment"]  # in what trainings of the study differ
START = (8, 12)  # width and epochs of the large table, from which one of the two is moved at a time
OTHER = {"width": "epochs", "epochs": "width"}  # what is moved, and what stays
QUARTERS = ("smallest", "second", "third", "largest")
NAMES = {"width": "width of the network", "epochs": "epochs"}


def shared_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the folds and seeds that the baseline was tested on: the others can be compared with nothing."""
    return rows.merge(_runs(rows[rows["system"] == BASELINE]), on=["seed", "fold"])


def with_budget(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the losses of this study, with the number of epochs and the augmentation as columns of their own.

    Raises ValueError if the runs differ in anything but these and the width: the figure would show something else.
    """
    rows = rows[rows["loss"].isin(LOSSES)]
    known = rows["settings"].map({text: json.loads(text) for text in rows["settings"].unique()})
    others = known.map(lambda of: json.dumps({name: value for name, value in of.items() if name not in BUDGET}))
    if others.nunique() > 1:
        raise ValueError(f"the runs differ in more than {', '.join(BUDGET)}: {sorted(others.unique())}")
    moved = {name: known.map(lambda of, name=name: of[name]) for name in ("epochs", "augment")}
    return rows.assign(**moved, system=rows["loss"])


def on_common_folds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the folds and seeds that the baseline was tested on with every network and budget.

    One network's mean over three folds beside another's over one would show the folds, not the networks.
    """
    base = rows[rows["system"] == BASELINE].drop_duplicates([*BUDGET, "seed", "fold"])
    tested = base.groupby(["seed", "fold"]).size()
    shared = tested[tested == len(base.drop_duplicates(BUDGET))].reset_index()[["seed", "fold"]]
    return rows.merge(shared, on=["seed", "fold"])


def on_fold(rows: pd.DataFrame, fold: int, system: str) -> pd.DataFrame:
    """The rows of one fold, of the baseline and of one other loss."""
    return rows[(rows["fold"] == fold) & rows["system"].isin((BASELINE, system))]


def lead(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each network, training and loss: the means of both on its runs, the difference, its interval.

    Only runs on folds and seeds that the baseline was tested on with every network and budget count.
    """
    lines = []
    for budget, of in on_common_folds(rows).groupby(BUDGET):
        shared, base = shared_runs(of), of[of["system"] == BASELINE]
        if shared["system"].nunique() < 2:
            continue
        table = against(shared, BASELINE)
        means = shared.groupby("system")["dsc"].mean()
        bases = {
            name: base.merge(_runs(own), on=["seed", "fold"])["dsc"].mean() for name, own in shared.groupby("system")
        }
        named = table["system"]
        moved = dict(zip(BUDGET, budget, strict=True))
        lines.append(table.assign(**moved, base=named.map(bases), dsc=named.map(means)))
    columns = [*BUDGET, "system", "runs", "base", "dsc", "difference", "low", "high"]
    return pd.concat(lines, ignore_index=True)[columns] if lines else pd.DataFrame(columns=columns)


def _runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Seed and fold of each run."""
    return rows[["seed", "fold"]].drop_duplicates()


def lead_lines(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """The same for a page, in percent and points."""
    head = ["loss", "width", "epochs", "augmentation", "runs", "DSC of `hybrid`", "DSC", "difference"]
    return head, [
        [
            f"`{line.system}`",
            *map(str, (line.width, line.epochs, line.augment, line.runs)),
            *(f"{100 * value:.1f}" for value in (line.base, line.dsc)),
            in_points(line),
        ]
        for line in table.sort_values(["system", "augment", "epochs", "width"]).itertuples()
    ]


def with_quarters(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the quarter of the images, by the size of the mass, that each belongs to."""
    size = rows.drop_duplicates(KEY).set_index(KEY)["mass_fraction"]
    return rows.join(pd.qcut(size, len(QUARTERS), labels=QUARTERS).rename("quarter"), on=KEY)


def size_lines(rows: pd.DataFrame, system: str) -> tuple[list[str], list[list[str]]]:
    """A line for each network and budget: mean DSC of the baseline and of `system` by the size of the masses."""
    rows = with_quarters(on_common_folds(rows))
    lines = []
    for budget, of in rows.groupby(BUDGET):
        if system not in set(of["system"]):
            continue
        shared = shared_runs(of)
        base, own = (
            100 * shared[shared["system"] == name].groupby("quarter", observed=True)["dsc"].mean()
            for name in (BASELINE, system)
        )
        cells = [f"{base[name]:.1f} → {own[name]:.1f} ({own[name] - base[name]:+.1f})" for name in QUARTERS]
        lines.append([*map(str, budget), *cells])
    return ["width", "epochs", "augmentation", *QUARTERS], lines


def draw_lead(table: pd.DataFrame) -> Figure:
    """The difference against the width at 12 epochs, and against the epochs at width 8, with 95 % intervals.

    All without augmentation. A panel is drawn where there are two networks, or two budgets, at least.
    """
    table = table[table["augment"] == "none"]
    fixed = dict(zip(("width", "epochs"), START, strict=True))
    found = {moved: table[table[other] == fixed[other]] for moved, other in OTHER.items()}
    found = {moved: of for moved, of in found.items() if of[moved].nunique() > 1}
    figure = Figure(figsize=(1 + 4 * len(found), 3.4), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0] if found else []
    for ax, (moved, of) in zip(panels, found.items(), strict=True):
        places, systems = sorted(of[moved].unique()), sorted(of["system"].unique())
        ax.axhline(0, color="grey", lw=1)
        for index, name in enumerate(systems):
            own = of[of["system"] == name]
            x = own[moved].map(places.index) + 0.1 * (index - (len(systems) - 1) / 2)
            bounds = 100 * (own["difference"] - own["low"]), 100 * (own["high"] - own["difference"])
            ax.errorbar(x, 100 * own["difference"], bounds, fmt="o-", capsize=3, label=name)
        ax.set_xticks(range(len(places)), places)
        ax.set_xlim(-0.5, len(places) - 0.5)
        ax.set_xlabel(f"{NAMES[moved]} ({NAMES[OTHER[moved]]}: {fixed[OTHER[moved]]})")
        ax.set_ylabel("" if ax is not panels[0] else f"mean DSC minus {BASELINE}, points")
        ax.spines[["top", "right"]].set_visible(False)
    if found:
        panels[0].legend(fontsize=8, frameon=False)
    return figure
