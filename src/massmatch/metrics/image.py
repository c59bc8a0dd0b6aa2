"""Every metric of one image."""

import numpy as np

from massmatch.metrics.counts import Counts
from massmatch.metrics.surface import distances


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
