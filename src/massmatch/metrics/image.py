"""Every metric of one image."""

import numpy as np

from massmatch.metrics.counts import Counts
from massmatch.metrics.surface import apart, between, boundary, distances, named


def image_metrics(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float] | None = None
) -> dict[str, float]:
    """Compare the predicted mask of one image with the true one, by every metric.

    Args:
        prediction, truth: (H, W) boolean masks, or 0 and 1.
        spacing_mm: height and width of a pixel; without it the columns in mm are NaN.

    Returns:
        dsc, iou, sen, precision, specificity, acc, delta_a (absolute), delta_a_signed; hau_px, hau95_px, assd_px,
        nsd_2px (see `distances`) and their twins in mm; hau_raw_px (inf where one mask is empty);
        fp_area_px, fp_area_mm2 (what is predicted on an image without mass; NaN where there is mass);
        tp, fp, fn, tn (pixels); rows, cols (the size at which this was measured); truth_empty, prediction_empty,
        missed (there is mass, and no pixel of it was found), false_positive (there is none, and some was predicted).

    Raises:
        ValueError: masks of different shapes, of more or fewer than two axes, or with other values; a spacing that
            is not positive.
    """
    prediction, truth = as_mask("prediction", prediction), as_mask("truth", truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction must have the shape of truth, {truth.shape}, but has {prediction.shape}")
    if spacing_mm is not None and not (np.isfinite(spacing_mm).all() and min(spacing_mm) > 0):
        raise ValueError(f"spacing_mm must be two positive lengths (row, column), but is {spacing_mm}")
    counts = Counts.of(prediction, truth)
    with_mass, predicted = counts.tp + counts.fn > 0, counts.tp + counts.fp > 0
    pixels, millimetres = in_both_units(prediction, truth, spacing_mm)
    false_area = np.nan if with_mass else float(counts.fp)
    pixel_mm2 = np.nan if spacing_mm is None else spacing_mm[0] * spacing_mm[1]
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
        "hau_raw_px": pixels["hau_px"] if with_mass == predicted else np.inf,
        **millimetres,
        "fp_area_px": false_area,
        "fp_area_mm2": false_area * pixel_mm2,
        **counts._asdict(),
        "rows": truth.shape[0],
        "cols": truth.shape[1],
        "truth_empty": not with_mass,
        "prediction_empty": not predicted,
        "missed": with_mass and counts.tp == 0,
        "false_positive": not with_mass and predicted,
    }


def in_both_units(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float] | None
) -> tuple[dict[str, float], dict[str, float]]:
    """`distances` in px and in mm; NaN in mm where the spacing is not known."""
    if spacing_mm is None:
        return distances(prediction, truth, (1.0, 1.0), "px"), named(np.nan, np.nan, np.nan, np.nan, "mm")
    if not prediction.any() or not truth.any():
        return distances(prediction, truth, (1.0, 1.0), "px"), distances(prediction, truth, spacing_mm, "mm")
    p, y = boundary(prediction), boundary(truth)
    there, back = apart(p, y, (1.0, 1.0))
    pixels, height = between(there, back, "px"), spacing_mm[0]
    if height == spacing_mm[1]:  # then what is nearest is so in both units
        return pixels, between(height * there, height * back, "mm")
    return pixels, between(*apart(p, y, spacing_mm), "mm")


def as_mask(name: str, mask: np.ndarray) -> np.ndarray:
    """(H, W) bool, or a ValueError that names the argument."""
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"{name} must be a mask of two axes, (H, W), but has the shape {mask.shape}")
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise ValueError(f"{name} must hold 0 and 1 only, but ranges from {mask.min()} to {mask.max()}: threshold it")
    return mask.astype(bool, copy=False)
