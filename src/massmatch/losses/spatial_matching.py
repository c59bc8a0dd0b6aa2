"""The Spatial Matching loss (Eqs. 1, 4-9, Algorithm 1), all 24 variants of it as one line:

    L_SM = L(P, Y) + s * sum_i kept_i w_i L(p_i, y_i) / sum_i kept_i

over the cells i of a grid that is sized after the masses of each image. Three switches choose

    nonzero    kept_i = 1 for cells with predicted or true mass (G-NZ), otherwise for every cell (G-A)
    distance   w_i = sigma(d_i), d_i from a false-positive cell to the nearest true one, otherwise 1
    scale      s = sigma(S), S = cells with predicted mass / cells with true mass, otherwise 1

and with both of the latter w_i = 1 + sigma(d_i) (Algorithm 1, lines 11 and 14). kept, w and s come from
thresholds and carry no gradient: all of it flows through the core losses L. `docs/paper.md` has the reading
of every point that the paper leaves open, and the argument that takes another one.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .base import Facts, accepts, one_of
from .cores.base import SumCore, require_number, require_switch
from .cores.catalogue import CORES
from .grid.facts import GridRule
from .grid.geometry import cell_axes, cell_max, cut
from .grid.loss import GridLoss, SameGrid, call_core, joined, per_image, valid_pixels

RESCALE = {"sigmoid": torch.sigmoid, "direct": lambda x: x}  # Fig. 3b


def core_of(core: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The core of that name, or the callable itself. ValueError for another name, TypeError for what cannot be one."""
    if isinstance(core, str):
        return CORES[one_of("core", core, CORES)]()
    if not callable(core):
        raise TypeError(f"core must be one of {', '.join(CORES)} or callable, but is a {type(core).__name__}")
    if not accepts(core, "axes"):
        raise TypeError(
            f"core must be called as core(logits, target, axes=...) and reduce these axes only, but "
            f"{type(core).__name__} takes no argument 'axes': wrap it in a function that does"
        )
    return core


class Matching(NamedTuple):
    """The terms of Algorithm 1. Each has one entry per image, or none from `explain`; grids follow behind."""

    image: Tensor  # L_I, the core loss of the whole image
    cells: Tensor  # L_i, the core loss of each cell; (*grid)
    kept: Tensor  # cells that are counted below the bar; bool
    summed: Tensor  # cells that are added above it: the kept ones, or all with numerator="all"; bool
    weight: Tensor  # w_i
    ratio: Tensor  # s
    S: Tensor  # predicted cells / true cells
    distance: Tensor  # d_i, 0 where the cell is no false positive
    predicted: Tensor  # cells with predicted mass; bool
    true: Tensor  # cells with true mass; bool
    cell_size: tuple[int, ...]  # height and width in pixels, of the first image
    grid_weight: float

    @property
    def contributions(self) -> Tensor:
        """The share of each cell in the loss: grid_weight s w_i L_i / sum kept for the summed ones."""
        grid = tuple(range(self.image.ndim - self.cells.ndim, 0))
        count = self.kept.sum(grid, keepdim=True).clamp(min=1)
        ratio = self.ratio.reshape(self.ratio.shape + (1,) * len(grid))
        return self.grid_weight * ratio * (self.summed * self.weight * self.cells) / count

    @property
    def loss(self) -> Tensor:
        """L_SM = L_I plus the contributions of the cells (Eq. 1)."""
        return self.image + self.contributions.flatten(self.image.ndim).sum(-1)


class SpatialMatchingLoss(GridLoss):
    """Any core loss over the whole image, plus the same loss over the cells of a grid.

    Args:
        core: "bce", "tversky", "dice", "hybrid", or any callable of the form
            core(logits, target, *, axes, valid=None, from_logits=True) that reduces `axes` only.
        scale, distance, nonzero: the switches of the formula at the top of this module.
        threshold: a pixel is predicted mass if p is above it (0.5, as the metrics do; the paper's 0 makes
            every cell a predicted one, since sigmoid outputs are positive). A true one if y > 0.5.
        numerator: "kept" adds the kept cells ("eliminated", Fig. 2), "all" every cell (Eq. 5 to the letter).
        matched_weight: stands in for sigma(d_i) of cells that are no false positive. By default sigma(0),
            0.5 (Eq. 9), and 1 with rescale="direct".
        combination: of scale and distance: "algorithm" w = 1 + sigma(d), "product" w = sigma(d) (Eqs. 7, 9).
        distance_unit: "cell", "pixel", or "image" (fractions of its sides).
        rescale: "sigmoid", or "direct" (Fig. 3b) for s = S and w = d.
        cell_statistic: "min", "mean" or "max" of the masses' heights and widths (Fig. 3a).
        cell_rounding: to the "nearest" power of two, or the next "up" or "down".
        cell_size: fixed cell sides in pixels, (height, width) or one number; by default by image, as above.
        min_cell: lower bound of the cell sides; 1 is the paper's.
        grid_weight: weight of the grid term (1: Eq. 1).
        grid: False leaves the core loss alone.
        reduction, from_logits: see `ImageLoss`.

    Raises:
        ValueError: a name or number that is not allowed, with those that are.
    """

    def __init__(
        self,
        core: str | Callable[..., Tensor] = "tversky",
        *,
        scale: bool = False,
        distance: bool = False,
        nonzero: bool = False,
        threshold: float | int = 0.5,
        numerator: str = "kept",
        matched_weight: float | int | None = None,
        combination: str = "algorithm",
        distance_unit: str = "cell",
        rescale: str = "sigmoid",
        cell_statistic: str = "min",
        cell_rounding: str = "nearest",
        cell_size: int | Sequence[int] | None = None,
        min_cell: int = 4,
        grid_weight: float | int = 1.0,
        grid: bool = True,
        reduction: str = "mean",
        from_logits: bool = True,
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        self.core = core_of(core)
        for name, value in (("scale", scale), ("distance", distance), ("nonzero", nonzero), ("grid", grid)):
            require_switch(name, value)
        self.scale, self.distance, self.nonzero, self.grid = scale, distance, nonzero, grid
        self.numerator = one_of("numerator", numerator, ("kept", "all"))
        self.combination = one_of("combination", combination, ("algorithm", "product"))
        self.rescale = one_of("rescale", rescale, tuple(RESCALE))
        if matched_weight is not None:
            require_number("matched_weight", matched_weight)
        require_number("grid_weight", grid_weight)
        require_number("threshold", threshold)
        if threshold > 1:
            raise ValueError(f"threshold must lie in [0, 1], but is {threshold!r}")
        self.threshold, self.matched_weight, self.grid_weight = threshold, matched_weight, float(grid_weight)
        self.rule = GridRule.of(cell_size, cell_statistic, cell_rounding, min_cell, distance_unit)
        self.by_distance = distance

    # ----------------------------------------------------------------------------------------------- Algorithm 1

    def look(self, group: SameGrid) -> list[Tensor]:
        """What the pixels say about their cells, (N, *grid): which count, are predicted, are true; their distances;

        and what the core makes of them: its sums, from which image and cells follow, or else L_I (N,) and all L_i.
        """
        logits, target, valid, cell, true, distance = group
        dims = len(cell)
        p, y, v = cut(logits, cell), cut(target, cell), valid_pixels(target, valid, cell)
        if isinstance(self.core, SumCore):  # the pixels are visited once for lines 1 and 4
            core = self.core.sums(p, y, axes=cell_axes(dims), valid=v, from_logits=self.from_logits)
        else:
            image = call_core(self.core, logits, target, tuple(range(-dims, 0)), valid, self.from_logits)
            core = image, call_core(self.core, p, y, cell_axes(dims), v, self.from_logits)
        predicted = self._predicted(p.detach(), v, dims)  # lines 9, 13
        true = cell_max(y if v is None else y * v, dims) > 0.5 if true is None else true  # line 10
        counted = torch.ones_like(true) if v is None else (cell_max(v, dims) > 0).expand_as(true)
        distance = torch.zeros_like(core[-1]) if distance is None else distance.to(core[-1].dtype)
        return [counted, predicted, true, distance, *core]

    def match(self, groups: Sequence[SameGrid]) -> Matching:
        """The terms of all images; cells of smaller grids that are not there are neither kept nor summed."""
        counted, predicted, true, distance, *core = joined([self.look(group) for group in groups])
        if isinstance(self.core, SumCore):
            image = self.core.from_sums(*(of_cells.flatten(1).sum(1) for of_cells in core))  # line 1
            cells = self.core.from_sums(*core)  # line 4
        else:
            image, cells = core
        dims = cells.ndim - 1
        kept = counted & (predicted | true) if self.nonzero else counted  # lines 15-18
        summed = kept if self.numerator == "kept" else counted & per_image(kept, torch.any, dims)

        false_positive = predicted & ~true & per_image(true, torch.any, dims)  # line 13
        d = distance * false_positive
        NZ_P, NZ_Y = (cells_with.flatten(1).sum(1).to(cells.dtype) for cells_with in (predicted, true))
        S = NZ_P / NZ_Y.clamp(min=1)  # Eq. 8
        return Matching(
            image=image,
            cells=cells,
            kept=kept,
            summed=summed,
            weight=self._weight(d, false_positive),
            ratio=RESCALE[self.rescale](S) if self.scale else torch.ones_like(image),  # line 22
            S=S,
            distance=d,
            predicted=predicted,
            true=true,
            cell_size=groups[0].cell,
            grid_weight=self.grid_weight,
        )

    def _predicted(self, p: Tensor, v: Tensor | None, dims: int) -> Tensor:
        """Cells with a pixel above the threshold; for logits p > t means logit > log(t / (1 - t))."""
        t = float(self.threshold)
        if self.from_logits:
            t = math.log(t / (1 - t)) if 0 < t < 1 else math.copysign(math.inf, t - 0.5)
        return cell_max(p if v is None else p.masked_fill(v == 0, -math.inf), dims) > t

    def _weight(self, d: Tensor, false_positive: Tensor) -> Tensor:
        """w_i (lines 7 to 14, Eq. 9)."""
        if not self.distance:
            return torch.ones_like(d)
        default = 0.5 if self.rescale == "sigmoid" else 1.0  # sigma(0); see docs/paper.md for the direct one
        matched = default if self.matched_weight is None else float(self.matched_weight)
        weight = torch.where(false_positive, RESCALE[self.rescale](d), matched)
        return 1 + weight if self.scale and self.combination == "algorithm" else weight

    # ------------------------------------------------------------------------------------ batches and their facts

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C): L_SM of each image and channel."""
        if self.grid:
            return super().per_image(logits, target, valid=valid, instances=instances, facts=facts)
        axes = tuple(range(2 - logits.ndim, 0))
        if isinstance(self.core, SumCore):
            return self.core(logits, target, axes=axes, valid=valid, from_logits=self.from_logits)
        return call_core(self.core, logits, target, axes, valid, self.from_logits)

    def of_grids(self, groups: Sequence[SameGrid]) -> Tensor:
        """(N,): L_SM of every image."""
        return self.match(groups).loss

    def facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """See `GridLoss.facts`; empty dicts with grid=False."""
        return super().facts(target, instances=instances, density=density) if self.grid else [{} for _ in target]

    def explain(
        self, logits: Tensor, target: Tensor, *, mask: Tensor | None = None, instances: Tensor | None = None
    ) -> Matching:
        """Every term of the loss of one image, (1, 1, *spatial): what counts, with what weight, and why.

        The ledger adds up: `loss` = `image` + the sum of `contributions`. `distance` is there even if the
        loss does not weigh by it. Raises ValueError for more than one image or channel, or without a grid.
        """
        if not self.grid:
            raise ValueError("explain needs the grid, but the loss was made with grid=False")
        with torch.autocast(logits.device.type, enabled=False):
            terms = self.match([self.one_image(logits, target, mask, instances)])
        return Matching(*(term[0] if isinstance(term, Tensor) else term for term in terms))  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """Shown by `repr`: the core and the switches."""
        names = ("core", "scale", "distance", "nonzero", "grid", "threshold", "numerator", "matched_weight")
        more = ("combination", "rescale", "grid_weight", "rule", "reduction")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in (*names, *more))
