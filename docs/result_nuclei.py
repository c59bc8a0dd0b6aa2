"""Another domain: what quantity, distance, kept cells and the size of the cells do where images hold many objects."""

import pandas as pd

from massmatch.statistics.comparison import pairwise

SHARES = {"objects found": ("masses_found", "masses"), "pieces that are false": ("pieces_false", "pieces")}
IDEAS = [
    ("a grid of cells", "sm-tversky-b-a", "tversky"),
    ("quantity", "sm-tversky-s-a", "sm-tversky-b-a"),
    ("distance", "sm-tversky-d-a", "sm-tversky-b-a"),
    ("both", "sm-tversky-sd-a", "sm-tversky-b-a"),
    ("kept cells only", "sm-tversky-sd-nz", "sm-tversky-sd-a"),
    ("cells after the mean, all cells", "sm-tversky-s-a:cell_statistic=mean", "sm-tversky-s-a"),
    ("cells after the mean, kept cells", "sm-tversky-sd-nz:cell_statistic=mean", "sm-tversky-sd-nz"),
    ("a count of objects, weight 0.1", "soft-sm:random_phase=true,count=0.1", "soft-sm:random_phase=true"),
]


def nuclei_lines(rows: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """A line for each idea: the pair of losses that differ in nothing else, and what the first has more than the other.

    The difference of mean DSC has its 95 % interval over the images; the shares are of all test images together. A
    pair with a loss that is not trained yet is left out.
    """
    trained = set(rows["system"])
    known = [idea for idea in IDEAS if {idea[1], idea[2]} <= trained]
    told = pairwise(rows, [idea[1:] for idea in known]).set_index(["system", "baseline"])
    totals = rows.groupby("system")[["masses_found", "masses", "pieces_false", "pieces"]].sum()
    lines = []
    for idea, one, other in known:
        line = told.loc[(one, other)]
        shares = [
            f"{100 * (share(totals.loc[one], *of) - share(totals.loc[other], *of)):+.1f}" for of in SHARES.values()
        ]
        interval = f"({100 * line['low']:.1f} to {100 * line['high']:.1f})"
        lines.append([idea, f"`{one}`", f"`{other}`", f"{100 * line['difference']:+.1f} {interval}", *shares])
    return ["", "with", "without", "DSC", *SHARES], lines


def share(totals: pd.Series, part: str, whole: str) -> float:
    """How many of the whole are of the part; NaN if there is nothing."""
    return totals[part] / totals[whole] if totals[whole] else float("nan")
