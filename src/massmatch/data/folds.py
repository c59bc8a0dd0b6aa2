"""Folds: which images train, which choose the weights, which are measured. No patient is ever in two parts.

    kfold     the test part is fold k, 10 % of all for validation come out of the rest; every image is tested once
    paper     80/10/10 (section 4.1): the held-out fifth is half validation, half test
    split     one 80/10/10 split, by seed
    official  the cohort's own column `split`, with "train", "test" and perhaps "validation"

All are stratified by quartile of the images' mass size, with images without mass as a stratum of their own.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from massmatch.errors import UsageError

SCHEMES = ("kfold", "paper", "split", "official")


class Split(NamedTuple):
    """The ids of the images that train, choose and are tested."""

    train: list[str]
    validation: list[str]
    test: list[str]


def split(
    table: pd.DataFrame,
    mass_fraction: pd.Series,
    *,
    scheme: str = "kfold",
    fold: int = 0,
    folds: int = 5,
    seed: int = 0,
) -> Split:
    """The images that train, choose and are tested in one fold.

    Args:
        table: the cohort's, with the columns `id` and `patient`; the order of its rows does not matter.
        mass_fraction: mass pixels / image pixels, by id.
        scheme: "kfold", "paper", "split" or "official" (docs/experiments.md).
        fold: which one, from 0.
        folds: how many (5: section 4.1).
        seed: shuffles the patients.

    Raises:
        ValueError: an unknown scheme, a fold out of range, too few patients, an image that comes twice or whose
            patient or mass size is unknown, a column for "official" that is missing, names another part or
            puts a patient into two, or a part that would be empty.
    """
    if scheme not in SCHEMES:
        raise UsageError(f"scheme must be one of {', '.join(SCHEMES)}, but is {scheme!r}")
    folds = 1 if scheme in ("split", "official") else folds
    require_folds(folds if scheme in ("kfold", "paper") else 2, seed)
    if not 0 <= fold < folds:
        raise UsageError(f"fold must be from 0 to {folds - 1} with scheme {scheme!r}, but is {fold}")
    _check(table, mass_fraction)
    table = table.sort_values("id").reset_index(drop=True).assign(stratum=lambda t: strata(t, mass_fraction))
    parts = _official(table, seed) if scheme == "official" else _folded(table, scheme, fold, folds, seed)
    for name, part in zip(Split._fields, parts, strict=True):
        if part.empty:
            raise UsageError(f"the {name} part is empty: {len(table)} images are too few for scheme {scheme!r}")
    return Split(*(part["id"].tolist() for part in parts))


def require_folds(folds: int, seed: int) -> None:
    """Raise UsageError for fewer than two folds, and for a seed that scikit-learn does not take."""
    if folds < 2:
        raise UsageError(f"folds must be at least 2, but is {folds}")
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed must be from 0 to {2**32 - 1}, but is {seed}")


def _check(table: pd.DataFrame, mass_fraction: pd.Series) -> None:
    """ValueError for images that come twice, or whose patient or mass size is unknown."""
    if lack := [name for name in ("id", "patient") if name not in table]:
        raise UsageError(f"the table must have the columns `id` and `patient`, but lacks {lack}")
    if table["id"].duplicated().any():
        raise UsageError(f"an id must have one row, but {_few(table['id'][table['id'].duplicated()])} have several")
    if table["patient"].isna().any():
        raise UsageError(f"every image must have a patient, but {_few(table['id'][table['patient'].isna()])} have none")
    sizes = table["id"].map(mass_fraction)
    if sizes.isna().any():
        raise UsageError(
            f"mass_fraction must have a number for every id, but has none for {_few(table['id'][sizes.isna()])}"
        )


def _few(names: pd.Series) -> str:
    """Up to five of them, and their count."""
    return f"{', '.join(sorted(names.astype(str))[:5])} ({len(names)} in all)"


def strata(table: pd.DataFrame, mass_fraction: pd.Series) -> np.ndarray:
    """0 for an image without mass, otherwise 1 to 4, the quartile of its mass size."""
    sizes = table["id"].map(mass_fraction).to_numpy()
    with_mass = sizes > 0
    if not with_mass.any():
        return np.zeros(len(sizes), int)
    limits = np.quantile(sizes[with_mass], [0.25, 0.5, 0.75])
    return np.where(with_mass, 1 + np.searchsorted(limits, sizes), 0)


def _folded(
    table: pd.DataFrame, scheme: str, fold: int, folds: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Train, validation and test for all schemes that draw patients."""
    if scheme == "split":
        held, rest = _draw(table, 5, 0, seed, "a held-out fifth")
    else:
        held, rest = _draw(table, folds, fold, seed, "folds")
    if scheme == "kfold":
        # A tenth of all images: an eighth of four fifths.
        validation, train = _validation(rest, max(2, round(10 * (folds - 1) / folds)), seed)
        return train, validation, held
    validation, test = _draw(held, 2, 0, seed, "validation and test from the held-out part")
    return rest, validation, test


def _official(table: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The cohort's own parts; a tenth of the training patients where it names no validation part."""
    part = official_parts(table)
    if part is None:
        raise UsageError("scheme 'official' needs a column `split` in the cohort's table, but there is none")
    train, validation, test = (table[part == name] for name in Split._fields)
    if validation.empty and not train.empty:
        validation, train = _validation(train, 10, seed)
    return train, validation, test


def official_parts(table: pd.DataFrame) -> pd.Series | None:
    """The part of each row as the column `split`, or else `official_split`, names it; None where neither is there.

    Raises UsageError for other names than train, validation and test, and for a patient in two parts.
    """
    column = next((name for name in ("split", "official_split") if name in table), None)
    if column is None:
        return None
    part = table[column].astype("string").str.strip().str.lower().fillna("nothing")
    if (odd := ~part.isin(Split._fields)).any():
        raise UsageError(
            f"column `{column}` must be {', '.join(Split._fields)}, but is {', '.join(sorted(set(part[odd]))[:5])} "
            f"for {_few(table['id'][odd])}: mend these rows"
        )
    _no_patient_twice(table["patient"], part, column)
    return part


def _no_patient_twice(patient: pd.Series, part: pd.Series, column: str) -> None:
    for one, other in combinations(Split._fields, 2):
        if shared := set(patient[part == one]) & set(patient[part == other]):
            raise UsageError(
                f"column `{column}` puts {len(shared)} patients into {one} and {other}: {sorted(shared)[:5]}"
            )


def _validation(table: pd.DataFrame, parts: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One of `parts` parts, though at least a patient, and the others."""
    return _draw(table, max(2, min(parts, table["patient"].nunique())), 0, seed, "validation from the training part")


def _draw(table: pd.DataFrame, parts: int, part: int, seed: int, what: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One of `parts` equal parts of the patients, and the others."""
    from sklearn.model_selection import StratifiedGroupKFold  # loads for longer than all else here; few commands draw

    patients = table["patient"].nunique()
    if patients < parts:
        raise UsageError(f"{what}: {parts} parts need at least {parts} patients, but there are {patients}")
    # scikit-learn refuses more parts than members of the smallest stratum, so that one joins its neighbour.
    stratum = table["stratum"].to_numpy().copy()
    counts = pd.Series(stratum).value_counts()
    stratum[np.isin(stratum, counts[counts < parts].index)] = counts.idxmax()
    draws = StratifiedGroupKFold(parts, shuffle=True, random_state=seed).split(table, stratum, table["patient"])
    rest, drawn = list(draws)[part]
    return table.iloc[drawn], table.iloc[rest]
