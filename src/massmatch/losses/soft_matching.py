"""Soft Spatial Matching: what the Spatial Matching loss is after, with a gradient wherever one is needed.

    L = L(P, Y)                                               the core over the image
        + found mean_i Dice(p_i, y_i)                         over the N cells with true mass
        + stray log(1 + sum_j w_j mean(p_j) / N)              over the cells j without, w_j = sigma(d_j)
        + count |log((1 + sum_i max(p_i)) / (1 + N))|         over all cells

on the grid of the faithful loss (`spatial_matching.py`), d_j the distance of a cell from the nearest one with mass.
An image without mass is one cell without mass, d = 0, and divided by 1. No threshold is put to the prediction, so that
nothing jumps, and a cell that the network makes up does not change what the others count. `docs/repaired.md` has the
fault of the faithful loss that each term mends, and what each is worth on real mammograms.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import one_of
from .cores.base import Dice, SumCore, Tversky, overlap_sums, region_sum, require_number, require_switch
from .cores.mixed import Hybrid
from .grid.facts import GridRule, Truth
from .grid.geometry import cell_axes, cell_max, cut, distance_to_mass
from .grid.loss import GridLoss, SameGrid, call_core, joined, valid_pixels
from .spatial_matching import core_of


class Cells(NamedTuple):
    """What is known of the cells of one size, (N, *grid) each."""

    tp: Tensor  # sum of y p
    p: Tensor  # sum of p
    y: Tensor  # sum of y
    pixels: Tensor  # how many of them count
    most: Tensor  # the largest p; 0 where nothing asks for it
    true: Tensor  # with true mass; bool
    distance: Tensor  # from the nearest true cell; 0 where nothing asks for it

    def doubled(self, unit: float) -> "Cells":
        """The same of cells twice as large. Their distance is `unit` times that of the nearest cell within."""
        dims = self.true.ndim - 1
        twice = (2,) * dims
        tp, p, y, pixels = (region_sum(cut(x, twice), cell_axes(dims)) for x in self[:4])
        most = cell_max(cut(self.most, twice), dims)
        true = cell_max(cut(self.true.to(torch.uint8), twice), dims) > 0
        inside = self.distance.masked_fill(self.pixels == 0, torch.inf)
        near = -cell_max(cut(-inside, twice, -torch.inf), dims)
        return Cells(tp, p, y, pixels, most, true, unit * near)


class Level(NamedTuple):
    """The terms over the cells of one size; (N,), or (N, *grid) where it says cells."""

    weight: float  # of the level; those of all levels add up to 1
    dice: Tensor  # cells: Dice(p_i, y_i)
    mean: Tensor  # cells: mean(p_i)
    true: Tensor  # cells with true mass; bool
    without: Tensor  # cells without, of which some pixel counts; bool
    distance: Tensor  # cells: d_j
    by_distance: Tensor  # cells: w_j
    found: Tensor  # cells: found Dice(p_i, y_i) / N, which add up to the second term
    stray: Tensor  # cells: the third term, shared out in proportion to w_j mean(p_j)
    balance: Tensor  # the fourth term

    @property
    def loss(self) -> Tensor:
        """(N,): weight times the three terms."""
        return self.weight * ((self.found + self.stray).flatten(1).sum(1) + self.balance)

    def shared_out(self, times: int, first: Tensor) -> Tensor:
        """`loss` over the cells of the first level, of which `times` make one of this level along each axis."""
        dims = first.ndim - 1
        within = region_sum(cut(torch.ones_like(first, dtype=self.found.dtype), (times,) * dims), cell_axes(dims))
        balance = self.balance.reshape(-1, *(1,) * dims) * within / first[0].numel()
        shares = self.weight * (self.found + self.stray + balance) / within
        for axis in range(1, dims + 1):
            shares = shares.repeat_interleave(times, axis).narrow(axis, 0, first.shape[axis])
        return shares


class SoftMatching(NamedTuple):
    """Every term of the loss of one image: `loss` = `image` + the sum of the levels'."""

    image: Tensor  # (1,), the core of the whole image
    levels: tuple[Level, ...]  # from the smallest cells to the largest
    cell_size: tuple[int, ...]  # of the first level, in pixels, of the first image

    @property
    def loss(self) -> Tensor:
        """(1,)."""
        return self.image + torch.stack([level.loss for level in self.levels]).sum(0)

    @property
    def contributions(self) -> Tensor:
        """(1, *grid) of the first level: what each cell adds; `loss` = `image` + their sum.

        Larger cells are shared out evenly to those within, and the count term, which belongs to no cell, to all.
        """
        return torch.stack([level.shared_out(2**k, self.levels[0].true) for k, level in enumerate(self.levels)]).sum(0)


class SoftMatchingLoss(GridLoss):
    """Any core loss over the whole image, plus soft terms over the cells of a grid: see the formula of this module.

    The defaults are the pilot setting R1 of `docs/repaired.md`, where each switch is measured.

    Args:
        core: as in `SpatialMatchingLoss`; "hybrid" is what the paper's baselines are trained with.
        found, stray, count: weights of the three terms; 0 leaves one out.
        distance: w_j = sigma(d_j); False gives every cell without mass the weight 1.
        levels: cells of 1, 2, 4, ... times the size, each level with half the weight of the one below (as in spatial
            pyramid matching, Lazebnik et al. 2006); the weights are divided by their sum.
        random_phase: in training mode the grid of each image begins up to a cell before the image, at random in
            every step, drawn from PyTorch's generator. In evaluation mode it begins at the corner.
        normalise: N counts the "true" cells, or, as G-NZ has it, those "kept": with true mass or a p above 1/2.
        cell_statistic, cell_rounding, cell_size, min_cell, distance_unit: as in `SpatialMatchingLoss`.
        reduction, from_logits: see `ImageLoss`.

    Raises:
        ValueError: a name or number that is not allowed, with those that are.
    """

    def __init__(
        self,
        core: str | Callable[..., Tensor] = "hybrid",
        *,
        found: float | int = 1.0,
        stray: float | int = 0.5,
        count: float | int = 0.0,
        distance: bool = True,
        levels: int = 1,
        random_phase: bool = False,
        normalise: str = "true",
        distance_unit: str = "cell",
        cell_statistic: str = "min",
        cell_rounding: str = "nearest",
        cell_size: int | Sequence[int] | None = None,
        min_cell: int = 4,
        reduction: str = "mean",
        from_logits: bool = True,
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        self.core = core_of(core)
        for name, value in (("found", found), ("stray", stray), ("count", count)):
            require_number(name, value)
        require_switch("distance", distance)
        require_switch("random_phase", random_phase)
        if isinstance(levels, bool) or not isinstance(levels, int) or not 1 <= levels <= 8:
            raise ValueError(f"levels must be a whole number from 1 to 8, but is {levels!r}")
        self.found, self.stray, self.count = float(found), float(stray), float(count)
        self.by_distance, self.levels, self.random_phase = distance, levels, random_phase
        self.normalise = one_of("normalise", normalise, ("true", "kept"))
        self.rule = GridRule.of(cell_size, cell_statistic, cell_rounding, min_cell, distance_unit)

    @property
    def moves(self) -> bool:
        """Whether the grid begins elsewhere in every step."""
        return self.random_phase and self.training

    def together(self, truths: Sequence[Truth]) -> bool:
        """Images of one cell size, unless each has a phase of its own."""
        return super().together(truths) and not self.moves

    def of_grids(self, groups: Sequence[SameGrid]) -> Tensor:
        """(N,): the loss of every image. Pixels are visited group by group, the cells of all groups at once."""
        if self.moves:
            groups = [self.moved(group, [int(torch.randint(side, ())) for side in group.cell]) for group in groups]
        return self.match(groups).loss

    def moved(self, group: SameGrid, front: Sequence[int]) -> SameGrid:
        """The same images under a grid that begins so many rows and columns before them."""
        moved = behind_padding(group, front)
        true = cell_max(cut(moved.target, group.cell), len(group.cell)) > 0.5
        step = self.rule.step(group.cell, tuple(group.logits.shape[1:]))
        return moved._replace(true=true, distance=distances(true, step) if self.by_distance else None)

    def match(self, groups: Sequence[SameGrid]) -> SoftMatching:
        """The terms of all images. Pixels are visited group by group, the cells of all groups at once."""
        pixels, most, true, distance, *sums = joined([self.look(group) for group in groups])
        tp, p, y = sums[-3:]
        sums = sums if self.sums_overlap else sums[:-3]
        image = self.core.from_sums(*map(per_image_sum, sums)) if isinstance(self.core, SumCore) else sums[0]
        return SoftMatching(image, self.levels_of(Cells(tp, p, y, pixels, most, true, distance)), groups[0].cell)

    def look(self, group: SameGrid) -> list[Tensor]:
        """What the pixels say about their cells, (N, *grid): pixels, most, true and distance of `Cells`;

        what the core makes of them: its sums, or else L(P, Y), (N,); and, last, the sums of y p, p and y.
        """
        logits, target, valid, cell, true, distance = group
        dims = len(cell)
        p, y, v = cut(logits, cell), cut(target, cell), valid_pixels(target, valid, cell)
        if isinstance(self.core, SumCore):
            sums = self.core.sums(p, y, axes=cell_axes(dims), valid=v, from_logits=self.from_logits)
        else:
            sums = (call_core(self.core, logits, target, tuple(range(-dims, 0)), valid, self.from_logits),)
        if not self.sums_overlap:
            sums = *sums, *overlap_sums(p, y, cell_axes(dims), v, self.from_logits)
        zeros = torch.zeros_like(sums[-1])
        pixels = zeros + p[0].numel() / zeros[0].numel() if v is None else region_sum(v.expand_as(p), cell_axes(dims))
        most = self._most(p, v, dims) if self.count or self.normalise == "kept" else zeros
        true = cell_max(y if v is None else y * v, dims) > 0.5 if true is None else true
        distance = distance.to(zeros.dtype) if self.by_distance and distance is not None else zeros
        return [pixels, most, true, distance, *sums]

    @property
    def sums_overlap(self) -> bool:
        """Whether the last sums of the core are those of y p, p and y, so that they need not be made twice."""
        core = self.core
        return isinstance(core, Hybrid | Tversky) or (isinstance(core, Dice) and not core.squared)

    def levels_of(self, cells: Cells) -> tuple[Level, ...]:
        """The terms over the cells, and over those that are 2, 4, ... times as large."""
        weights = [2.0**-k for k in range(self.levels)]
        levels: list[Level] = []
        for weight in weights:
            cells = cells.doubled(0.5 if self.rule.distance_unit == "cell" else 1.0) if levels else cells
            levels.append(self._level(cells, weight / sum(weights)))
        return tuple(levels)

    def _most(self, p: Tensor, v: Tensor | None, dims: int) -> Tensor:
        """The largest probability of each cell; 0 where no pixel counts."""
        most = cell_max(p if v is None else p.masked_fill(v == 0, -torch.inf if self.from_logits else 0.0), dims)
        return most.sigmoid() if self.from_logits else most

    def _level(self, cells: Cells, weight: float) -> Level:
        """The three terms over the cells of one size."""
        true, without = cells.true, (cells.pixels > 0) & ~cells.true
        N_true = per_image_sum(true).to(cells.p.dtype)
        counted = true if self.normalise == "true" else true | (cells.most.detach() > 0.5)
        N = per_image_sum(counted).to(cells.p.dtype).clamp(min=1).reshape(-1, *(1,) * (true.ndim - 1))
        dice = Dice().from_sums(cells.tp, cells.p, cells.y)
        mean = cells.p / cells.pixels.clamp(min=1)
        w = torch.sigmoid(cells.distance) if self.by_distance else torch.ones_like(mean)
        x = w * mean * without / N
        total = per_image_sum(x).reshape(N.shape)
        slope = torch.where(total > 1e-6, torch.log1p(total) / total.clamp(min=1e-6), 1 - total / 2)  # log(1 + x) / x
        occupied = per_image_sum(cells.most)
        return Level(
            weight=weight,
            dice=dice,
            mean=mean,
            true=true,
            without=without,
            distance=cells.distance,
            by_distance=w,
            found=self.found * dice * true / N,
            stray=self.stray * slope * x,
            balance=self.count * ((1 + occupied) / (1 + N_true)).log().abs(),
        )

    def explain(
        self, logits: Tensor, target: Tensor, *, mask: Tensor | None = None, instances: Tensor | None = None
    ) -> SoftMatching:
        """Every term of the loss of one image, (1, 1, *spatial), with the grid at the corner.

        The ledger adds up: `loss` = `image` + over the levels weight (sum of found + sum of stray + balance). Raises
        ValueError for more than one image or channel.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return self.match([self.one_image(logits, target, mask, instances)])

    def extra_repr(self) -> str:
        """Shown by `repr`: the core and the switches."""
        names = ("core", "found", "stray", "count", "levels", "random_phase", "normalise", "rule", "reduction")
        return ", ".join([f"distance={self.by_distance}", *(f"{name}={getattr(self, name)!r}" for name in names)])


def behind_padding(group: SameGrid, front: Sequence[int]) -> SameGrid:
    """The images behind so many rows and columns that count for nothing, and before as many as fill the last cells."""
    logits, target, valid, cell, _, _ = group
    valid = torch.ones_like(target) if valid is None else valid.expand_as(target)
    before = [(n, -(n + side) % step) for n, side, step in zip(front, target.shape[1:], cell, strict=True)]
    pad = [n for pair in reversed(before) for n in pair]
    return SameGrid(F.pad(logits, pad), F.pad(target * valid, pad), F.pad(valid, pad), cell)


@torch.compiler.disable
def distances(true: Tensor, step: tuple[float, ...]) -> Tensor:
    """(N, *grid): how far each cell lies from the nearest true one; measured on the CPU."""
    grids = [torch.from_numpy(distance_to_mass(grid, step)) for grid in true.cpu().numpy()]
    return torch.stack(grids).to(true.device)


def per_image_sum(cells: Tensor) -> Tensor:
    """(N,): the sum over the grid."""
    return cells.flatten(1).sum(1)
