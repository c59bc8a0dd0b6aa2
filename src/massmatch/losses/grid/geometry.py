"""The grid of one image: how large its cells are, how they are cut, how far each lies from a mass (section 3).

The paper sizes the cells after the masses of each image: the smallest height and the smallest width of the
masses' bounding boxes, each rounded to a power of two. Functions that measure take NumPy arrays and run on
the CPU; functions of the training step take tensors and hold no loop over cells.
"""

import math
from collections.abc import Callable

import numpy as np
import scipy  # loads its parts when they are used
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..cores.sums import region_max

STATISTICS: dict[str, Callable[..., np.ndarray]] = {
    "min": np.min,
    "mean": np.mean,
    "max": np.max,
}  # Fig. 3a compares the first two
ROUNDINGS = ("nearest", "up", "down")


def mass_sides(
    mass: Bool[np.ndarray, "*spatial"], instances: Int[np.ndarray, "*spatial"] | None = None
) -> Int[np.ndarray, "masses axes"]:
    """Bounding-box sides (height, width) in pixels of every mass, in the order of the image's axes.

    Masses are the 8-connected components of `mass` (26-connected in 3-D), or, where `instances` is given
    (0 = background), the labels of that map, so that touching masses stay apart.
    """
    if instances is None:
        labels, _ = scipy.ndimage.label(mass, np.ones((3,) * mass.ndim))
    else:
        labels = np.zeros(mass.shape, np.int64)  # numbered anew: find_objects goes up to the largest
        _, found = np.unique(instances[mass], return_inverse=True)  # of the masses' pixels alone: sorting all is slow
        labels[mass] = found + 1
    boxes = [box for box in scipy.ndimage.find_objects(labels) if box is not None]
    sides = [[axis.stop - axis.start for axis in box] for box in boxes]
    return np.array(sides, dtype=np.int64).reshape(-1, mass.ndim)


def power_of_two(side: float | int, rounding: str = "nearest") -> int:
    """`side` (at least 1) as a power of two: the nearest (a tie goes up), or the next up or down."""
    _, exponent = math.frexp(side)  # side = m 2^exponent with 1/2 <= m < 1
    below = 2 ** (exponent - 1)
    above = below if side == below else 2 * below
    if rounding == "nearest":
        return above if above - side <= side - below else below
    return above if rounding == "up" else below


def cell_size(
    mass: Bool[np.ndarray, "*spatial"],
    instances: Int[np.ndarray, "*spatial"] | None = None,
    *,
    statistic: str = "min",
    rounding: str = "nearest",
    min_cell: int = 4,
) -> tuple[int, ...]:
    """Cell sides for an image with this truth; the whole image where it holds no mass.

    Each side is the statistic of the masses' sides along that axis (independently, so height and width may
    come from different masses), rounded to a power of two, at least `min_cell` and at most the largest
    power of two within the image. The paper has no lower bound (`min_cell=1`); with 4, a speck of one pixel
    does not shatter the image into a cell per pixel.
    """
    sides = mass_sides(mass, instances)
    if not len(sides):
        return mass.shape
    wanted = STATISTICS[statistic](sides, axis=0)
    return tuple(
        min(max(power_of_two(float(side), rounding), min_cell), power_of_two(limit, "down"))
        for side, limit in zip(wanted, mass.shape, strict=True)
    )


def grid_shape(spatial: tuple[int, ...], cell: tuple[int, ...]) -> tuple[int, ...]:
    """Number of cells along each axis; the last one may be cut off by the border of the image."""
    return tuple(-(-side // step) for side, step in zip(spatial, cell, strict=True))


def cut(x: Tensor, cell: tuple[int, ...], fill: float = 0.0) -> Tensor:
    """(N, H, W) into cells (N, rows, h, columns, w): a view, or a copy padded with `fill` where cells overhang."""
    spatial = tuple(x.shape[-len(cell) :])
    grid = grid_shape(spatial, cell)
    if overhangs(spatial, cell):
        behind = [g * c - s for g, c, s in zip(grid, cell, spatial, strict=True)]
        x = F.pad(x, [side for more in reversed(behind) for side in (0, more)], value=fill)
    return x.reshape(*x.shape[: -len(cell)], *(side for pair in zip(grid, cell, strict=True) for side in pair))


def overhangs(spatial: tuple[int, ...], cell: tuple[int, ...]) -> bool:
    """Whether some cell is cut off by the border of the image."""
    return any(side % step for side, step in zip(spatial, cell, strict=True))


def cell_axes(dims: int) -> tuple[int, ...]:
    """The axes of `cut`'s result that run over the pixels of a cell: (-3, -1) for an image of two axes."""
    return tuple(range(1 - 2 * dims, 0, 2))


def cell_max(cells: Tensor, dims: int) -> Tensor:
    """The largest value in each cell of a grid."""
    return region_max(cells, cell_axes(dims))


def distance_to_mass(true: Bool[np.ndarray, "*grid"], unit: tuple[float, ...]) -> Float[np.ndarray, "*grid"]:
    """Distance from every cell to the nearest cell with true mass, 0 everywhere if there is none (Eq. 9).

    Euclidean on cell indices, each axis multiplied by its `unit` (the length of one step).
    """
    if not true.any():
        return np.zeros(true.shape)
    return scipy.ndimage.distance_transform_edt(~true, sampling=unit)
