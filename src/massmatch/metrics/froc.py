"""Free-response ROC: how many masses are found at how many false candidates per image.

Candidates are taken from the highest score down. One that hits a mass (`hit`: an IoU of at least that number, or
"centre") finds it; a second one on a found mass, and one that only touches a mass which is found already, is neither
found nor false; every other one is false. All images count, and images without mass also by themselves, since there
every candidate is false and no mass hides it.
"""

from typing import Literal

import numpy as np
import pandas as pd

Hit = float | Literal["centre"]
HIT = 0.2  # the habit of mass detection on mammograms
RATES = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)  # of the CPM: false candidates per image (LUNA16, CAMELYON16: 1/4 to 8)


def judged(candidates: pd.DataFrame, hit: Hit = HIT) -> pd.DataFrame:
    """The candidates, highest score first, with two columns more: finds (the first hit on its mass) and false."""
    rows = candidates.reset_index(drop=True)
    by_centre = rows["mass_at_centre"]
    hits = by_centre > 0 if hit == "centre" else (rows["mass"] > 0) & (rows["iou"] >= hit)
    on = by_centre.where(hits, rows["mass"]) if hit == "centre" else rows["mass"]
    order = rows.assign(hits=hits).sort_values(["score", "hits"], ascending=False, kind="stable").index
    rows, hits, mass = rows.loc[order], hits[order], [rows.loc[order, "id"], on[order]]
    found = hits.groupby(mass).cummax().astype(bool)  # by this candidate, or by one before
    finds = hits & (hits.groupby(mass).cumsum() == 1)
    return rows.assign(finds=finds, false=~found)


def froc(candidates: pd.DataFrame, images: pd.DataFrame, hit: Hit = HIT) -> pd.DataFrame:
    """The curve, a row per threshold, the highest first; before it one of infinity, at which nothing is found.

    Args:
        candidates: rows of `lesion_candidates` with the column `id`; leave out those that are too small beforehand.
        images: a row per image, those without candidates included: `id` and `masses` (how many it holds), as in
            rows.csv.
        hit: least IoU, or "centre".

    Returns:
        threshold (candidates with this score or more), sensitivity (NaN if there is no mass), fp_per_image,
        fp_per_normal (false candidates per image without mass; NaN if there is none).

    Raises:
        ValueError: images that come twice, candidates of images that are not in `images`.
    """
    if images["id"].duplicated().any():
        raise ValueError(f"images must come once, but {images['id'][images['id'].duplicated()].iloc[0]!r} comes twice")
    if unknown := sorted(set(candidates["id"]) - set(images["id"])):
        raise ValueError(f"every candidate's image must be among the images, but {unknown[0]!r} is not")
    rows = judged(candidates, hit)
    normal = images["id"][images["masses"] == 0]
    steps = pd.DataFrame({"finds": rows["finds"], "fp": rows["false"], "fp_normal": rows["id"].isin(normal)})
    sums = steps.cumsum().assign(score=rows["score"]).groupby("score").max().sort_index(ascending=False)
    curve = pd.concat([pd.DataFrame(0, index=[np.inf], columns=sums.columns), sums])
    return pd.DataFrame(
        {
            "threshold": curve.index,
            "sensitivity": over(curve["finds"], int(images["masses"].sum())),
            "fp_per_image": over(curve["fp"], len(images)),
            "fp_per_normal": over(curve["fp_normal"], len(normal)),
        }
    )


def over(counts: pd.Series, of: int) -> np.ndarray:
    """Counts per `of`, NaN where `of` is 0."""
    return counts.to_numpy(float) / of if of else np.full(len(counts), np.nan)


def sensitivity_at(curve: pd.DataFrame, rate: float, per: str = "fp_per_image") -> float:
    """The largest sensitivity of the curve at no more than `rate` false candidates; nothing is interpolated.

    NaN where the curve has none: no mass, or for `per="fp_per_normal"` no image without mass.
    """
    return float(curve.loc[curve[per] <= rate, "sensitivity"].max())


def cpm(curve: pd.DataFrame, per: str = "fp_per_image") -> float:
    """The mean of the sensitivities at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false candidates per image (LUNA16)."""
    return float(np.mean([sensitivity_at(curve, rate, per) for rate in RATES]))
