"""Distances between the boundaries of two masks."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree


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
