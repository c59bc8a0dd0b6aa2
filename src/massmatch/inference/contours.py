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
        labels: (H, W) int, the components of what is above the threshold. Those of another label, and what is outside
            of the image, count as probability 0.
        label: of the mass.
        box: the rows and the columns that hold it.

    Returns (points, 2) arrays of row and column, rounded to hundredths; (0, 0) is the centre of the first pixel.
    """
    wider = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
    near = labels[wider]
    level = np.pad(np.where((near == label) | (near == 0), probability[wider], 0).astype(np.float64), 1)
    corner = np.array([side.start for side in wider]) - 1
    lines = contourpy.contour_generator(z=level).lines(threshold)
    return [(np.asarray(line)[:, ::-1] + corner).round(PLACES) for line in lines]
