"""The 24 variants in the shape of the paper's Tables 1 and 3, and what each of its ideas is worth by itself."""

import pandas as pd

from massmatch.statistics.intervals import by_run, estimate

CORES = ("bce", "tversky", "dice")
SWITCHES = ("b", "s", "d", "sd")
AGGREGATIONS = ("a", "nz")
PAPER = {"b": "SM-B", "s": "SM-S", "d": "SM-D", "sd": "SM-SD", "a": "G-A", "nz": "G-NZ"}
NONE = "–"  # no run of it yet


def variant(core: str, switch: str, aggregation: str) -> str:
    """The name of one of the 24 in the catalogue.

    >>> variant("bce", "sd", "a")
    'sm-bce-sd-a'
    """
    return f"sm-{core}-{switch}-{aggregation}"


def grid_lines(rows: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """A line for each core alone and each switch, a column for each core and aggregation: mean and pooled DSC."""
    head = ["", *(f"{core}, {PAPER[of]}" for core in CORES for of in AGGREGATIONS)]
    scores = {name: scores_text(of) for name, of in rows.groupby("loss")}
    alone = ["the core alone", *(scores.get(core, NONE) for core in CORES for _ in AGGREGATIONS)]
    lines = [
        [PAPER[switch], *(scores.get(variant(core, switch, of), NONE) for core in CORES for of in AGGREGATIONS)]
        for switch in SWITCHES
    ]
    return head, [alone, *lines]


def scores_text(rows: pd.DataFrame) -> str:
    """Mean DSC and, in brackets, pooled DSC, in percent."""
    return f"{100 * by_run(rows).mean():.1f} ({100 * estimate(rows, 'dsc_pooled', draws=1).value:.1f})"


def pairs() -> dict[str, list[tuple[str, str]]]:
    """For each idea of the paper, the pairs of losses that differ in nothing else: with it, and without."""
    each = [(core, of) for core in CORES for of in AGGREGATIONS]
    return {
        "a grid of cells (SM-B against the core alone)": [(variant(core, "b", of), core) for core, of in each],
        "quantity (SM-S against SM-B)": [(variant(core, "s", of), variant(core, "b", of)) for core, of in each],
        "distance (SM-D against SM-B)": [(variant(core, "d", of), variant(core, "b", of)) for core, of in each],
        "both (SM-SD against SM-B)": [(variant(core, "sd", of), variant(core, "b", of)) for core, of in each],
        "kept cells only (G-NZ against G-A)": [
            (variant(core, switch, "nz"), variant(core, switch, "a")) for core in CORES for switch in SWITCHES
        ],
    }


def ideas_lines(rows: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """A line for each idea: the difference of mean DSC over its pairs, for each core; how many pairs gain.

    A pair counts only where both losses were trained on the same folds and seeds, and it is compared on those.
    """
    means = {name: by_run(of) for name, of in rows.groupby("loss")}
    lines = []
    for idea, all_pairs in pairs().items():
        gains: dict[str, list[float]] = {core: [] for core in CORES}
        for one, other in all_pairs:
            if {one, other} - set(means):
                continue
            shared = (means[one] - means[other]).dropna()
            if len(shared):
                gains[one.split("-")[1]].append(100 * shared.mean())
        every = [gain for of in gains.values() for gain in of]
        lines.append(
            [idea, *(signed(of) for of in gains.values()), f"{sum(gain > 0 for gain in every)} of {len(every)}"]
        )
    return ["", *CORES, "pairs that gain"], lines


def signed(gains: list[float]) -> str:
    """Their mean with its sign, and their range in brackets where there are several."""
    if not gains:
        return NONE
    mean = f"{sum(gains) / len(gains):+.1f}"
    return mean if len(gains) == 1 else f"{mean} ({min(gains):+.1f} to {max(gains):+.1f})"
