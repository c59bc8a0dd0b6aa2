"""How the pixels of a batch make up the cells of each image's own grid, in one pass over the pixels.

Every image has cells of its own size. All these sizes are multiples of the smallest one, since they are powers of two,
or one fixed size, or the whole image. So the pixels of all images are added up over *base cells* of that smallest size,
at once; and base cells are added up into the regions of each image by an index, which follows from the sizes alone:

    pixels (N, H, W)  ->  base cells (N, R, C)  ->  regions (N, 1 + cells)

The first region is the image itself, the others are its cells, row by row. Grids with fewer cells than the largest one
are filled up with cells that have no pixel.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..arrays import array
from ..call import Facts
from ..cores.sums import BACKGROUND, quickly_applied, summed
from .rule import GridRule


class Layout(NamedTuple):
    """The base cells of a batch, and the cell that each belongs to."""

    base: tuple[int, ...]  # sides of a base cell in pixels
    shape: tuple[int, ...]  # rows and columns of the largest grid
    sides: tuple[int, ...]  # (R, h, C, w), as the pixels are cut into base cells
    axes: tuple[int, ...]  # those of the pixels of a base cell among these, h and w
    pad: tuple[int, ...] | None  # pixels by which base cells overhang the image, in the order of F.pad
    region: Tensor | None = None  # (N, base cells) number of the region; None: base cells are the cells
    first: Tensor | None = None  # (axes,) where the first base cell begins in the padded images; None: at their corner

    def add_up(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """(N, R, C) maps of base cells added up to regions, (N, 1 + cells) each."""
        if not any(each.requires_grad for each in maps):  # which a derivative taken forwards does not ask for either
            return list(_AddUp.forward(self.region, math.prod(self.shape), *maps))
        add = _AddUp.forward if torch.compiler.is_compiling() else _AddUp.apply  # a compiler writes the gradient
        found = add(self.region, math.prod(self.shape), *maps)
        return [sums if each.requires_grad else sums.detach() for sums, each in zip(found, maps, strict=True)]

    def largest(self, map: Tensor) -> Tensor:
        """(N, R, C), at least 0, to (N, rows, columns): the largest value in each cell."""
        if self.region is None:
            return map
        regions = map.new_zeros(len(map), 1 + math.prod(self.shape))
        return regions.scatter_reduce(1, self.region, map.flatten(1), "amax")[:, 1:].unflatten(1, self.shape)


@quickly_applied
class _AddUp(torch.autograd.Function):
    """See `Layout.add_up`. The gradient is read by the same index: a base cell has its image's and its cell's."""

    generate_vmap_rule = True

    @staticmethod
    def forward(region: Tensor | None, cells: int, *maps: Tensor) -> tuple[Tensor, ...]:
        flat = torch.stack(maps).flatten(2)
        found = flat
        if region is not None:
            found = flat.new_zeros(*flat.shape[:2], 1 + cells).scatter_add(2, region.expand(len(maps), -1, -1), flat)
            found = found[..., 1:]
        return torch.cat([flat.sum(2, keepdim=True), found], 2).unbind()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.region, ctx.cells, first, *_ = inputs
        ctx.sides = first.shape[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[2:]
        regions = torch.stack([grad for grad, asked in zip(grads, wanted, strict=True) if asked])
        of_cells = regions[..., 1:]
        if ctx.region is not None:
            of_cells = regions.gather(2, ctx.region.expand(len(regions), -1, -1))
        found = iter((of_cells + regions[..., :1]).unflatten(2, ctx.sides).unbind())
        return None, None, *(next(found) if asked else None for asked in wanted)

    @staticmethod
    def jvp(ctx: Any, _: object, __: object, *tangents: Tensor) -> tuple[Tensor, ...]:
        return _AddUp.forward(ctx.region, ctx.cells, *tangents)


class Images(NamedTuple):
    """Images with one channel each, and what is known of their grids."""

    logits: Tensor  # (N, *spatial)
    target: Tensor  # (N, *spatial)
    valid: Tensor | None  # (N, *spatial), 1 for the pixels that count; None for all of them
    sizes: Tensor  # (N, axes), sides of each image's cells in pixels
    layout: Layout
    true: Tensor | None = None  # (N, *grid) bool, cells with true mass; None where the pixels have to say
    distance: Tensor | None = None  # (N, *grid), from the nearest of them; None where nobody has measured it

    @property
    def spatial(self) -> tuple[int, ...]:
        """Sides of the images in pixels."""
        return tuple(self.target.shape[1:])

    def in_base_cells(self, from_logits: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Logits and target as (N, R, h, C, w), and (N, R, C) how many pixels of each base cell count.

        All others are background that is certainly predicted as such, so that they add 0 to every sum.
        """
        logits, target, valid, _, layout, *_ = self
        background = BACKGROUND if from_logits else 0.0
        if valid is not None:  # behind it the target is 0 already
            logits = logits.masked_fill(valid == 0, background)
        if layout.pad is not None:
            valid = torch.ones_like(target[:1]) if valid is None else valid
            filled = (logits, background), (target, 0.0), (valid, 0.0)
            maps = [F.pad(each, layout.pad, value=fill) for each, fill in filled]
            for axis, first in enumerate(() if layout.first is None else layout.first, 1):
                lines = first + torch.arange(math.prod(layout.sides[2 * axis - 2 : 2 * axis]), device=first.device)
                maps = [each.index_select(axis, lines) for each in maps]
            logits, target, valid = maps
        pixels = target.new_full((1,), math.prod(layout.base))
        if valid is not None:
            (pixels,) = summed(layout.axes, valid.reshape(-1, *layout.sides))
        cut = (len(target), *layout.sides)
        return logits.reshape(cut), target.reshape(cut), pixels.expand(len(target), *layout.sides[::2])


def images_of(
    logits: Tensor,
    target: Tensor,
    valid: Tensor | None,
    facts: Sequence[Facts] | None,
    rule: GridRule,
    by_distance: bool,
    *,
    moved: bool = False,
) -> Images:
    """(B, C, *spatial) images with the grids that the facts give them; without facts, of the fixed size.

    With `moved` each grid begins at random, and nothing is known of its cells. ValueError for facts that lack what the
    loss needs.
    """
    logits, target = logits.flatten(0, 1), target.flatten(0, 1)
    valid = None if valid is None else valid.flatten(0, 1)
    spatial = tuple(target.shape[1:])
    if facts is None:
        sizes = torch.tensor([rule.least(spatial)]).expand(len(target), -1)
    else:
        needed = {"cell_size", "true"} | ({"distance"} if by_distance else set())
        for i, fact in enumerate(facts):
            if missing := needed - fact.keys():
                raise ValueError(
                    f"facts[{i}] lacks {', '.join(sorted(missing))}: make it with the facts() of this loss"
                )
        sizes = torch.cat([fact["cell_size"] for fact in facts])
    if rule.cell_size is not None and not moved:
        layout = arranged(spatial, rule.least(spatial))
    elif sizes.device.type == "cpu" and not torch.compiler.is_compiling():
        known = np.array(sizes.tolist())  # a few numbers; `numpy()` fails on what torch.func has wrapped
        layout = layout_of(known, spatial, logits.device, moved=moved)
    else:
        layout = layout_beside(sizes, spatial, rule.least(spatial), moved=moved)
    if facts is None or moved:
        return Images(logits, target, valid, sizes, layout)
    within = (slice(None), *[slice(n) for n in layout.shape])
    true, distance = [
        torch.cat([fact[name][within] for fact in facts]).to(logits.device, non_blocking=True)
        if name in facts[0]
        else None
        for name in ("true", "distance")
    ]
    return Images(logits, target, valid, sizes, layout, true, distance)


def arranged(
    spatial: Sequence[int],
    base: Sequence[int],
    shape: Sequence[int] | None = None,
    region: Tensor | None = None,
    front: Sequence[int] = (),
) -> Layout:
    """The layout of images of these sides that begins `front` pixels before them, with as many cells as base cells
    unless `shape` tells."""
    ahead = front or [0] * len(base)
    pads = [(before, -(before + side) % step) for before, side, step in zip(ahead, spatial, base, strict=True)]
    lines = [(sum(pad) + side) // step for pad, side, step in zip(pads, spatial, base, strict=True)]
    sides = [side for pair in zip(lines, base, strict=True) for side in pair]
    pad = tuple([side for pair in reversed(pads) for side in pair])
    axes = tuple(range(1 - len(sides), 0, 2))
    return Layout(tuple(base), tuple(shape or lines), tuple(sides), axes, pad if any(pad) else None, region)


def layout_of(cells: np.ndarray, spatial: tuple[int, ...], device: torch.device, *, moved: bool = False) -> Layout:
    """The layout of images with cells of these sides, (N, axes).

    Base cells are as large as the smallest cell, or as their greatest common divisor, since a `min_cell` need not be a
    power of two. With `moved` the grid of each image begins up to a cell before it, at random along each axis. This
    offset is a multiple of the base cell, for which the index stands, plus a rest that all images share, for which
    padding does: so the offset of each is uniform. Where a cell is as long as the image, it stays.
    """
    columns = list(zip(cells.T.tolist(), spatial, strict=True))
    base = [math.gcd(*[cell for cell in column if cell < side]) or side for column, side in columns]
    if not moved and (cells == cells[0]).all():
        return arranged(spatial, base)
    if not moved:
        begins = [np.arange(0, side, step) for side, step in zip(spatial, base, strict=True)]
        shape = [-(-side // min(column)) for column, side in columns]
        numbers = torch.from_numpy(region_numbers(begins, cells, shape)).to(device, non_blocking=True)
        return arranged(spatial, base, shape, numbers)
    rest, *multiples = array(torch.randint(2**40, (len(cells) + 1, len(base))))
    whole, smaller = np.array(spatial), cells < spatial
    front = np.where(smaller.any(0), rest % base, 0)
    shift = np.where(smaller, np.stack(multiples) % np.maximum(cells // base, 1) * base, 0)
    cells = np.where(smaller, cells, whole + front)
    shape = (-(-(shift + whole + front) // cells)).max(0).tolist()
    begins = [
        np.arange(0, side, step) + by[:, None] for side, step, by in zip(whole + front, base, shift.T, strict=True)
    ]
    numbers = torch.from_numpy(region_numbers(begins, cells, shape)).to(device, non_blocking=True)
    return arranged(spatial, base, shape, numbers, front.tolist())


def layout_beside(sizes: Tensor, spatial: tuple[int, ...], least: tuple[int, ...], *, moved: bool = False) -> Layout:
    """The same of sizes that are not read, since they lie on a GPU or in a graph that is being compiled: all shapes
    follow from the `least` sides. With `moved` the pixels that base cells begin with are taken by an index."""
    if not moved:
        layout = arranged(spatial, least)
        begins = [torch.arange(0, side, step, device=sizes.device) for side, step in zip(spatial, least, strict=True)]
        return layout._replace(region=region_numbers(begins, sizes, layout.shape))
    base, whole = (torch.tensor(sides, device=sizes.device) for sides in (least, spatial))
    rest, *multiples = torch.randint(2**40, (len(sizes) + 1, len(least)), device=sizes.device)
    smaller = sizes < whole
    shift = torch.where(smaller, torch.stack(multiples) % (sizes // base).clamp(min=1) * base, 0)
    lines = [-(-(side + step - 1) // step) for side, step in zip(spatial, least, strict=True)]
    begins = [
        torch.arange(count, device=sizes.device) * step + by[:, None]
        for count, step, by in zip(lines, least, shift.T, strict=True)
    ]
    numbers = region_numbers(begins, torch.where(smaller, sizes, whole + base), lines)
    room = [count * step for count, step in zip(lines, least, strict=True)]
    layout = arranged(room, least, lines, numbers)
    pads = [(step, size - side) for step, size, side in zip(least, room, spatial, strict=True)]
    return layout._replace(pad=tuple([side for pair in reversed(pads) for side in pair]), first=base - rest % base)


def region_numbers(begins: Sequence[Any], sizes: Any, shape: Sequence[int]) -> Any:
    """(N, base cells): the number of the region that each base cell belongs to, 1 and more: row by row in `shape`.

    `begins` holds, for each axis, the first pixels of the base cells, and `sizes` (N, axes) the sides of each image's
    cells; tensors or arrays.
    """
    lines = [begin // sizes[:, axis : axis + 1] for axis, begin in enumerate(begins)]
    numbers = lines[0]
    for line, count in zip(lines[1:], shape[1:], strict=True):
        numbers = (numbers[:, :, None] * count + line[:, None]).reshape(len(sizes), -1)
    return numbers + 1
