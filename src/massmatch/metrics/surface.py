"""Distances between the boundaries of two masks: HAU, HAU95, ASSD and NSD from the same two lists of distances."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

TOLERANCE = 2.0  # of the NSD, in px or mm: some two pixels at 256 x 256, about how far two readers' contours differ
ROUNDING = 1e-9  # of a distance, which depends on where the masks lie: 20 columns of 0.1 mm are 2 mm everywhere
MANY = 200_000  # boundary pixels beyond which a distance transform is faster than a tree (benchmarks/metrics.py)


def distances(prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float], unit: str) -> dict[str, float]:
    """`hau_<unit>`, `hau95_<unit>`, `assd_<unit>` and `nsd_2<unit>` of two (H, W) bool masks.

    HAU is the maximum of both directed distances, HAU95 the maximum of their 95th percentiles (interpolated
    linearly), ASSD the mean over the pixels of both boundaries, NSD the share of those pixels that lie at most 2 px
    (or 2 mm) from the other boundary (Metrics Reloaded). Both empty: 0, and NSD 1; one empty: the diagonal of the
    image, and NSD 0.
    """
    if not prediction.any() or not truth.any():
        same = not prediction.any() and not truth.any()
        far = 0.0 if same else float(np.hypot(truth.shape[0] * spacing[0], truth.shape[1] * spacing[1]))
        return named(far, far, far, float(same), unit)
    return between(*surface_distances(prediction, truth, spacing), unit)


def between(there: np.ndarray, back: np.ndarray, unit: str) -> dict[str, float]:
    """The four from the distances of each boundary's pixels to the other boundary."""
    percentile = max(np.percentile(there, 95), np.percentile(back, 95))
    both = np.concatenate([there, back])
    return named(both.max(), percentile, both.mean(), (both <= TOLERANCE + ROUNDING).mean(), unit)


def named(hau: float, hau95: float, assd: float, nsd: float, unit: str) -> dict[str, float]:
    """The four under the names of their columns."""
    return {
        f"hau_{unit}": float(hau),
        f"hau95_{unit}": float(hau95),
        f"assd_{unit}": float(assd),
        f"nsd_{TOLERANCE:g}{unit}": float(nsd),
    }


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float] = (1.0, 1.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Distance from every boundary pixel of the prediction to the truth's boundary, and the other way round.

    Both masks must hold something. Distances are between pixel centres, in the unit of `spacing`.
    """
    return apart(boundary(prediction), boundary(truth), spacing)


def apart(p: np.ndarray, y: np.ndarray, spacing: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Distance from each of (n, 2) pixels to the nearest of (m, 2) others, and the other way round."""
    nearest = by_tree if len(p) + len(y) <= MANY else by_transform
    return nearest(p, y, spacing), nearest(y, p, spacing)


def by_tree(points: np.ndarray, others: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """(n,) distances of (n, 2) pixels to the nearest of (m, 2) others."""
    return np.asarray(cKDTree(others * np.asarray(spacing)).query(points * np.asarray(spacing))[0])


def by_transform(points: np.ndarray, others: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """The same through a map of the nearest other pixel: its cost follows the area, not the number of points."""
    corner = np.minimum(points.min(0), others.min(0))
    away = np.ones(np.maximum(points.max(0), others.max(0)) - corner + 1, bool)
    away[tuple((others - corner).T)] = False
    nearest = ndimage.distance_transform_edt(away, sampling=spacing, return_distances=False, return_indices=True)
    rows, cols = (points - corner).T
    place = np.ravel_multi_index((rows, cols), away.shape)
    return np.hypot((nearest[0].take(place) - rows) * spacing[0], (nearest[1].take(place) - cols) * spacing[1])


def boundary(mask: np.ndarray) -> np.ndarray:
    """(n, 2) indices of the pixels with one of their 4 neighbours outside the mask, or outside the image."""
    box = box_of(mask)
    inside = mask[box]
    corner = np.array([side.start for side in box], np.int32)
    framed = np.pad(inside, 1)  # four shifted views are ten times as fast as SciPy's erosion
    within = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    return np.argwhere(inside & ~within).astype(np.int32) + corner  # speckle has millions


def box_of(mask: np.ndarray) -> tuple[slice, slice]:
    """The smallest window that holds all of a (H, W) bool mask; an empty one for an empty mask."""
    sides = (np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0)))
    rows, cols = (slice(int(side[0]), int(side[-1]) + 1) if len(side) else slice(0) for side in sides)
    return rows, cols
