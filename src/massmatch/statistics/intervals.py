"""How sure one may be of a number and of a difference: intervals over patients and over trainings, tests, Holm.

Every function takes tidy rows (`runs.tidy`): a row per test image of every run, with system, seed, fold, id, patient
and the metrics. A *run* is one seed and fold of a system. The value of a system is the mean over its runs of the value
of each run, as in a cross-validation.

Two kinds of chance, two intervals:

    patients   which women were tested. Whole patients are drawn with replacement, and all their images in all runs
               come along, so that neither views, folds nor seeds pass for more women. The networks stay as they are.
    trainings  what another training would have given: other training patients, another order, other first weights
               (these only with several seeds). A t interval over runs with the variance of Nadeau and Bengio
               (Machine Learning 52, 2003), since runs share training images. No interval covers another hospital.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from massmatch.metrics.registry import METRICS

LEVEL = 0.95
DRAWS = 10_000
KEY = ["seed", "fold", "id"]  # the same image, tested by networks that learned from the same images


class Estimate(NamedTuple):
    """A value with its 95 % interval, and what it rests on. NaN: undefined, or too little to draw from."""

    value: float
    low: float
    high: float
    patients: int
    images: int  # counted once per run
    runs: int
    undefined: int = 0  # images left out since the metric is undefined for them
    unpaired: int = 0  # images left out since only one of two systems has them
    sd: float = math.nan  # over runs

    def columns(self, name: str) -> dict[str, float]:
        """As columns of a table: `name`, and with _sd, _low and _high behind it."""
        return {name: self.value, f"{name}_sd": self.sd, f"{name}_low": self.low, f"{name}_high": self.high}


class Pairs(NamedTuple):
    """The rows of two systems for the same images, sorted, in the same order."""

    one: pd.DataFrame
    other: pd.DataFrame
    unpaired: int  # images left out since only one has them
    undefined: int  # images left out since the metric is undefined in one of them


Sums = Callable[[pd.DataFrame], pd.Series]
POOLED: dict[str, tuple[Sums, Sums]] = {
    "dsc_pooled": (lambda of: 2 * of["tp"], lambda of: 2 * of["tp"] + of["fp"] + of["fn"]),
    "sen_pooled": (lambda of: of["tp"], lambda of: of["tp"] + of["fn"]),
    "acc_pooled": (lambda of: of["tp"] + of["tn"], lambda of: of["tp"] + of["fp"] + of["fn"] + of["tn"]),
    "delta_a_pooled": (lambda of: of["fp"] - of["fn"], lambda of: of["tp"] + of["fn"]),
}


def ratio(rows: pd.DataFrame, metric: str) -> tuple[pd.Series, pd.Series]:
    """Numerator and denominator of each image: every metric is the sum of the first over the sum of the second.

    dsc_pooled, sen_pooled, acc_pooled, delta_a_pooled (its numerator is signed: P - G): pixels. masses_found and its
    like: found over present. hau_px_hits and its like: over images where mass was found. false_alarms: over images
    without mass. All others: the mean of the column, over the images with mass where the registry says so
    (`Metric.with_mass`). The numerator is NaN where the metric is undefined. KeyError for an unknown column.
    """
    if metric in POOLED:
        over, under = POOLED[metric]
        return over(rows).astype(float), under(rows).astype(float)
    if metric.startswith("masses_found"):
        return rows[metric].astype(float), rows["masses"].astype(float)
    one = pd.Series(1.0, rows.index)
    if metric.endswith("_hits"):
        hits = ~rows["truth_empty"].astype(bool) & ~rows["missed"].astype(bool)
        return rows[metric.removesuffix("_hits")].where(hits), one
    if metric == "false_alarms":
        without = rows["truth_empty"].astype(bool)
        return (~rows["prediction_empty"].astype(bool)).astype(float).where(without), one
    values = rows[metric].astype(float)
    if metric in METRICS and METRICS[metric].with_mass and "truth_empty" in rows:
        values = values.where(~rows["truth_empty"].astype(bool))
    return values, one


def is_mean(metric: str) -> bool:
    """Whether the metric is a mean over images, so that a patient has a value too."""
    return metric not in METRICS or METRICS[metric].kind != "pooled"


def sense(metric: str) -> int:
    """1 where more is better, -1 where less is."""
    return METRICS[metric].sense if metric in METRICS else 1


def estimate(rows: pd.DataFrame, metric: str = "dsc", *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """A metric of one system, with the interval over patients (percentile bootstrap, Efron and Tibshirani 1993).

    Images for which the metric is undefined are left out and counted. One patient has no interval.
    """
    rows, undefined = _defined(_ordered(rows), metric)
    if rows.empty:
        return Estimate(np.nan, np.nan, np.nan, 0, 0, 0, undefined)
    totals = _totals(rows, metric)
    runs = _per_run(totals.sum(axis=0), metric)
    low, high = limits(_mean(_per_run(_redrawn(totals, draws, seed), metric)), len(totals))
    return Estimate(float(_mean(runs)), low, high, len(totals), len(rows), len(runs), undefined, sd=_sd(runs))


def paired_difference(
    rows: pd.DataFrame, others: pd.DataFrame, metric: str = "dsc", *, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """The metric of one system minus that of another on the images that both tested, with the interval over patients.

    Images go together by seed, fold and id. Those that only one has, and those for which the metric is undefined in
    one, are left out and counted.
    """
    return difference_of_pairs(paired(rows, others, metric), metric, draws, seed)


def difference_of_pairs(pairs: Pairs, metric: str, draws: int, seed: int) -> Estimate:
    """One system minus the other on the same images, with the interval over patients."""
    one, other, unpaired, undefined = pairs
    if one.empty:
        return Estimate(np.nan, np.nan, np.nan, 0, 0, 0, undefined, unpaired)
    totals = [_totals(each, metric) for each in (one, other)]
    runs = _per_run(totals[0].sum(axis=0), metric) - _per_run(totals[1].sum(axis=0), metric)
    drawn = [_per_run(_redrawn(each, draws, seed), metric) for each in totals]  # the same patients in both
    low, high = limits(_mean(drawn[0] - drawn[1]), len(totals[0]))
    counts = len(totals[0]), len(one), len(runs), undefined, unpaired
    return Estimate(float(_mean(runs)), low, high, *counts, _sd(runs))


def over_trainings(rows: pd.DataFrame, others: pd.DataFrame | None = None, metric: str = "dsc") -> Estimate:
    """The same value or difference with the interval over trainings; NaN limits with fewer than two runs.

    Also NaN where the rows do not say how many images the runs learned from (`train_images`).
    """
    if others is not None:
        return difference_over_trainings(paired(rows, others, metric), metric)
    one, undefined = _defined(_ordered(rows), metric)
    return _over_runs(_by_run(one, metric), one, undefined)


def difference_over_trainings(pairs: Pairs, metric: str) -> Estimate:
    """One system minus the other in each run, with the interval over trainings."""
    one, other, unpaired, undefined = pairs
    return _over_runs(_by_run(one, metric) - _by_run(other, metric), one, undefined, unpaired)


def _over_runs(values: pd.Series, rows: pd.DataFrame, undefined: int, unpaired: int = 0) -> Estimate:
    """Of the values of runs, and of the rows that they are from."""
    values = values.dropna()
    value, count = float(values.mean()), len(values)
    half = np.nan if count < 2 else _half_over_runs(values.to_numpy(), _test_share(rows))
    patients = rows["patient"].nunique()
    return Estimate(value, value - half, value + half, patients, len(rows), count, undefined, unpaired)


def _test_share(rows: pd.DataFrame) -> float:
    """Images tested per image learned from, mean over runs; NaN where it is not known.

    `test_images` counts those without mass, too, as `train_images` does; rows that lack it are counted themselves.
    """
    if "train_images" not in rows:
        return np.nan
    runs = rows.groupby(["seed", "fold"])
    tested = runs["test_images"].first() if "test_images" in rows else runs.size()
    return float((tested / runs["train_images"].first()).mean())


def _half_over_runs(values: np.ndarray, test_share: float) -> float:
    """Half the width of the corrected t interval: s^2 (1/n + tested/trained) in place of s^2 / n."""
    variance = values.var(ddof=1) * (1 / len(values) + test_share)
    return float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.sqrt(variance))


def by_run(rows: pd.DataFrame, metric: str = "dsc") -> pd.Series:
    """The metric of each run of one system, by seed and fold; NaN where it is undefined for all images of a run."""
    rows = _ordered(rows)
    runs = rows.groupby(["seed", "fold"]).size().index
    return _by_run(_defined(rows, metric)[0], metric).reindex(runs)


def _by_run(rows: pd.DataFrame, metric: str) -> pd.Series:
    """Of rows that are sorted and defined."""
    runs = rows.groupby(["seed", "fold"]).size().index
    values = np.empty(0) if rows.empty else _per_run(_totals(rows, metric).sum(axis=0), metric)
    return pd.Series(values, runs)


def patient_means(rows: pd.DataFrame, metric: str = "dsc") -> pd.Series:
    """The mean over each patient's images in all runs of one system, by patient; undefined images are left out.

    Raises ValueError for a metric of sums over images: it has no mean.
    """
    if not is_mean(metric):
        raise ValueError(f"{metric} adds up images and has no mean per patient: take a metric of images, such as dsc")
    rows = _ordered(rows)
    return ratio(rows, metric)[0].groupby(rows["patient"]).mean().dropna()


def paired(rows: pd.DataFrame, others: pd.DataFrame, metric: str = "dsc") -> Pairs:
    """The rows of both systems for the images that both tested."""
    one, other = (_ordered(each).set_index(KEY, drop=False) for each in (rows, others))
    shared = one.index.intersection(other.index)
    unpaired = len(one) + len(other) - 2 * len(shared)
    one, other = (each.loc[shared].reset_index(drop=True) for each in (one, other))
    known = ratio(one, metric)[0].notna() & ratio(other, metric)[0].notna()
    return Pairs(one[known], other[known], unpaired, int((~known).sum()))


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Sorted, since floats are added up in order. Rows of a single run need not say seed and fold."""
    rows = rows.assign(**{name: 0 for name in ("seed", "fold") if name not in rows})
    if (twice := rows.duplicated(KEY)).any():
        raise ValueError(f"{rows.loc[twice, 'id'].iloc[0]} comes twice in a run: give the rows of one system")
    return rows.sort_values(KEY)


def _defined(rows: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, int]:
    known = ratio(rows, metric)[0].notna()
    return rows[known], int((~known).sum())


def _totals(rows: pd.DataFrame, metric: str) -> np.ndarray:
    """(patients, runs, 3): numerator, denominator and number of images of each patient in each run."""
    patient, patients = pd.factorize(rows["patient"], sort=True)
    run = rows.groupby(["seed", "fold"]).ngroup().to_numpy()
    totals = np.zeros((len(patients), run.max() + 1, 3))
    np.add.at(totals, (patient, run), np.stack([*ratio(rows, metric), pd.Series(1.0, rows.index)], axis=1))
    return totals


def _per_run(sums: np.ndarray, metric: str) -> np.ndarray:
    """(..., runs) from (..., runs, 3); NaN for a run of which no image is there.

    Nothing to find and nothing found is a pooled DSC of 1 and a pooled ΔA of 0, as in `Counts`.
    """
    over, under, images = np.moveaxis(sums, -1, 0)
    agreed = {"dsc_pooled": 1.0, "delta_a_pooled": 0.0}.get(metric, np.nan)
    empty = np.where((images > 0) & (over == 0), agreed, np.nan)
    values = np.divide(over, under, out=empty, where=under > 0)
    return np.abs(values) if metric == "delta_a_pooled" else values


def _mean(runs: np.ndarray) -> np.ndarray:
    """(...) from (..., runs): over the runs that have a value; NaN where none has."""
    known = ~np.isnan(runs)
    count = known.sum(axis=-1)
    return np.divide(np.where(known, runs, 0).sum(axis=-1), count, out=np.full(count.shape, np.nan), where=count > 0)


def _sd(runs: np.ndarray) -> float:
    """NaN for fewer than two runs."""
    known = runs[~np.isnan(runs)]
    return float(known.std(ddof=1)) if len(known) > 1 else math.nan


def _redrawn(totals: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """(draws, runs, 3): the sums over as many patients as there are, drawn with replacement."""
    patients, runs, parts = totals.shape
    weights = patient_weights(patients, draws, seed).astype(float)
    return (weights @ totals.reshape(patients, -1)).reshape(draws, runs, parts)


@lru_cache(maxsize=4)  # a table asks for the same draws for each of its cells
def patient_weights(patients: int, draws: int, seed: int) -> np.ndarray:
    """(draws, patients): how often each was drawn."""
    rng = np.random.default_rng(seed)
    weights = np.empty((draws, patients), np.uint16)
    for n in range(draws):
        weights[n] = np.bincount(rng.integers(patients, size=patients), minlength=patients)
    return weights


def limits(drawn: np.ndarray, patients: int) -> tuple[float, float]:
    """The middle 95 % of the draws. A single patient says nothing about others."""
    drawn = drawn[~np.isnan(drawn)]
    if patients < 2 or not len(drawn):
        return np.nan, np.nan
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
