"""Outlines drawn by hand, as masks."""

import numpy as np
from numpy.typing import NDArray


def area(points: NDArray[np.float64]) -> float:
    """Enclosed by the (n, 2) points in their units squared, by the shoelace formula; the outline need not be closed."""
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def filled(points: NDArray[np.float64], shape: tuple[int, int]) -> tuple[NDArray[np.bool_], float]:
    """(H, W) bool of the pixels whose centre lies inside a polygon, and the share of it that lies off the image.

    Points are (n, 2) of (column, row), with (0, 0) at the centre of the first pixel; crossing outlines follow the
    even-odd rule. A polygon that reaches further off than the image is large counts as wholly outside.
    """
    mask = np.zeros(shape, bool)
    low, high = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int)
    cols, rows = shape[1], shape[0]
    if low[0] < -cols or low[1] < -rows or high[0] > 2 * cols or high[1] > 2 * rows:
        return mask, 1.0
    inside = total = 0
    (x0, y0), (x1, y1) = points.T, np.roll(points, -1, axis=0).T
    for row in range(low[1], high[1] + 1):
        crosses = (y0 <= row) != (y1 <= row)
        at = x0[crosses] + (row - y0[crosses]) * (x1[crosses] - x0[crosses]) / (y1[crosses] - y0[crosses])
        ends = np.ceil(np.sort(at)).astype(int)
        for start, stop in zip(ends[::2], ends[1::2], strict=True):
            total += stop - start
            if 0 <= row < rows:
                mask[row, max(start, 0) : max(stop, 0)] = True
    inside = int(mask.sum())
    return mask, 1 - inside / total if total else 0.0
