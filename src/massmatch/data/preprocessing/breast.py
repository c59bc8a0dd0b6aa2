"""Where the breast is on a mammogram, which way it faces, and where the pectoral muscle ends; found on the pixels.

All of it works on a copy of at most 256 pixels a side: these are coarse structures.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from massmatch.data.preprocessing.resize import resized

COARSE = 256  # pixels on the longer side
MARGIN = 0.02  # of each side, kept around the breast, so that a faint skin line is not cut
FRAME = 3  # pixels of the coarse copy: thinner things (film frames, scratches, letters) are no breast
PLAUSIBLE = (0.03, 0.98)  # share of the image that a breast covers; outside, nothing was found
WHITE = 0.8  # of the grey range: tightly cropped breasts reach 0.74 where others have air
INSIDE = (0.005, 0.995)  # shares of the breast's pixels between whose greys an image is stretched
GLARE = 0.1  # share of the image that labels, strips, clips and hot pixels cover at most; small breasts cover 0.03
GAP = 0.1  # pixels in the gap below them, per pixel of theirs: blurred edges; at least 0.24 below breasts of CBIS-DDSM
CONTRAST = 0.25  # of the grey range: by which a breast is brighter than its air, smoothed; noise reaches 0.07
MOST = 128  # times as bright as the tissue, such as 65535 above 10 bits; what has more above it is the noise of air
DEAD = 0.02  # share of the image that may be darker than its air, or in a view without air than its tissue
AIR = 0.2  # share of an image's pixels that are at most as bright as the grey that is taken for air's
LEAST_EDGE = 0.03  # of the grey range: what the muscle must be brighter than the tissue along its edge


def tissue_top(image: np.ndarray) -> int:
    """The brightest grey that may be tissue: the highest of an (H, W) image of whole numbers, or the end below a gap.

    A label, a strip, a clip or hot pixels that are more than twice as bright as the tissue stand above a gap of half of
    all greys, in which next to nothing lies, and cover little of the image. Below them must be tissue, and not the
    noise of air alone: a small breast stands above its air in the same way.
    """
    top, high = _below_gap(image), int(image.max())
    if top == high:
        return high
    smooth = ndimage.gaussian_filter(_shrunk(image, top, share=0.5), FRAME)
    air, tissue = np.quantile(smooth, [1 - PLAUSIBLE[1], 1 - PLAUSIBLE[0]])
    return top if tissue - air > CONTRAST else high


def _below_gap(image: np.ndarray) -> int:
    """The end below a gap of half of all greys, where little stands above it; the highest grey where there is none."""
    up_to = np.cumsum(np.bincount(image.ravel()))  # pixels of each grey and of those below
    low, high = int(image.min()), len(up_to) - 1
    half = (high - low) // 2
    in_gap = up_to[low + half :] - up_to[low : high + 1 - half]
    top = low + int(in_gap.argmin())
    above = up_to[-1] - up_to[top + half]
    stands_alone = in_gap.min() <= GAP * above and above <= GLARE * up_to[-1]
    return top if stands_alone and high - low <= MOST * (top - low) else high


def coarse(image: np.ndarray) -> NDArray[np.float32]:
    """The image by area averaging, (h, w) with no side above 256, scaled to 0..1 by its minimum and maximum.

    What is far brighter than tissue first becomes as dark as air, so that it is not averaged with the pixels around it.
    """
    return _shrunk(image, tissue_top(image))


def _shrunk(image: np.ndarray, top: int, share: float = AIR) -> NDArray[np.float32]:
    """The coarse image, in which what is above `top` has the grey below which lies this share of the pixels."""
    shrink = max(1.0, max(image.shape) / COARSE)
    size = (max(1, round(image.shape[0] / shrink)), max(1, round(image.shape[1] / shrink)))
    if top < image.max():
        image = np.where(image > top, np.quantile(image, share, method="lower"), image)
    small = resized(image, size)
    low, high = float(small.min()), float(small.max())
    return (small - low) / (high - low) if high > low else np.zeros_like(small)


def triangle_threshold(values: np.ndarray) -> float:
    """Zack's triangle method (1977) on values of 0..1: for a histogram with one high peak, here the air's."""
    counts, edges = np.histogram(values, 256, (0.0, 1.0))
    peak, last = int(counts.argmax()), int(np.flatnonzero(counts).max())
    if last <= peak:
        return float(edges[peak + 1])
    bins = np.arange(peak, last + 1)
    line = counts[peak] + (counts[last] - counts[peak]) * (bins - peak) / (last - peak)
    return float(edges[bins[(line - counts[bins]).argmax()] + 1])


def breast(image: np.ndarray) -> NDArray[np.bool_]:
    """(h, w) bool on the coarse copy: the largest bright region, without its holes; all False if none is plausible.

    Greys above those that the smallest plausible breast could have are cut first: a label in the air that is many times
    as bright as the tissue would make air of the tissue.
    """
    small = coarse(image)
    top = float(np.quantile(small, 1 - PLAUSIBLE[0]))
    smooth = ndimage.gaussian_filter(np.minimum(small / top, 1) if top > 0 else small, 1)
    bright = ndimage.binary_opening(smooth > triangle_threshold(smooth), iterations=FRAME)
    labels, count = ndimage.label(bright)
    if count == 0:
        return np.zeros(small.shape, bool)
    found = ndimage.binary_fill_holes(labels == np.bincount(labels.ravel())[1:].argmax() + 1)
    return found if PLAUSIBLE[0] < found.mean() < PLAUSIBLE[1] else np.zeros(small.shape, bool)


def breast_window(image: np.ndarray) -> tuple[int, int, int, int] | None:
    """First row, first column, rows and columns of the breast with a margin; None if no breast was found."""
    found = breast(image)
    if not found.any():
        return None
    starts_and_stops = []
    for axis in (0, 1):
        along = np.flatnonzero(found.any(axis=1 - axis))
        side, scale = image.shape[axis], image.shape[axis] / found.shape[axis]
        margin = MARGIN * side
        start = max(0, int(along[0] * scale - margin))
        starts_and_stops.append((start, min(side, int(np.ceil((along[-1] + 1) * scale + margin)))))
    (top, bottom), (left, right) = starts_and_stops
    return top, left, bottom - top, right - left


def chest_side(image: np.ndarray, found: NDArray[np.bool_] | None = None) -> str:
    """On which side, "left" or "right", an (H, W) image shows the chest wall: that of the brighter outer third.

    Only the breast's own grey counts, so that a bright label in the air does not turn the answer round. `found`: what
    `breast` found in the image, where that is known.
    """
    small, found = coarse(image), breast(image) if found is None else found
    small = small * found if found.any() else small
    third = max(1, small.shape[1] // 3)
    return "left" if small[:, :third].mean() >= small[:, -third:].mean() else "right"


def breast_range(image: np.ndarray) -> tuple[float, float] | None:
    """The 0.5th and the 99.5th percentile of the grey inside the breast of an (H, W) image.

    The percentiles are those that nnU-Net cuts CT at, inside its foreground (Isensee et al., Nature Methods 18, 2021):
    hot pixels and labels in the air do not reach them, so that they cannot squeeze the tissue into a few greys. What is
    far brighter than the tissue (`tissue_top`) does not count. None where no breast is found, or one of a single grey.
    """
    found = breast(image)
    if not found.any():
        return None
    rows, cols = (np.arange(side) * small // side for side, small in zip(image.shape, found.shape, strict=True))
    counts = np.cumsum(np.bincount(image[found[rows[:, None], cols]])[: tissue_top(image) + 1])
    low, high = (int(np.searchsorted(counts, share * counts[-1])) for share in INSIDE)
    return (float(low), float(high)) if low < high else None


def share_of_greys(image: np.ndarray, seen: np.ndarray) -> float:
    """Which share of the greys that a network sees, from the darkest to the brightest, the tissue of an image takes up.

    `seen`: the (H, W) image, or a part of it, resized. A label that is four times as bright as the tissue leaves the
    tissue a quarter, and so does a dead pixel that is as far below the air; where no breast is found, anything but such
    labels is tissue.
    """
    dark, top = breast_range(image) or (float(image.min()), float(tissue_top(image)))
    air = int(np.searchsorted(np.cumsum(np.bincount(image.ravel())), DEAD * image.size))
    low, high = float(seen.min()), float(seen.max())
    return (min(top, high) - max(min(air, dark), low)) / (high - low) if high > low else 1.0


def looks_inverted(image: np.ndarray) -> bool:
    """Whether the air is near white. The air is the more even one of the two outer tenths."""
    small = coarse(image)
    tenth = max(1, small.shape[1] // 10)
    air = min((small[:, :tenth], small[:, -tenth:]), key=np.std)
    return bool(np.median(air) > max(WHITE, small.mean()))


def pectoral(image: np.ndarray) -> NDArray[np.bool_] | None:
    """(H, W) bool: the muscle in the upper corner at the chest wall of an oblique view; None if no edge is found.

    Its edge is taken as straight (Karssemeijer, Phys. Med. Biol. 43, 1998): of all lines from the upper border to
    the chest wall, the one along which the image falls most from the muscle's side to the tissue's.
    """
    mirrored = chest_side(image) == "right"
    small = ndimage.gaussian_filter(coarse(image[:, ::-1] if mirrored else image), 1)
    rows, cols = small.shape
    tops, lefts = np.arange(0.1, 0.75, 0.02) * cols, np.arange(0.2, 0.95, 0.02) * rows
    edges = np.array([[_edge(small, top, left) for left in lefts] for top in tops])
    if edges.max() < LEAST_EDGE:
        return None
    top, left = (float(v[i]) for v, i in zip((tops, lefts), np.unravel_index(edges.argmax(), edges.shape), strict=True))
    row, col = np.ogrid[: image.shape[0], : image.shape[1]]
    col_share, row_share = (col + 0.5) / image.shape[1] * cols / top, (row + 0.5) / image.shape[0] * rows / left
    corner = col_share + row_share < 1
    return corner[:, ::-1] if mirrored else corner


def _edge(small: np.ndarray, top: float, left: float) -> float:
    """Mean fall of the image across the line from (row 0, column `top`) to (row `left`, column 0), 3 pixels apart."""
    along = np.linspace(0.1, 0.9, 40)
    row, col = along * left, (1 - along) * top
    length = np.hypot(top, left)
    step = 3 * np.array([top / length, left / length])  # outwards: (rows, columns)
    inner = ndimage.map_coordinates(small, (row - step[0], col - step[1]), order=1, mode="nearest")
    outer = ndimage.map_coordinates(small, (row + step[0], col + step[1]), order=1, mode="nearest")
    return float(np.median(inner - outer))
