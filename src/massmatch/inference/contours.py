"""The outlines of predicted masses, for programs that draw or measure them."""

from typing import Any

import contourpy
import numpy as np
from scipy import ndimage

from massmatch.inference.predict import Prediction

PLACES = 2  # decimals of a pixel: a hundredth is below what any display shows


def outlines(found: Prediction, threshold: float) -> dict[str, Any]:
    """What is written to `<name>_contours.json`.

    Each mass (8-connected component of the mask) has its area, mean and highest probability, and one or more closed
    lines of (row, column) points along which the probability equals the threshold. Coordinates are those of the
    stored pixels: (0, 0) is the centre of the first one.
    """
    labels, count = ndimage.label(found.mask, np.ones((3, 3)))
    boxes = ndimage.find_objects(labels)
    masses = [_mass(found, labels, label, box, threshold) for label, box in enumerate(boxes, start=1)]
    return {
        "rows": found.mask.shape[0],
        "columns": found.mask.shape[1],
        "spacing_mm": found.spacing_mm,
        "spacing_source": found.spacing_source,
        "sop_instance_uid": found.instance,
        "threshold": threshold,
        "count": count,
        "masses": masses,
        "use": "for research, not for diagnosis",
    }


def _mass(
    found: Prediction, labels: np.ndarray, label: int, box: tuple[slice, ...], threshold: float
) -> dict[str, Any]:
    own, probability = labels[box] == label, found.probability[box]
    area = int(own.sum())
    mm2 = None if found.spacing_mm is None else round(area * found.spacing_mm[0] * found.spacing_mm[1], 2)
    return {
        "area_px": area,
        "area_mm2": mm2,
        "mean_probability": round(float(probability[own].mean()), 4),
        "highest_probability": round(float(probability[own].max()), 4),
        "lines": [line.round(PLACES).tolist() for line in _lines(found.probability, labels, label, box, threshold)],
    }


def _lines(
    probability: np.ndarray, labels: np.ndarray, label: int, box: tuple[slice, ...], threshold: float
) -> list[np.ndarray]:
    """Closed lines of (row, column) around one mass; other masses and what is outside of the image count as 0."""
    wider = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
    near = labels[wider]
    level = np.pad(np.where((near == label) | (near == 0), probability[wider], 0).astype(np.float64), 1)
    corner = np.array([side.start for side in wider]) - 1
    return [np.asarray(line)[:, ::-1] + corner for line in contourpy.contour_generator(z=level).lines(threshold)]
