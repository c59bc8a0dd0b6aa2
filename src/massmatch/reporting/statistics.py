"""How sure one may be of a difference between two runs on the same test images."""

from typing import NamedTuple

import numpy as np
import pandas as pd


class Difference(NamedTuple):
    """A mean difference over images with its 95 % interval."""

    mean: float
    low: float
    high: float


def paired_difference(
    rows: pd.DataFrame, others: pd.DataFrame, column: str = "dsc", *, draws: int = 10_000, seed: int = 0
) -> Difference:
    """Mean of `column` in `rows` minus that in `others`, image by image; the interval by bootstrap over patients.

    Images of one woman go together: whole patients are drawn, as many as there are, and all their images count
    (percentile interval, Efron and Tibshirani 1993). It covers the choice of the test patients, not the training.

    Raises ValueError unless both hold the same images, or where the column is undefined for some.
    """
    both = rows.merge(others, on="id", suffixes=("", "_other"), validate="one_to_one")
    if not len(rows) == len(others) == len(both):
        raise ValueError(f"both runs must have the same images, but share {len(both)} of {len(rows)} and {len(others)}")
    difference = both[column] - both[f"{column}_other"]
    if difference.isna().any():
        raise ValueError(f"{column} is undefined for {int(difference.isna().sum())} images: take another column")
    by_patient = difference.groupby(both["patient"]).agg(["sum", "count"]).to_numpy()
    drawn = np.random.default_rng(seed).integers(len(by_patient), size=(draws, len(by_patient)))
    sums, counts = by_patient[drawn].sum(axis=1).T
    low, high = np.quantile(sums / counts, [0.025, 0.975])
    return Difference(float(difference.mean()), float(low), float(high))
