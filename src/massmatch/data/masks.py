"""From a mask file of any kind to a map of masses."""

import math
import warnings

import numpy as np
from scipy import ndimage

from massmatch.data.errors import DataError, DataWarning
from massmatch.data.images import levels

# Share of the image: smaller pieces of a mask are slips of the hand. Of a detector of 24 x 30 cm it is 11 mm2; the
# smallest mass of INbreast has 15.
SPECK = 10 / 256**2
# Share of the image that masses hardly cover (at most 4 % in CBIS-DDSM), and what is said beyond it.
LARGE, INVERTED = 0.25, "an inverted mask, or one with a label for the breast?"
FRAMED = "reaches all four sides of the image: a frame around the mask?"
MOST_LABELS = 64  # values 1, 2, ..., n up to here are labels
NEAR = 0.1  # of the range: such greys count as black or white
GREY_TOLD = 0.01  # share of the mass's area in grey from which it is told (blurred edges of JPEG, smoothing)
GREY_REFUSED = 0.5  # from here it is a picture, no mask
FEW = 16  # greys that levels may have: a picture has more
PLATEAU = 0.05  # share of the mass's area with one and the same grey: a second level, no blur
SQUARE = np.ones((3, 3), bool)  # neighbours at corners, too
BLURRED = (
    "labels hold strips of one or two pixels along another label, as a blurred edge makes them (JPEG or smoothing), "
    "and each label counts as a mass: if it is blurred, save it without loss from its source"
)

BLOCKS = (
    "most of the mask's outline runs between blocks of 8 x 8 pixels, as in a mask of 0 and 1 that was saved as JPEG: "
    "if it was, save it without loss from its source"
)


def to_instances(pixels: np.ndarray, path: str) -> np.ndarray:
    """(H, W) uint8 or uint16 labels of the masses: 0, and 1..n.

    Masks of 0 and one other value are cut into 8-connected components; values 1, 2, ..., n are labels already;
    greys are thresholded at half of the largest value, with a DataWarning from 1 % of the area. Labels with what looks
    like the fringe of a blurred edge are kept, with a DataWarning.

    Raises DataError, which begins with the path, for more than two levels, for labels around one another, or for what
    looks like a picture.
    """
    values = levels(pixels)
    if values.tolist() == [1] and in_blocks(pixels):
        warnings.warn(f"{path}: {BLOCKS}", DataWarning, stacklevel=2)
    if len(values) > 1 and values[-1] <= MOST_LABELS and (values == np.arange(1, len(values) + 1)).all():
        if are_blurred(pixels, path):
            warnings.warn(f"{path}: {BLURRED}", DataWarning, stacklevel=2)
        return pixels
    if len(values) > 1:
        _check_greys(pixels, path)
        pixels = pixels > values[-1] / 2
    labels, count = ndimage.label(pixels > 0, SQUARE)
    if count > np.iinfo(np.uint16).max:
        raise DataError(f"{path}: must hold at most 65535 masses, but holds {count} separate specks: clean it")
    return labels.astype(np.uint8 if count < 256 else np.uint16)


def are_blurred(labels: np.ndarray, path: str) -> bool:
    """Whether a piece of some label of an (H, W) map is a strip along another label, as masses that touch hardly are.

    Raises DataError, which begins with the path, for labels 1, 2, ..., n from 3 on that lie around one another.
    """
    count = len(levels(labels))
    if count > 2 and int(labels.max()) == count and _are_rings(labels, count):
        raise DataError(
            f"{path}: its labels 1 to {count} lie around one another, as a blurred edge makes them (JPEG or "
            "smoothing): save the mask without loss, with one number for each mass"
        )
    padded = np.pad(labels, 1)
    boxes = [(value, box) for value, box in enumerate(ndimage.find_objects(padded), start=1) if box is not None]
    around = ((value, padded[tuple(slice(axis.start - 1, axis.stop + 1) for axis in box)]) for value, box in boxes)
    return any(_has_fringe(part == value, part > 0) for value, part in around)


def in_blocks(mask: np.ndarray) -> bool:
    """Whether most of the outline of an (H, W) mask of one value runs between blocks of 8 x 8 pixels.

    Of masses that people drew it is some 12 % (at most 46 % in CBIS-DDSM), of masks of 0 and 1 in JPEG of quality 75
    nearly all of it. A rectangle may be drawn so.
    """
    steps = [np.diff((mask > 0).astype(np.int8), axis=axis) != 0 for axis in (0, 1)]
    on_blocks = int(steps[0][7::8].sum() + steps[1][:, 7::8].sum())
    if 2 * on_blocks <= steps[0].sum() + steps[1].sum():
        return False
    pieces, _ = ndimage.label(mask > 0, SQUARE)
    return not all((pieces[box] > 0).all() for box in ndimage.find_objects(pieces))


def frames(instances: np.ndarray) -> list[int]:
    """The numbers of the masses that reach all four sides of the image, and cover no more than a quarter of it."""
    whole = tuple(slice(0, side) for side in instances.shape)
    boxes = enumerate(ndimage.find_objects(instances), start=1)
    return [number for number, box in boxes if box == whole and (instances == number).mean() <= LARGE]


def _has_fringe(own: np.ndarray, mass: np.ndarray) -> bool:
    """Whether an 8-connected piece of a label touches another label and holds no square of 3 x 3 pixels."""
    touching = own & ndimage.binary_dilation(mass & ~own, SQUARE)
    if not touching.any():
        return False
    pieces, _ = ndimage.label(own, SQUARE)
    return bool(np.setdiff1d(pieces[touching], pieces[ndimage.binary_erosion(own, SQUARE)]).size)


def _are_rings(labels: np.ndarray, count: int) -> bool:
    """Whether each label touches the next one, as the steps of a slope do, and masses that happen to touch do not."""
    box = ndimage.find_objects((labels > 0).astype(np.uint8))[0]
    inside = labels[box].astype(np.int32)
    touched: set[int] = set()
    for rows, cols in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = inside[: len(inside) - rows, max(0, -cols) : inside.shape[1] - max(0, cols)]
        other = inside[rows:, max(0, cols) : inside.shape[1] + min(0, cols)]
        lower = np.minimum(one, other)
        touched |= set(np.unique(lower[(np.abs(one - other) == 1) & (lower > 0)]).tolist())
    return touched >= set(range(1, count))


def _check_greys(pixels: np.ndarray, path: str) -> None:
    """Warn of greys, DataError for levels and pictures."""
    top = int(pixels.max())
    counts = np.bincount(pixels.ravel(), minlength=top + 1)
    values = np.arange(top + 1)
    grey = (values > NEAR * top) & (values < (1 - NEAR) * top)
    area = int(counts[values > top / 2].sum())
    share = counts[grey].sum() / max(area, 1)
    plateaus = values[grey & (counts > max(PLATEAU * area, 20))].tolist()
    if share > GREY_REFUSED and (grey & (counts > 0)).sum() > FEW:
        raise DataError(
            f"{path}: must be a mask, but {counts[grey].sum()} of its pixels are grey and {area} bright "
            "(is it an image?): replace it"
        )
    if plateaus:
        raise DataError(
            f"{path}: a mask must hold 0 and one other value, or labels 1, 2, ..., but holds the levels "
            f"{[0, *plateaus, top][:6]}: save one level, or labels"
        )
    if share > GREY_TOLD:
        text = f"{path}: {100 * share:.1f} % of the mass's area is grey (JPEG or smoothing); thresholded at half range"
        warnings.warn(text, DataWarning, stacklevel=3)


def speck_limit(shape: tuple[int, ...]) -> int:
    """From how many pixels on a piece of a mask may be a mass, in an image of (rows, columns).

    speck_limit((256, 256))  # 10; a single pixel of an image of 64 x 64 is as large as 16 of these
    """
    return max(1, round(SPECK * math.prod(shape)))


def without_specks(instances: np.ndarray, least: int) -> tuple[np.ndarray, list[int]]:
    """An (H, W) map of masses without its 8-connected pieces of fewer than `least` pixels, and the areas of those."""
    boxes = ndimage.find_objects((instances > 0).astype(np.uint8))
    if least < 2 or not boxes:
        return instances, []
    box = boxes[0]
    pieces, _ = ndimage.label(instances[box], SQUARE)
    areas = np.bincount(pieces.ravel())
    small = areas < least
    small[0] = False
    cleaned = instances.copy()
    cleaned[box][small[pieces]] = 0
    return cleaned, sorted(areas[small].tolist())


def merged(parts: list[np.ndarray]) -> np.ndarray:
    """Label maps of one image as one (H, W): later ones count on from earlier ones, and win where they overlap."""
    total = sum(int(part.max()) for part in parts)
    labels = np.zeros(parts[0].shape, np.uint8 if total < 256 else np.uint16)
    count = 0
    for part in parts:
        labels[part > 0] = part[part > 0] + labels.dtype.type(count)
        count += int(part.max())
    return labels
