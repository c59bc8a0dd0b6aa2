"""What the truth alone decides about a grid: its cells, which of them hold mass, how far each lies from one.

Measured on the CPU, by labelling, so that a loader can do it and the training step need not (`facts`).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..base import Facts, one_of
from .geometry import ROUNDINGS, STATISTICS, cell_max, cell_size, cut, distance_to_mass, grid_shape

DISTANCE_UNITS = ("cell", "pixel", "image")


class Truth(NamedTuple):
    """One image's grid; `None` where the training step finds it out by itself."""

    cell_size: tuple[int, ...]
    true: Tensor | None  # (*grid) bool
    distance: Tensor | None  # (*grid), from every cell to the nearest true one


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
            whole_sides("min_cell", min_cell)[0],
            one_of("distance_unit", distance_unit, DISTANCE_UNITS),
        )

    def fixed(self, dims: int) -> tuple[int, ...]:
        """The given cell size for an image of so many axes."""
        sides = self.cell_size or ()
        sides = sides * dims if len(sides) == 1 else sides
        if len(sides) != dims:
            raise ValueError(f"cell_size must have one side per spatial axis, {dims} here, but is {self.cell_size}")
        return sides

    def measure(self, target: Tensor, instances: Tensor | None, with_distance: bool) -> Truth:
        """Label, measure and cut one (*spatial) truth."""
        mass = target.detach().cpu().numpy() > 0.5
        labels = None if instances is None else instances.detach().cpu().numpy().astype(np.int64)
        if labels is not None and (mass & (labels == 0)).any():
            raise ValueError("instances must label every pixel of true mass, but some are 0 (background)")
        if self.cell_size:
            cell = self.fixed(mass.ndim)
        else:
            cell = cell_size(mass, labels, statistic=self.statistic, rounding=self.rounding, min_cell=self.min_cell)
        true = cell_max(cut(torch.from_numpy(mass).to(torch.uint8)[None], cell), mass.ndim)[0] > 0
        if not with_distance:
            return Truth(cell, true, None)
        return Truth(cell, true, torch.from_numpy(distance_to_mass(true.numpy(), self.step(cell, mass.shape))))

    def step(self, cell: tuple[int, ...], spatial: tuple[int, ...]) -> tuple[float, ...]:
        """Length of a step from one cell to the next along each axis."""
        steps = {
            "cell": [1] * len(cell),
            "pixel": cell,
            "image": [side / whole for side, whole in zip(cell, spatial, strict=True)],
        }
        return tuple(float(step) for step in steps[self.distance_unit])

    def facts(self, target: Tensor, instances: Tensor | None, with_distance: bool) -> Facts:
        """Facts of one (C, *spatial) image; what is in them: see `SpatialMatchingLoss.facts`."""
        labels = [None] * len(target) if instances is None else instances
        channels = [self.measure(channel, of, with_distance) for channel, of in zip(target, labels, strict=True)]
        facts = {
            "cell_size": torch.tensor([truth.cell_size for truth in channels]),
            "true": padded([truth.true for truth in channels if truth.true is not None]),
            "size": torch.tensor(target.shape[1:]),
            "options": torch.tensor(self._code()),
        }
        if with_distance:
            facts["distance"] = padded([truth.distance for truth in channels if truth.distance is not None])
        return facts

    def recall(self, fact: Facts, channel: int, spatial: tuple[int, ...], with_distance: bool) -> Truth:
        """The truth of one channel from its image's facts, the grid cut back from the largest one."""
        # A fixed size is not read from the tensor, so that a compiler gets through without a break.
        cell = self.fixed(len(spatial)) if self.cell_size else tuple(int(s) for s in fact["cell_size"][channel])
        within = tuple(slice(n) for n in grid_shape(spatial, cell))
        return Truth(cell, fact["true"][channel][within], fact["distance"][channel][within] if with_distance else None)

    def check(self, fact: Facts, name: str, shape: tuple[int, ...], with_distance: bool) -> None:
        """Raise ValueError for facts of another loss, or of an image that is not (C, *spatial) = `shape`."""
        needed = {"cell_size", "true", "size", "options"} | ({"distance"} if with_distance else set())
        if missing := needed - fact.keys():
            raise ValueError(f"{name} lacks {', '.join(sorted(missing))}: make it with the facts() of this loss")
        if int(fact["options"]) != self._code():
            raise ValueError(
                f"{name} was made by a loss with other grid options: make it with the facts() of this loss"
            )
        of = (len(fact["cell_size"]), *fact["size"].tolist())
        if of != shape:
            raise ValueError(f"{name} is of an image {of}, but target's are {shape}")

    def _code(self) -> int:
        """A number for all options."""
        return zlib.crc32(repr(self).encode())


def hidden(target: Tensor, instances: Tensor | None, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Truth and instances without what lies outside the mask."""
    if valid is None:
        return target, instances
    return target * valid, None if instances is None else torch.where(valid > 0, instances, 0)


def hides_mass(target: Tensor, valid: Tensor) -> bool:
    """Whether true mass lies outside the mask, so that facts of the whole truth do not hold (a compiler never asks)."""
    return not torch.compiler.is_compiling() and bool(((target > 0.5) & (valid == 0)).any())


def stacked(truths: Sequence[Truth], device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    """True cells and distances of images with the same grid as (N, *grid)."""
    true = [truth.true for truth in truths if truth.true is not None]
    distance = [truth.distance for truth in truths if truth.distance is not None]
    return (
        torch.stack(true).to(device, non_blocking=True) if true else None,
        torch.stack(distance).to(device, non_blocking=True) if distance else None,
    )


def padded(grids: Sequence[Tensor]) -> Tensor:
    """Grids of several sizes in one tensor, filled with 0."""
    shape = [max(sides) for sides in zip(*(grid.shape for grid in grids), strict=True)]
    out = grids[0].new_zeros(len(grids), *shape)
    for row, grid in zip(out, grids, strict=True):
        row[tuple(slice(int(side)) for side in grid.shape)] = grid
    return out


def whole_sides(name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    """One or several whole numbers of at least 1 as a tuple."""
    sides = (value,) if isinstance(value, int) else tuple(value)
    if not sides or not all(isinstance(s, int) and not isinstance(s, bool) and s >= 1 for s in sides):
        raise ValueError(f"{name} must be a whole number of pixels of at least 1, or one per axis, not {value!r}")
    return sides
