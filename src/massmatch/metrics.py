"""What a predicted mask is worth: counts, then one-line formulas; distances between boundaries; lesions.

Fractions from 0 to 1. Empties are defined and never drop out of a mean (both empty / prediction / truth empty):

    dsc, iou          1 / 0 / 0
    sen               NaN / 0 / NaN             precision   NaN / NaN / 0
    delta_a           0 / 1 / NaN               acc, specificity   as always
    hau, hau95, assd  0 / diagonal of the image / the same ("raw": inf)

NaN is "undefined"; `summary` counts how many values it had. ACC is close to 1 whatever is predicted, since almost
all of a mammogram is background: it is reported because the paper does, never to choose by.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import cKDTree

EVERY_NEIGHBOUR = np.ones((3, 3))  # 8-connected


class Counts(NamedTuple):
    """Pixels by prediction and truth. `+` adds images up for the pooled values."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, prediction: np.ndarray, truth: np.ndarray) -> "Counts":
        """Of two boolean masks of one shape."""
        tp, p, y = int((prediction & truth).sum()), int(prediction.sum()), int(truth.sum())
        return cls(tp, p - tp, y - tp, truth.size - p - y + tp)

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 for two empty masks."""
        return divided(2 * self.tp, 2 * self.tp + self.fp + self.fn, 1.0)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN); 1 for two empty masks."""
        return divided(self.tp, self.tp + self.fp + self.fn, 1.0)

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN)."""
        return divided(self.tp, self.tp + self.fn)

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return divided(self.tp, self.tp + self.fp)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP)."""
        return divided(self.tn, self.tn + self.fp)

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all."""
        return (self.tp + self.tn) / sum(self)

    @property
    def area_difference(self) -> float:
        """Signed: (predicted - true) / true area; 0 for two empty masks."""
        return divided(self.fp - self.fn, self.tp + self.fn, 0.0 if self.fp == 0 else np.nan)


def divided(above: float, below: float, undefined: float = np.nan) -> float:
    """`above` / `below`, or `undefined` where `below` is 0."""
    return above / below if below else undefined


def image_metrics(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float] | None = None
) -> dict[str, float]:
    """Every metric of one image.

    Args:
        prediction, truth: (H, W) boolean masks, or 0 and 1.
        spacing_mm: height and width of a pixel; without it the columns in mm are NaN.

    Returns:
        dsc, iou, sen, precision, specificity, acc, delta_a (absolute), delta_a_signed; hau_px, hau95_px (maximum of
        the two directed 95th percentiles), assd_px (mean over both directions) and their twins in mm; hau_raw_px
        (inf where one mask is empty); tp, fp, fn, tn; rows, cols (the size at which this was measured);
        truth_empty, prediction_empty, missed (there is mass, and no pixel of it was found).

    Raises:
        ValueError: masks of different shapes, of more or fewer than two axes, or with other values.
    """
    prediction, truth = as_mask("prediction", prediction), as_mask("truth", truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction must have the shape of truth, {truth.shape}, but has {prediction.shape}")
    counts = Counts.of(prediction, truth)
    millimetres = dict.fromkeys(("hau_mm", "hau95_mm", "assd_mm"), np.nan)
    if spacing_mm is not None:
        millimetres = distances(prediction, truth, spacing_mm, "mm")
    empty = bool(prediction.any()) != bool(truth.any())
    pixels = distances(prediction, truth, (1.0, 1.0), "px")
    return {
        "dsc": counts.dice,
        "iou": counts.iou,
        "sen": counts.sensitivity,
        "precision": counts.precision,
        "specificity": counts.specificity,
        "acc": counts.accuracy,
        "delta_a": abs(counts.area_difference),
        "delta_a_signed": counts.area_difference,
        **pixels,
        "hau_raw_px": np.inf if empty else pixels["hau_px"],
        **millimetres,
        **counts._asdict(),
        "rows": truth.shape[0],
        "cols": truth.shape[1],
        "truth_empty": not truth.any(),
        "prediction_empty": not prediction.any(),
        "missed": bool(truth.any()) and counts.tp == 0,
    }


def as_mask(name: str, mask: np.ndarray) -> np.ndarray:
    """(H, W) bool, or a ValueError that names the argument."""
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"{name} must be a mask of two axes, (H, W), but has the shape {mask.shape}")
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise ValueError(f"{name} must hold 0 and 1 only, but ranges from {mask.min()} to {mask.max()}: threshold it")
    return mask.astype(bool)


def distances(prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float], unit: str) -> dict[str, float]:
    """Hausdorff distance, its 95th percentile and the mean, with the empties as in the table above."""
    names = (f"hau_{unit}", f"hau95_{unit}", f"assd_{unit}")
    if not prediction.any() or not truth.any():
        diagonal = float(np.hypot(truth.shape[0] * spacing[0], truth.shape[1] * spacing[1]))
        return dict.fromkeys(names, 0.0 if not prediction.any() and not truth.any() else diagonal)
    there, back = surface_distances(prediction, truth, spacing)
    percentile = max(np.percentile(there, 95), np.percentile(back, 95))
    mean = np.concatenate([there, back]).mean()
    return dict(zip(names, map(float, (max(there.max(), back.max()), percentile, mean)), strict=True))


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float] = (1.0, 1.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Distance from every boundary pixel of the prediction to the truth's boundary, and the other way round.

    Both masks must hold something. Distances are between pixel centres, in the unit of `spacing`.
    """
    p, y = boundary(prediction) * np.asarray(spacing), boundary(truth) * np.asarray(spacing)
    return np.asarray(cKDTree(y).query(p)[0]), np.asarray(cKDTree(p).query(y)[0])


def boundary(mask: np.ndarray) -> np.ndarray:
    """(n, 2) indices of the pixels with one of their 4 neighbours outside the mask, or outside the image."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    corner = np.array([rows[0], cols[0]])
    box = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return np.argwhere(box & ~ndimage.binary_erosion(box)) + corner


def lesion_counts(prediction: np.ndarray, instances: np.ndarray, iou: float = 0.2) -> dict[str, int]:
    """Masses of one image and how many were found; predicted pieces and how many of them touch no mass.

    A mass counts as found if one 8-connected piece of the prediction overlaps it with at least `iou`
    (`masses_found`; 0.2 is the habit of mass detection on mammograms), or if the centre of a piece lies in it
    (`masses_found_centre`).
    """
    pieces, count = ndimage.label(prediction, EVERY_NEIGHBOUR)
    masses = np.unique(instances[instances > 0])
    overlaps = [_best_iou(pieces, instances == mass) for mass in masses]
    centres = np.rint(ndimage.center_of_mass(prediction, pieces, range(1, count + 1))).astype(int).reshape(-1, 2)
    hit = set(instances[centres[:, 0], centres[:, 1]].tolist()) if count else set()
    touching = np.unique(pieces[(pieces > 0) & (instances > 0)])
    return {
        "masses": len(masses),
        "masses_found": sum(overlap >= iou for overlap in overlaps),
        "masses_found_centre": sum(int(mass) in hit for mass in masses),
        "pieces": count,
        "pieces_false": count - len(touching),
    }


def _best_iou(pieces: np.ndarray, mass: np.ndarray) -> float:
    """Largest IoU of a piece with the mass."""
    candidates = np.unique(pieces[mass & (pieces > 0)])
    return max((Counts.of(pieces == piece, mass).iou for piece in candidates), default=0.0)


MEASURED = [
    "dsc",
    "iou",
    "sen",
    "precision",
    "specificity",
    "acc",
    "delta_a",
    "delta_a_signed",
    "hau_px",
    "hau95_px",
    "assd_px",
    "hau_mm",
    "hau95_mm",
    "assd_mm",
]


def summary(rows: pd.DataFrame) -> dict[str, float]:
    """Rows of `image_metrics` in one line.

    For each metric m: `m` (mean over images), `m_sd`, `m_median`, `m_n` (images for which it is defined);
    `dsc_pooled`, `sen_pooled`, `acc_pooled`, `delta_a_pooled` = |sum P - sum G| / sum G from counts added up;
    `hau_px_hits` and `hau95_px_hits` over the `hits_n` images where mass is and was found; counts of images:
    n, truth_empty, prediction_empty, both_empty, missed. The plain `hau_px` includes the misses, penalised.
    """
    line: dict[str, float] = {"n": len(rows)}
    for name in [name for name in MEASURED if name in rows]:
        values = rows[name].astype(float)
        line |= {
            name: values.mean(),
            f"{name}_sd": values.std(),
            f"{name}_median": values.median(),
            f"{name}_n": int(values.count()),
        }
    pooled = Counts(*(int(rows[name].sum()) for name in Counts._fields))
    line |= {"dsc_pooled": pooled.dice, "sen_pooled": pooled.sensitivity, "acc_pooled": pooled.accuracy}
    line["delta_a_pooled"] = abs(pooled.area_difference)
    truth, predicted = ~rows["truth_empty"].astype(bool), ~rows["prediction_empty"].astype(bool)
    hits = truth & ~rows["missed"].astype(bool)
    line |= {
        "hits_n": int(hits.sum()),
        **{f"{m}_hits": rows.loc[hits, m].mean() for m in ("hau_px", "hau95_px")},
    }
    line |= {"truth_empty": int((~truth).sum()), "prediction_empty": int((~predicted).sum())}
    line |= {"both_empty": int((~truth & ~predicted).sum()), "missed": int(rows["missed"].astype(bool).sum())}
    lesions = [
        name for name in ("masses", "masses_found", "masses_found_centre", "pieces", "pieces_false") if name in rows
    ]
    return line | {name: int(rows[name].sum()) for name in lesions}
