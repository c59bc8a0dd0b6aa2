"""Soft Spatial Matching: what the Spatial Matching loss is after, with a gradient wherever one is needed.

    L = L(P, Y)                                               the core over the image
        + found mean_i Dice(p_i, y_i)                         over the N cells with true mass
        + stray log(1 + sum_j w_j mean(p_j) / N)              over the cells j without, w_j = sigma(d_j)
        + count |log((1 + sum_i max(p_i)) / (1 + N))|         over all cells

on the grid of the faithful loss (`spatial_matching.py`), d_j the distance of a cell from the nearest one with mass.
An image without mass is one cell without mass, d = 0, and divided by 1. No threshold is put to the prediction, so that
nothing jumps, and a cell that the network makes up does not change what the others count. `docs/repaired.md` has the
fault of the faithful loss that each term mends, `docs/results/soft_loss.md` what each is worth on real mammograms.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .call import Facts
from .checks import one_of, require_number, require_switch, require_whole
from .cores.base import Dice, Hybrid, SumCore, Tversky, soft_dice
from .cores.sums import pixel_sums, region_max, region_sum
from .grid.distances import distances
from .grid.geometry import cell_axes, cell_max, cut
from .grid.layout import Images, images_of
from .grid.loss import GridLoss, call_core
from .grid.rule import GridRule
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
    outside: Tensor  # cells: w_j mean(p_j) / N of those without mass
    stray_weight: float  # of the third term
    balance: Tensor  # the fourth term

    @property
    def loss(self) -> Tensor:
        """(N,): weight times the three terms."""
        found, outside = self.found.flatten(1).sum(1), self.outside.flatten(1).sum(1)
        return self.weight * (found + self.stray_weight * torch.log1p(outside) + self.balance)

    @property
    def stray(self) -> Tensor:
        """(N, *grid): the third term, log(1 + x), shared out over the cells in proportion to their shares of x."""
        total = self.outside.flatten(1).sum(1).reshape(-1, *(1,) * (self.outside.ndim - 1))
        slope = torch.where(total > 1e-6, torch.log1p(total) / total.clamp(min=1e-6), 1 - total / 2)  # log(1 + x) / x
        return self.stray_weight * slope * self.outside

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
        """The loss, (1,): the core of the image plus the terms of all levels."""
        return sum((level.loss for level in self.levels), self.image)

    @property
    def contributions(self) -> Tensor:
        """(1, *grid) of the first level: what each cell adds; `loss` = `image` + their sum.

        Larger cells are shared out evenly to those within, and the count term, which belongs to no cell, to all.
        """
        return torch.stack([level.shared_out(2**k, self.levels[0].true) for k, level in enumerate(self.levels)]).sum(0)


class SoftMatchingLoss(GridLoss):
    """Any core loss over the whole image, plus soft terms over the cells of a grid; `docs/repaired.md` has the formula.

    The defaults are the first setting that was tried; `random_phase=True` did better on real mammograms. What each
    switch is worth: `docs/results/soft_loss.md`.

    Args:
        core: as in `SpatialMatchingLoss`; "hybrid" is what the paper's baselines are trained with.
        found, stray, count: weights of the three terms; 0 leaves one out.
        distance: w_j = sigma(d_j); False gives every cell without mass the weight 1.
        levels: cells of 1, 2, 4, ... times the size, each level with half the weight of the one below (as in spatial
            pyramid matching, Lazebnik et al. 2006); the weights are divided by their sum.
        random_phase: in training mode the grid of each image begins up to a cell before the image, at random in
            every step, drawn from PyTorch's generator. In evaluation mode it begins at the corner.
        normalise: N counts the "true" cells, or, as G-NZ has it, those "kept": with true mass or a p above 1/2.
        cell_statistic, cell_rounding, cell_size, min_cell, distance_unit: as in `SpatialMatchingLoss` (sm-...).
        reduction, from_logits: as in `SpatialMatchingLoss`.

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
        self.sums_overlap = isinstance(self.core, Hybrid | Tversky) or (
            isinstance(self.core, Dice) and not self.core.squared
        )  # whether its last sums are those of y p, p and y, so that they need not be made twice
        for name, value in (("found", found), ("stray", stray), ("count", count)):
            require_number(name, value)
        require_switch("distance", distance)
        require_switch("random_phase", random_phase)
        self.levels, self.random_phase = require_whole("levels", levels, 1, 8), random_phase
        self.found, self.stray, self.count = float(found), float(stray), float(count)
        self.distance = self.by_distance = distance
        self.normalise = one_of("normalise", normalise, ("true", "kept"))
        self.rule = self.decides_facts = GridRule.of(cell_size, cell_statistic, cell_rounding, min_cell, distance_unit)

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C): the loss of each image and channel."""
        facts = self.measured_now(target, instances) if facts is None else facts
        moved = self.random_phase and self.training
        images = images_of(logits, target, valid, facts, self.rule, self.by_distance, moved=moved)
        return self.match(images).loss.reshape(logits.shape[:2])

    def match(self, images: Images) -> SoftMatching:
        """The terms of all images, over the cells and over those that are 2, 4, ... times as large."""
        image, cells = self.look(images)
        weights = [2.0**-k for k in range(self.levels)]
        levels: list[Level] = []
        for weight in weights:
            cells = cells.doubled(0.5 if self.rule.distance_unit == "cell" else 1.0) if levels else cells
            levels.append(self._level(cells, weight / sum(weights)))
        return SoftMatching(image, tuple(levels), images.layout.base)

    def look(self, images: Images) -> tuple[Tensor, Cells]:
        """L(P, Y), (N,), and what is known of the cells.

        The one visit to the pixels: of base cells, whose sums make up those of the image and of its cells.
        """
        core, axes, grid = self.core, images.layout.axes, images.layout.shape
        logits, target, pixels = images.in_base_cells(self.from_logits)
        maps = [pixels]
        if images.true is None:
            maps.append((region_max(target, axes) > 0.5).to(target.dtype))
        if isinstance(core, SumCore):
            maps += core.sums(logits, target, axes=axes, from_logits=self.from_logits)
        if not self.sums_overlap:
            maps += pixel_sums(logits, target, axes, from_logits=self.from_logits, overlap=True)
        pixels, *sums = images.layout.add_up(maps)
        true = sums.pop(0)[:, 1:].unflatten(1, grid) > 0 if images.true is None else images.true
        if isinstance(core, SumCore):
            of_core = sums if self.sums_overlap else sums[:-3]
            image = core.from_sums(*[each[:, 0] for each in of_core], pixels=pixels[:, 0])
        else:
            whole = tuple(range(1 - images.target.ndim, 0))
            image = call_core(core, images.logits, images.target, whole, images.valid, self.from_logits)
        pixels, tp, p, y = [each[:, 1:].unflatten(1, grid) for each in (pixels, *sums[-3:])]
        most = self._most(images, logits) if self.count or self.normalise == "kept" else torch.zeros_like(pixels)
        distance = images.distance
        if distance is None and self.by_distance:
            distance = distances(true, self.rule.steps(images.sizes, images.spatial))
        return image, Cells(tp, p, y, pixels, most, true, torch.zeros_like(p) if distance is None else distance.to(p))

    def _most(self, images: Images, logits: Tensor) -> Tensor:
        """(N, *grid): the largest probability of each cell; 0 where no pixel counts."""
        most = region_max(logits, images.layout.axes)
        return images.layout.largest(most.sigmoid() if self.from_logits else most)

    def _level(self, cells: Cells, weight: float) -> Level:
        """The three terms over the cells of one size."""
        true, without = cells.true, (cells.pixels > 0) & ~cells.true
        counted = true if self.normalise == "true" else true | (cells.most.detach() > 0.5)
        N = counted.flatten(1).sum(1, dtype=cells.p.dtype).clamp(min=1).reshape(-1, *(1,) * (true.ndim - 1))
        dice = soft_dice(cells.tp, cells.p, cells.y, 1.0)
        mean = cells.p / cells.pixels.clamp(min=1)
        w = torch.sigmoid(cells.distance) if self.by_distance else torch.ones_like(mean)
        return Level(
            weight=weight,
            dice=dice,
            mean=mean,
            true=true,
            without=without,
            distance=cells.distance,
            by_distance=w,
            found=true / N * self.found * dice,
            outside=w * without / N * mean,
            stray_weight=self.stray,
            balance=self._balance(cells) if self.count else N.new_zeros(()).expand(len(N)),
        )

    def _balance(self, cells: Cells) -> Tensor:
        """(N,): the fourth term, of how many cells are occupied against how many have true mass."""
        occupied, true = cells.most.flatten(1).sum(1), cells.true.flatten(1).sum(1)
        return self.count * ((1 + occupied) / (1 + true)).log().abs()

    def explain(
        self, logits: Tensor, target: Tensor, *, mask: Tensor | None = None, instances: Tensor | None = None
    ) -> SoftMatching:
        """Every term of the loss of one image, (1, 1, *spatial), with the grid at the corner.

        The ledger adds up: `loss` = `image` + over the levels weight (sum of found + sum of stray + balance). Raises
        ValueError for more than one image or channel.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return self.match(self.one_image(logits, target, mask, instances))
