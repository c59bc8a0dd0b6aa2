"""How the pixels of a batch make up the cells of each image's own grid, in one pass over the pixels.

Every image has cells of its own size. All these sizes are multiples of the smallest one, since they are powers of two,
or one fixed size, or the whole image. So the pixels of all images are added up over *base cells* of that smallest size,
at once; and base cells are added up into the cells of each image by an index, which follows from the sizes alone:

    pixels (N, H, W)  ->  base cells (N, R, C)  ->  cells (N, rows, columns)

Grids with fewer cells than the largest one are filled up with cells that have no pixel.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..cores.sums import quickly_applied
from .geometry import cut, distance_to_mass, grid_shape


class Layout(NamedTuple):
    """The base cells of a batch, and the cell that each belongs to."""

    base: tuple[int, ...]  # sides of a base cell in pixels
    shape: tuple[int, ...]  # rows and columns of the largest grid
    cell: Tensor | None = None  # (N, base cells) number of the cell, row by row; None: base cells are the cells
    front: tuple[int, ...] | None = None  # the grid begins so many rows and columns before the image

    def to(self, device: torch.device) -> "Layout":
        """The same on a device, without waiting for it."""
        return self if self.cell is None else self._replace(cell=self.cell.to(device, non_blocking=True))

    def cut(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """(N, H, W) as (N, R, h, C, w): the pixels of each base cell; what overhangs the image is filled."""
        return cut(x, self.base, fill, self.front)

    def add_up(self, maps: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """(N, R, C) maps of base cells added up to the images, (N,) each, and to cells, (N, rows, columns) each."""
        written = any(each.requires_grad for each in maps) and not torch.compiler.is_compiling()
        found = (_AddUp.apply if written else added_up)(self.cell, self.shape, *maps)
        return found[: len(maps)], found[len(maps) :]

    def largest(self, map: Tensor) -> Tensor:
        """(N, R, C), at least 0, to (N, rows, columns): the largest value in each cell."""
        if self.cell is None:
            return map
        cells = map.new_zeros(len(map), *self.shape).flatten(1)
        return cells.scatter_reduce(1, self.cell, map.flatten(1), "amax").unflatten(1, self.shape)


def added_up(cell: Tensor | None, shape: tuple[int, ...], *maps: Tensor) -> tuple[Tensor, ...]:
    """The sums over the images of all maps, then those over the cells of all maps: see `Layout.add_up`."""
    cells = torch.stack(maps)
    flat = cells.flatten(2)
    whole = flat.sum(2)
    if cell is not None:
        cells = flat.new_zeros(*flat.shape[:2], math.prod(shape))
        cells = cells.scatter_add(2, cell.expand(len(maps), -1, -1), flat).unflatten(2, shape)
    return *whole.unbind(), *cells.unbind()


@quickly_applied
class _AddUp(torch.autograd.Function):
    """`added_up`, whose gradient is read by the same index: a base cell has that of its image and that of its cell."""

    generate_vmap_rule = True

    @staticmethod
    def forward(cell: Tensor | None, shape: tuple[int, ...], *maps: Tensor) -> tuple[Tensor, ...]:
        return added_up(cell, shape, *maps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.cell, ctx.shape, first, *_ = inputs
        ctx.sides = first.shape[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        half = len(grads) // 2
        cells = torch.stack(grads[half:])
        if ctx.cell is not None:
            cells = cells.flatten(2).gather(2, ctx.cell.expand(half, -1, -1)).unflatten(2, ctx.sides)
        whole = torch.stack(grads[:half]).reshape(half, -1, *(1,) * len(ctx.sides))
        return None, None, *(cells + whole).unbind()

    @staticmethod
    def jvp(ctx: Any, _: object, __: object, *tangents: Tensor) -> tuple[Tensor, ...]:
        return added_up(ctx.cell, ctx.shape, *tangents)


def layout_of(sizes: Tensor, spatial: tuple[int, ...], least: tuple[int, ...]) -> Layout:
    """The layout of images with cells of these `sizes`, (N, axes).

    Sizes that lie on a GPU, or in a graph that is compiled, are not read: all shapes follow from the `least` sides.
    """
    if not readable(sizes):
        shape = grid_shape(spatial, least)
        begins = [torch.arange(0, side, step, device=sizes.device) for side, step in zip(spatial, least, strict=True)]
        return Layout(least, shape, cell_numbers(begins, sizes, shape))
    cells = [tuple(size) for size in sizes.tolist()]
    base = shared(cells, spatial)
    shape = tuple(max(counts) for counts in zip(*(grid_shape(spatial, cell) for cell in cells), strict=True))
    if all(cell == cells[0] for cell in cells):
        return Layout(base, shape)
    lines = [np.arange(0, side, step) for side, step in zip(spatial, base, strict=True)]
    return Layout(base, shape, torch.from_numpy(cell_numbers(lines, sizes.numpy(), shape)))


def moved_layout(sizes: Tensor, spatial: tuple[int, ...]) -> Layout:
    """The same, with the grid of each image beginning up to a cell before it, at random along each axis.

    The offset of an image is a multiple of the base cell, for which the index stands, plus a rest that all images
    share, for which padding does: so the offset of each is uniform. Where a cell is as long as the image, it stays.
    """
    cells, whole = sizes.numpy(), np.array(spatial)
    base = shared(sizes.tolist(), spatial)
    rest, *multiples = torch.randint(2**40, (len(sizes) + 1, len(base))).numpy()
    front = np.where((cells >= whole).all(0), 0, rest % base)
    padded = whole + front
    shift = np.where(cells >= whole, 0, np.stack(multiples) % np.maximum(cells // base, 1) * base)
    cells = np.where(cells >= whole, padded, cells)
    shape = tuple(np.ceil((shift + padded) / cells).astype(int).max(0).tolist())
    begins = [np.arange(0, side, step) + by[:, None] for side, step, by in zip(padded, base, shift.T, strict=True)]
    numbers = torch.from_numpy(cell_numbers(begins, cells, shape))
    return Layout(base, shape, numbers, tuple(front.tolist()))


def shared(cells: Sequence[Sequence[int]], spatial: tuple[int, ...]) -> tuple[int, ...]:
    """The sides of the base cell: the smallest cell's, or the image's where no cell is smaller.

    The greatest common divisor, since a `min_cell` need not be a power of two.
    """
    sides = []
    for axis, whole in zip(zip(*cells, strict=True), spatial, strict=True):
        smaller = [side for side in axis if side < whole]
        sides.append(math.gcd(*smaller) if smaller else whole)
    return tuple(sides)


def cell_numbers(begins: Sequence[Any], sizes: Any, shape: tuple[int, ...]) -> Any:
    """(N, base cells): the number of the cell, row by row in `shape`, that each base cell belongs to.

    `begins` holds, for each axis, the first pixels of the base cells, and `sizes` (N, axes) the sides of each image's
    cells; tensors or arrays.
    """
    lines = [begin // sizes[:, axis : axis + 1] for axis, begin in enumerate(begins)]
    numbers = lines[0]
    for line, count in zip(lines[1:], shape[1:], strict=True):
        numbers = (numbers[:, :, None] * count + line[:, None]).reshape(len(sizes), -1)
    return numbers


def distances(true: Tensor, step: Tensor | None = None) -> Tensor:
    """(N, rows, columns): how far each cell lies from the nearest true one of its grid; 0 where there is none.

    `step` (N, axes) is the length of a step along each axis, 1 if not given. Where values can be read, SciPy measures,
    whose time grows with the cells alone; elsewhere `distances_beside` does, which waits for nobody.
    """
    if not readable(true):
        return distances_beside(true, step)
    steps = [(1.0,) * (true.ndim - 1)] * len(true) if step is None else [tuple(row) for row in step.tolist()]
    grids = [distance_to_mass(grid, tuple(map(float, of))) for grid, of in zip(true.numpy(), steps, strict=True)]
    return torch.from_numpy(np.stack(grids))


def distances_beside(true: Tensor, step: Tensor | None = None) -> Tensor:
    """The same by tensors alone. One axis after the other, squared distances are the least of those of all lines plus
    the way to them."""
    squares = torch.full(true.shape, torch.inf, device=true.device).masked_fill_(true, 0)
    for axis in range(1, true.ndim):
        places = np.arange(true.shape[axis], dtype=np.float32)
        ways = torch.from_numpy(np.square(places[:, None] - places)).to(true.device, non_blocking=True)
        if step is not None:
            ways = ways * step[:, axis - 1, None, None].square()
            ways = ways.reshape(len(true), *(1,) * (true.ndim - 2), *ways.shape[1:])
        squares = (squares.movedim(axis, -1).unsqueeze(-2) + ways).amin(-1).movedim(-1, axis)
    return squares.sqrt().nan_to_num(posinf=0.0)


def readable(x: Tensor) -> bool:
    """Whether values can be read without waiting for a GPU or breaking a graph."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()
