"""Systems against each other: differences with their intervals and tests, and Holm's correction over a table of them.

Rows are those of `intervals`: a row per test image of every run.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from massmatch.statistics.intervals import (
    DRAWS,
    Pairs,
    difference_of_pairs,
    difference_over_trainings,
    is_mean,
    paired,
    ratio,
    sense,
)


def signed_rank(differences: pd.Series) -> float:
    """p of Wilcoxon's signed-rank test, two-sided, of the patients' differences; NaN without a patient.

    Zeros keep their ranks, half for each side (Demsar, JMLR 7, 2006): patients whom both systems miss speak for no
    difference. All zeros: p = 1.
    """
    values = differences.dropna().to_numpy().round(12)  # what is equal but for the order of adding is equal
    if not len(values):
        return float("nan")
    return 1.0 if not values.any() else float(stats.wilcoxon(values, zero_method="zsplit").pvalue)


def holm(p: pd.Series) -> pd.Series:
    """Holm's corrected p values (Scandinavian Journal of Statistics 6, 1979); NaN is no test and counts for none."""
    ordered = p.dropna().sort_values(kind="stable")
    corrected = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1)
    return corrected.reindex(p.index)


def against(
    rows: pd.DataFrame, baseline: str, metric: str = "dsc", *, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Every other system against the baseline: a row each, highest difference first.

    Columns: system, metric, baseline; difference with low and high (over patients) and training_low and training_high
    (over trainings); p of Wilcoxon's signed-rank test of the patients' mean differences and p_holm, corrected over
    the family of all rows of this table that hold a test (`tests` of them); better, worse, equal (patients);
    patients, images, runs, seeds, folds, unpaired, undefined. p is NaN for metrics that have no value per patient.

    Raises ValueError for a baseline that is not there.
    """
    systems = list(dict.fromkeys(rows["system"]))
    if baseline not in systems:
        raise ValueError(f"the baseline must be one of {', '.join(systems)}, but is {baseline!r}")
    return pairwise(rows, [(system, baseline) for system in systems if system != baseline], metric, draws, seed)


def pairwise(
    rows: pd.DataFrame, pairs: Sequence[tuple[str, str]], metric: str = "dsc", draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """The first system of each pair against the second, with the columns of `against`; one family for Holm."""
    own = {name: rows[rows["system"] == name] for pair in pairs for name in pair}
    lines = [{**_line(own[one], own[other], metric, draws, seed), "baseline": other} for one, other in pairs]
    if not lines:
        return pd.DataFrame(columns=["system", "metric", "baseline", "difference", "p", "p_holm"])
    table = pd.DataFrame(lines).assign(metric=metric)
    table = table.assign(p_holm=holm(table["p"]), tests=int(table["p"].count()))
    return table.sort_values("difference", ascending=False, kind="stable").reset_index(drop=True)


def _line(rows: pd.DataFrame, base: pd.DataFrame, metric: str, draws: int, seed: int) -> dict[str, object]:
    pairs = paired(rows, base, metric)  # once for all: sorting is what costs
    found, trained = difference_of_pairs(pairs, metric, draws, seed), difference_over_trainings(pairs, metric)
    own = _patient_differences(pairs, metric) if is_mean(metric) else pd.Series(dtype=float)
    sign = sense(metric) * np.sign(own.round(12))
    return {
        "system": rows["system"].iloc[0],
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "training_low": trained.low,
        "training_high": trained.high,
        "p": signed_rank(own),
        "better": int((sign > 0).sum()),
        "worse": int((sign < 0).sum()),
        "equal": int((sign == 0).sum()),
        "patients": found.patients,
        "images": found.images,
        "runs": found.runs,
        "seeds": pairs.one["seed"].nunique(),
        "folds": pairs.one["fold"].nunique(),
        "unpaired": found.unpaired,
        "undefined": found.undefined,
    }


def patient_differences(rows: pd.DataFrame, others: pd.DataFrame, metric: str = "dsc") -> pd.Series:
    """The mean over each patient's images, in all runs, of one system minus the other on the same image."""
    return _patient_differences(paired(rows, others, metric), metric)


def _patient_differences(pairs: Pairs, metric: str) -> pd.Series:
    differences = ratio(pairs.one, metric)[0] - ratio(pairs.other, metric)[0]
    return differences.groupby(pairs.one["patient"]).mean()


def usual_baseline(systems: list[str]) -> str:
    """The hybrid loss (the paper's AU-Net) if it is there, else a plain core loss, else the first without options.

    One with options of its own, hybrid:dice_weight=0.9, only where the loss itself is not there.
    """
    plain_first = sorted(systems, key=lambda system: ":" in system.split(" ")[0])
    for name in ("hybrid", "bce", "tversky", "dice"):
        for system in plain_first:
            if system.split(" ")[0].partition(":")[0] == name:
                return system
    return next((system for system in systems if ":" not in system), systems[0])
