"""What one image of a cohort looks like, in numbers that `check` compares."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from massmatch.data.masks import SQUARE, frames, speck_limit
from massmatch.data.preprocessing.breast import breast, chest_side, looks_inverted, share_of_greys
from massmatch.data.preprocessing.resize import resized
from massmatch.data.sample import Sample

THUMB = 32  # pixels a side of the picture by which near duplicates are found
EDGE = 3  # columns at each side
BRIGHT, LONG = 0.95, 0.3  # of the range; of the height: a border of film or a label, not skin
TOP = 0.999  # of the range: saturated


@dataclass(frozen=True, eq=False)
class Look:
    """One image and its mask. Areas in pixels, shares of 1."""

    id: str
    shape: tuple[int, int]
    bits: int
    image_digest: str
    mask_digest: str
    thumb: NDArray[np.float32]  # (THUMB, THUMB), mean 0 and length 1; all 0 for an even image
    even: bool
    inverted: bool
    chest: str  # left or right
    bright_edge: bool
    greys: float  # share of the greys that the tissue takes up
    saturated: float  # share of the breast at the highest grey
    areas: list[int]  # of each mass
    pieces: list[int]  # areas of the 8-connected pieces of all masses
    sides: list[int]  # smaller side of each mass's bounding box
    scattered: bool  # pieces of one mass lie far apart (`is_scattered`)
    framed: bool  # a mass looks like a frame around the mask (`frames`)
    off_breast: list[float]  # share of each mass on air


def look(sample: Sample) -> Look:
    """Measure how one image and its masses look, for the checks."""
    image, labels = sample.image, sample.instances
    boxes = [(n, box) for n, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None]
    components, count = ndimage.label(labels > 0, np.ones((3, 3)))
    even = image.min() == image.max()
    found = breast(image)
    air = np.zeros(image.shape, bool) if even else _air(image, found)
    masses = [labels[box] == n for n, box in boxes]
    return Look(
        id=sample.id,
        shape=image.shape,
        bits=8 * image.dtype.itemsize,
        image_digest=hashlib.sha256(image.tobytes()).hexdigest(),
        mask_digest=hashlib.sha256((labels > 0).tobytes()).hexdigest(),
        thumb=thumbnail(image),
        even=bool(even),
        inverted=not even and looks_inverted(image),
        chest=chest_side(image, found),
        bright_edge=not even and bright_edge(image),
        greys=share_of_greys(image, image),
        saturated=0.0 if even else float((image[~air] >= image.max() * TOP).mean()) if not air.all() else 0.0,
        areas=[int(mass.sum()) for mass in masses],
        pieces=np.bincount(components.ravel(), minlength=count + 1)[1:].tolist(),
        sides=[min(mass.shape) for mass in masses],
        scattered=any(is_scattered(mass, speck_limit(image.shape)) for mass in masses),
        framed=bool(frames(labels)),
        off_breast=[float(air[box][mass].mean()) for (_, box), mass in zip(boxes, masses, strict=True)],
    )


def is_scattered(mass: NDArray[np.bool_], least: int) -> bool:
    """Whether a piece of an (H, W) mass lies farther from its largest piece than that one is long.

    Pieces are 8-connected; those of fewer than `least` pixels do not count.
    """
    pieces, _ = ndimage.label(mass, SQUARE)
    areas = np.bincount(pieces.ravel())[1:]
    boxes = [box for area, box in zip(areas, ndimage.find_objects(pieces), strict=True) if area >= least]
    if len(boxes) < 2:
        return False
    large = boxes[int(areas[areas >= least].argmax())]
    length = max(side.stop - side.start for side in large)
    return any(
        max(one.start - other.stop, other.start - one.stop) > length
        for box in boxes
        for one, other in zip(box, large, strict=True)
    )


def _air(image: np.ndarray, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool: everything but the breast found; nothing where no breast was."""
    if not found.any():
        return np.zeros(image.shape, bool)
    rows, cols = (np.arange(side) * small // side for side, small in zip(image.shape, found.shape, strict=True))
    return ~found[rows[:, None], cols]


def thumbnail(image: np.ndarray) -> NDArray[np.float32]:
    """(THUMB, THUMB) by area, mean 0 and length 1, so that a product of two is their correlation."""
    small = resized(image, (THUMB, THUMB))
    small = small - small.mean()
    return (small / max(float(np.linalg.norm(small)), 1e-6)).astype(np.float32)


def bright_edge(image: np.ndarray) -> bool:
    """Whether a nearly white run stands in the outermost columns: the border of a film."""
    low, high = float(image.min()), float(image.max())
    sides = np.concatenate([image[:, :EDGE], image[:, -EDGE:]], axis=1)
    white = sides >= low + BRIGHT * (high - low)
    return bool((white.mean(axis=0) >= LONG).any())
