"""What the truth alone decides about a grid: its cells, which of them hold mass, how far each lies from one.

Measured on the CPU, by labelling, so that a loader can do it and the training step need not (`facts`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..arrays import array
from ..call import Facts
from ..checks import one_of, require_labelled, require_whole
from .geometry import ROUNDINGS, STATISTICS, cell_max, cell_size, cut, distance_to_mass, grid_shape, power_of_two

DISTANCE_UNITS = ("cell", "pixel", "image")


class Truth(NamedTuple):
    """What the truth of one image says about its grid."""

    cell_size: tuple[int, ...]
    true: Tensor  # (*grid) bool
    distance: Tensor | None  # (*grid), from every cell to the nearest true one; None where nobody asks


@dataclass(frozen=True)
class GridRule:
    """How a grid follows from the truth: the options of `SpatialMatchingLoss` on which facts depend."""

    cell_size: tuple[int, ...] | None
    statistic: str
    rounding: str
    min_cell: int
    distance_unit: str

    @classmethod
    def of(
        cls, cell_size: int | Sequence[int] | None, statistic: str, rounding: str, min_cell: int, distance_unit: str
    ) -> "GridRule":
        """From the arguments of the loss; ValueError for one that is not allowed."""
        return cls(
            None if cell_size is None else whole_sides("cell_size", cell_size),
            one_of("cell_statistic", statistic, tuple(STATISTICS)),
            one_of("cell_rounding", rounding, ROUNDINGS),
            require_whole("min_cell", min_cell, 1, unit="pixels"),
            one_of("distance_unit", distance_unit, DISTANCE_UNITS),
        )

    def fixed(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """The given cell size for an image of these sides; a cell that is longer than the image ends with it."""
        sides, dims = self.cell_size or (), len(spatial)
        sides = sides * dims if len(sides) == 1 else sides
        if len(sides) != dims:
            raise ValueError(f"cell_size must have one side per spatial axis, {dims} here, but is {self.cell_size}")
        return tuple(min(pair) for pair in zip(sides, spatial, strict=True))

    def measure(self, target: Tensor, instances: Tensor | None, with_distance: bool) -> Truth:
        """Label, measure and cut one (*spatial) truth."""
        mass = array(target > 0.5)  # compared first: NumPy has no bfloat16
        labels = None if instances is None else array(instances).astype(np.int64)
        if labels is not None:
            require_labelled(mass, labels)
        if self.cell_size:
            cell = self.fixed(mass.shape)
        else:
            cell = cell_size(mass, labels, statistic=self.statistic, rounding=self.rounding, min_cell=self.min_cell)
        true = cell_max(cut(torch.from_numpy(mass).to(torch.uint8)[None], cell), mass.ndim)[0] > 0
        if not with_distance:
            return Truth(cell, true, None)
        return Truth(cell, true, torch.from_numpy(distance_to_mass(array(true), self.step(cell, mass.shape))))

    def step(self, cell: tuple[int, ...], spatial: tuple[int, ...]) -> tuple[float, ...]:
        """Length of a step from one cell to the next along each axis."""
        if self.distance_unit == "cell":
            return (1.0,) * len(cell)
        whole = spatial if self.distance_unit == "image" else (1,) * len(cell)
        return tuple(side / of for side, of in zip(cell, whole, strict=True))

    def steps(self, sizes: Tensor, spatial: tuple[int, ...]) -> Tensor | None:
        """(N, axes): the same of images with cells of these sizes, (N, axes); None where all of them are 1."""
        if self.distance_unit == "cell":
            return None
        return sizes / torch.tensor(spatial, device=sizes.device) if self.distance_unit == "image" else sizes

    def facts(self, target: Tensor, instances: Tensor | None, with_distance: bool) -> Facts:
        """Facts of one (C, *spatial) image; what is in them: see `GridLoss.facts`."""
        labels = [None] * len(target) if instances is None else instances
        truths = [self.measure(channel, of, with_distance) for channel, of in zip(target, labels, strict=True)]
        most = grid_shape(tuple(target.shape[1:]), self.least(tuple(target.shape[1:])))
        facts = {
            "cell_size": torch.tensor([truth.cell_size for truth in truths]),
            "true": filled([truth.true for truth in truths], most),
        }
        if with_distance:
            facts["distance"] = filled([truth.distance for truth in truths if truth.distance is not None], most)
        return facts

    def least(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Sides of which all cells that this rule can give are multiples, unless a cell is as long as the image.

        Cells are powers of two, or of `min_cell` pixels, or of the fixed size.
        """
        if self.cell_size:
            return self.fixed(spatial)
        power = self.min_cell & -self.min_cell  # the largest power of two that divides it
        return tuple(min(power, power_of_two(side, "down")) for side in spatial)


def filled(grids: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    """(N, *shape): grids of several sizes, each filled up with 0."""
    out = grids[0].new_zeros(len(grids), *shape)
    for row, grid in zip(out, grids, strict=True):
        row[tuple(slice(int(side)) for side in grid.shape)] = grid
    return out


def whole_sides(name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    """One or several whole numbers of at least 1 as a tuple."""
    sides = tuple(value) if isinstance(value, Sequence) else (value,)
    if not sides or not all(isinstance(s, Integral) and not isinstance(s, bool) and s >= 1 for s in sides):
        raise ValueError(
            f"{name} must be a whole number of pixels of at least 1, or one per axis such as (8, 16), but is {value!r}"
        )
    return tuple(int(side) for side in sides)
