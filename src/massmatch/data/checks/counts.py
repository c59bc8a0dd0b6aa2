"""A cohort in numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from massmatch.data.checks.appearance import Look


def counted(looks: list[Look], table: pd.DataFrame) -> dict[str, Any]:
    """Counts of the table's values, and quantiles of the masses' sizes; None where nothing is known."""
    areas = [area for x in looks for area in x.areas]
    shares = [100 * area / (x.shape[0] * x.shape[1]) for x in looks for area in x.areas]
    pixel = (table["spacing_row_mm"].astype(float) * table["spacing_col_mm"].astype(float)).dropna().to_dict()
    mm2 = [area * pixel[x.id] for x in looks if x.id in pixel for area in x.areas]
    return {
        "images": len(table),
        "patients": int(table["patient"].nunique()),
        "masses": len(areas),
        "without_mass": sum(not x.areas for x in looks),
        "sizes": _tally(f"{x.shape[0]}x{x.shape[1]}" for x in looks),
        "bits": _tally(str(x.bits) for x in looks),
        "side": _tally(table["side"]),
        "view": _tally(table["view"]),
        "density": _tally(table["density"]),
        "split": _tally(table["split"]) if "split" in table else {},
        "spacing_source": _tally(table["spacing_source"].fillna("none")),
        "mass_px": _quantiles(areas),
        "mass_percent_of_image": _quantiles(shares),
        "mass_mm2": _quantiles(mm2),
        "smallest_side_px": _quantiles([side for x in looks for side in x.sides]),
    }


def _tally(values: Iterable[Any]) -> dict[str, int]:
    """How often each value comes; whole numbers without a point, gaps as "unknown"."""
    known = (
        "unknown" if pd.isna(v) else str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in values
    )
    return dict(sorted(Counter(known).items()))


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    names = {"min": 0, "5 %": 5, "median": 50, "95 %": 95, "max": 100}
    return {name: round(float(np.percentile(values, q)), 3) for name, q in names.items()}
