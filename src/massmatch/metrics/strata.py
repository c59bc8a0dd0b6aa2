"""Kinds of images: by the size of their masses, by density, side and view. Images without mass are a kind of their own.

Each function takes the rows of `image_metrics` with the facts of the images (rows.csv) and gives a label to each,
an ordered category; `by_stratum` summarises the rows of each label.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from massmatch.metrics.summary import summary

NORMAL, UNKNOWN = "no mass", "unknown"


def size_edges(rows: pd.DataFrame) -> list[float]:
    """The quartiles of `mass_fraction` over the images with mass: three numbers, or fewer where they coincide."""
    sizes = rows.loc[~rows["truth_empty"].astype(bool), "mass_fraction"]
    return [] if sizes.empty else sorted({float(q) for q in sizes.quantile([0.25, 0.5, 0.75])})


def by_size(rows: pd.DataFrame, edges: Sequence[float] | None = None) -> pd.Series:
    """By the share of the image that is mass. `edges`: upper limits of all strata but the last, included in them.

    By default the quartiles of these rows; give those of `size_edges` where several sets of rows are to share them.
    """
    edges = size_edges(rows) if edges is None else list(edges)
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError(f"edges must rise, but are {edges}")
    digits = next(n for n in range(3, 18) if len({f"{100 * edge:.{n}g}" for edge in edges}) == len(edges))
    limits = [f"{100 * edge:.{digits}g} %" for edge in edges]
    names = ["any size"]
    if limits:
        middle = [f"{low} to {high}" for low, high in pairwise(limits)]
        names = [f"up to {limits[0]}", *middle, f"over {limits[-1]}"]
    return _labels(rows, np.array(names)[np.searchsorted(edges, rows["mass_fraction"])], names)


def by_density(rows: pd.DataFrame) -> pd.Series:
    """Label each image by the ACR category of the breast's density."""
    names = [f"ACR {density}" for density in (1, 2, 3, 4)]
    return _labels(rows, [UNKNOWN if pd.isna(d) else f"ACR {int(d)}" for d in rows["density"]], names)


def by_side(rows: pd.DataFrame) -> pd.Series:
    """By the side of the body, as the cohort names it."""
    return _by_word(rows, "side")


def by_view(rows: pd.DataFrame) -> pd.Series:
    """By view, as the cohort names them."""
    return _by_word(rows, "view")


def _by_word(rows: pd.DataFrame, column: str) -> pd.Series:
    names = sorted({str(word) for word in rows[column].dropna()})
    return _labels(rows, [UNKNOWN if pd.isna(word) else str(word) for word in rows[column]], names)


def _labels(rows: pd.DataFrame, labels: Sequence[str] | np.ndarray, names: Sequence[str]) -> pd.Series:
    values = np.where(rows["truth_empty"].astype(bool), NORMAL, np.asarray(labels, dtype=object))
    categories = [name for name in (*names, UNKNOWN, NORMAL) if (values == name).any()]
    return pd.Series(pd.Categorical(values, categories, ordered=True), index=rows.index)


def by_stratum(rows: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """`summary` of the rows of each label: a line per label, in their order."""
    return pd.DataFrame({name: summary(rows[labels == name]) for name in labels.cat.categories}).T
