"""Mean ranks over patients, Friedman's test and Nemenyi's critical difference (Demsar, JMLR 7, 2006)."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from massmatch.statistics.intervals import KEY, patient_means, ratio, sense

ALPHA = 0.05


class Ranking(NamedTuple):
    """Systems by mean rank over patients; 1 is best. What a critical-difference diagram draws."""

    mean_ranks: dict[str, float]  # best first
    groups: tuple[tuple[str, ...], ...]  # largest sets of neighbours that Nemenyi's test cannot tell apart
    critical: float  # mean ranks must differ by more than this
    p: float  # Friedman's test that all are equal; NaN for two systems
    patients: int
    left_out: int  # images, counted once per system and run, that some system did not test or has no value for


def ranking(rows: pd.DataFrame, metric: str = "dsc") -> Ranking:
    """Rank all systems on every patient's mean over the images that all of them tested in the same seed and fold.

    Patients are the blocks, and must be independent of each other: so their images are averaged first. Ties share
    their mean rank. The test is one of patients, and says nothing about chance in the training.

    Raises ValueError for fewer than two systems, no patient that all have tested, or a metric without patient means.
    """
    systems = list(dict.fromkeys(rows["system"]))
    if len(systems) < 2:
        raise ValueError(f"ranks need at least two systems, but there is {len(systems)}")
    shared = _shared(rows, metric)
    means = pd.DataFrame({name: patient_means(shared[shared["system"] == name], metric) for name in systems})
    if means.empty:
        raise ValueError("no patient was tested by all systems in the same seed and fold: there is nothing to rank")
    values = -sense(metric) * means.to_numpy().round(12)  # what is equal but for the order of adding is a tie
    mean_ranks = pd.Series(stats.rankdata(values, axis=1).mean(axis=0), systems).sort_values(kind="stable")
    critical = critical_difference(len(systems), len(means))
    ordered = {str(name): float(rank) for name, rank in mean_ranks.items()}
    p, left_out = _friedman(values), len(rows) - len(shared)
    return Ranking(ordered, joined(ordered, critical), critical, p, len(means), left_out)


def _shared(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of images that every system tested and that have a value in each."""
    known = rows[ratio(rows, metric)[0].notna()]
    count = known.groupby(KEY)["system"].transform("nunique")
    return known[count == rows["system"].nunique()]


def _friedman(values: np.ndarray) -> float:
    if values.shape[1] < 3:
        return math.nan
    if (values == values[:, :1]).all():
        return 1.0  # every patient's ranks are tied, and the statistic is 0 / 0
    return float(stats.friedmanchisquare(*values.T).pvalue)


def critical_difference(systems: int, patients: int) -> float:
    """Nemenyi's: q sqrt(k (k + 1) / 6 N), q the studentised range for infinite degrees of freedom over sqrt 2."""
    q = stats.studentized_range.ppf(1 - ALPHA, systems, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(systems * (systems + 1) / (6 * patients)))


def joined(mean_ranks: Mapping[str, float], critical: float) -> tuple[tuple[str, ...], ...]:
    """Largest sets of neighbours whose ranks span at most the critical difference, the best first."""
    names = sorted(mean_ranks, key=mean_ranks.__getitem__)
    spans = [[n for n in names[i:] if mean_ranks[n] - mean_ranks[names[i]] <= critical] for i in range(len(names))]
    ends = [names.index(span[-1]) for span in spans]
    return tuple(tuple(span) for i, span in enumerate(spans) if len(span) > 1 and (i == 0 or ends[i] > ends[i - 1]))
