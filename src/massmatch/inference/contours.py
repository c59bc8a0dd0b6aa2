"""The contours of predicted masses, for programs that draw or measure them."""

import contourpy
import numpy as np

PLACES = 2  # decimals of a pixel: a hundredth is below what any display shows


def contours(
    probability: np.ndarray, labels: np.ndarray, label: int, box: tuple[slice, ...], threshold: float
) -> list[np.ndarray]:
    """Closed lines around one mass, along which the probability equals the threshold.

    Args:
        probability: (H, W) of the whole image.
        labels: (H, W) int, the components of what is above the threshold. What is above it and of another label, and
            what is outside of the image, counts as probability 0.
        label: of the mass.
        box: the rows and the columns that hold it.

    Returns (points, 2) arrays of row and column, rounded to hundredths; (0, 0) is the centre of the first pixel.
    """
    wider = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
    own, near = labels[wider] == label, probability[wider]
    level = np.pad(np.where(own | (near <= threshold), near, 0).astype(np.float64), 1)
    corner = np.array([side.start for side in wider]) - 1
    lines = contourpy.contour_generator(z=level).lines(threshold)
    return [(np.asarray(line)[:, ::-1] + corner).round(PLACES) for line in lines]


def outline(mask: np.ndarray) -> np.ndarray:
    """The one closed line around an 8-connected mass, which its pixels' centres lie in and no other pixel's but holes'.

    Args:
        mask: (H, W) bool, the mass.

    Returns a (points, 2) array of row and column; (0, 0) is the centre of the first pixel.
    """
    rows, cols = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    near = np.pad(mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1], 1).astype(np.float64)
    # Just below a half, where pixels that touch at a corner hang together: the mean of the four around it is a half.
    lines = contourpy.contour_generator(z=near).lines(0.49)
    longest = max(lines, key=lambda line: np.ptp(np.asarray(line), axis=0).sum())
    return (np.asarray(longest)[:, ::-1] + [rows[0] - 1, cols[0] - 1]).round(PLACES)
