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

from .base import checked_core
from .call import Facts
from .checks import article, one_of, require_number, require_switch
from .cores.base import SumCore
from .cores.catalogue import CORES
from .cores.sums import BACKGROUND, region_max
from .grid.layout import Images, images_of
from .grid.loss import GridLoss, one_by_one
from .grid.rule import GridRule

RESCALE = {"sigmoid": torch.sigmoid, "direct": lambda x: x}  # Fig. 3b


def core_of(core: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The core of that name, or the callable itself. ValueError for another name, TypeError for what cannot be one."""
    if isinstance(core, str):
        return CORES[one_of("core", core, CORES)]()
    if not callable(core):
        raise TypeError(f"core must be one of {', '.join(CORES)} or callable, but is {article(core)}")
    return checked_core(core)


class Matching(NamedTuple):
    """The terms of Algorithm 1. Each has one entry per image, or none from `explain`; grids follow behind."""

    image: Tensor  # L_I, the core loss of the whole image
    cells: Tensor  # L_i, the core loss of each cell; (*grid)
    kept: Tensor  # cells that are counted below the bar; bool
    summed: Tensor  # cells that are added above it: the kept ones, or all with numerator="all"; bool
    weight: Tensor  # w_i
    ratio: Tensor  # s
    distance: Tensor  # d_i, 0 where the cell is no false positive
    predicted: Tensor  # cells with predicted mass; bool
    true: Tensor  # cells with true mass; bool
    cell_size: tuple[int, ...]  # height and width in pixels, of the first image
    grid_weight: float

    @property
    def S(self) -> Tensor:  # noqa: N802
        """Predicted cells / true cells (Eq. 8)."""
        dims = self.cells.ndim - self.image.ndim
        NZ_P, NZ_Y = (of.flatten(-dims).sum(-1, dtype=self.image.dtype) for of in (self.predicted, self.true))
        return NZ_P / NZ_Y.clamp(min=1)

    @property
    def contributions(self) -> Tensor:
        """The share of each cell in the loss: grid_weight s w_i L_i / sum kept for the summed ones."""
        dims = self.cells.ndim - self.image.ndim
        count = self.kept.flatten(-dims).sum(-1).clamp(min=1)
        ratio = (self.grid_weight * self.ratio / count).reshape(self.ratio.shape + (1,) * dims)
        return ratio * self.weight * self.summed * self.cells

    @property
    def loss(self) -> Tensor:
        """L_SM = L_I plus the contributions of the cells (Eq. 1)."""
        return self.image + self.contributions.flatten(self.image.ndim).sum(-1)


class SpatialMatchingLoss(GridLoss):
    """Any core loss over the whole image, plus the same loss over the cells of a grid.

    L_SM = L(P, Y) + s sum_i kept_i w_i L(p_i, y_i) / sum_i kept_i; docs/loss.md and docs/paper.md explain each symbol.

    Args:
        core: "bce", "tversky", "dice", "hybrid", or any callable of the form
            core(logits, target, *, axes, valid=None, from_logits=True) that reduces `axes` only.
        scale, distance, nonzero: the three switches S, D and NZ of the paper.
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
        cell_size: fixed cell sides in pixels, (height, width) or one number; by default after each image's own masses.
        min_cell: lower bound of the cell sides; 1 is none, as in the paper.
        grid_weight: weight of the grid term (1: Eq. 1).
        reduction: "mean" over images and channels, "sum", or "none" for (B, C).
        from_logits: False takes values in [0, 1], which are never turned back into logits.

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
        reduction: str = "mean",
        from_logits: bool = True,
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        self.core = core_of(core)
        for name, value in (("scale", scale), ("distance", distance), ("nonzero", nonzero)):
            require_switch(name, value)
        self.scale, self.distance, self.nonzero = scale, distance, nonzero
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
        self.rule = self.decides_facts = GridRule.of(cell_size, cell_statistic, cell_rounding, min_cell, distance_unit)
        self.by_distance = distance

    # ----------------------------------------------------------------------------------------------- Algorithm 1

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
        facts = self.measured_now(target, instances) if facts is None else facts
        images = images_of(logits, target, valid, facts, self.rule, self.by_distance)
        return self.match(images).loss.reshape(logits.shape[:2])

    def match(self, images: Images) -> Matching:
        """The terms of all images, one entry for each; cells beyond a smaller grid are neither kept nor summed."""
        image, cells, pixels, predicted, true = self.look(images)  # lines 1, 4; 9, 10
        grid = tuple(range(1, cells.ndim))
        counted = pixels > 0
        kept = predicted | true if self.nonzero else counted  # lines 15-18
        summed = kept if self.numerator == "kept" else counted & kept.any(grid, keepdim=True)
        weight, distance = torch.ones_like(cells), torch.zeros_like(cells)
        if images.distance is not None:
            false_positive = predicted & ~true & true.any(grid, keepdim=True)  # line 13
            distance = images.distance.to(cells) * false_positive
        if self.distance:  # lines 7-14, Eq. 9
            default = 0.5 if self.rescale == "sigmoid" else 1.0  # sigma(0); see docs/paper.md for the direct one
            matched = default if self.matched_weight is None else float(self.matched_weight)
            weight = torch.where(false_positive, RESCALE[self.rescale](distance), matched)
            weight = 1 + weight if self.scale and self.combination == "algorithm" else weight
        terms = Matching(
            image=image,
            cells=cells,
            kept=kept,
            summed=summed,
            weight=weight,
            ratio=torch.ones_like(image),
            distance=distance,
            predicted=predicted,
            true=true,
            cell_size=images.layout.base,
            grid_weight=self.grid_weight,
        )
        return terms._replace(ratio=RESCALE[self.rescale](terms.S)) if self.scale else terms  # line 22

    def look(self, images: Images) -> tuple[Tensor, ...]:
        """L_I (N,) and, (N, *grid), all L_i, the pixels that count, and which cells have predicted and true mass.

        The one visit to the pixels: of base cells, whose sums make up those of the image and of its cells.
        """
        axes, grid = images.layout.axes, images.layout.shape
        logits, target, pixels = images.in_base_cells(self.from_logits)
        maps = [pixels, (region_max(logits.detach(), axes) > self._bar).to(logits.dtype)]
        if images.true is None:
            maps.append((region_max(target, axes) > 0.5).to(logits.dtype))
        if isinstance(self.core, SumCore):
            maps += self.core.sums(logits, target, axes=axes, from_logits=self.from_logits)
        pixels, predicted, *sums = images.layout.add_up(maps)
        true = sums.pop(0)[:, 1:].unflatten(1, grid) > 0 if images.true is None else images.true
        if isinstance(self.core, SumCore):
            image, cells = self.core.from_sums(*sums, pixels=pixels).split([1, math.prod(grid)], 1)
            image, cells = image.squeeze(1), cells.unflatten(1, grid)
        else:
            image, cells = one_by_one(self.core, images, self.from_logits)
        return image, cells, pixels[:, 1:].unflatten(1, grid), predicted[:, 1:].unflatten(1, grid) > 0, true

    @property
    def _bar(self) -> float:
        """What a pixel of predicted mass lies above: for logits p > t means logit > log(t / (1 - t)).

        Pixels that do not count lie at BACKGROUND, which is no mass even for t = 0.
        """
        t = float(self.threshold)
        if not self.from_logits:
            return t
        return math.log(t / (1 - t)) if 0 < t < 1 else (BACKGROUND, math.inf)[t > 0]

    def explain(
        self, logits: Tensor, target: Tensor, *, mask: Tensor | None = None, instances: Tensor | None = None
    ) -> Matching:
        """Every term of the loss of one image, (1, 1, *spatial): what counts, with what weight, and why.

        The ledger adds up: `loss` = `image` + the sum of `contributions`. `distance` is there even if the loss does
        not weigh by it. Raises ValueError for more than one image or channel.
        """
        with torch.autocast(logits.device.type, enabled=False):
            terms = self.match(self.one_image(logits, target, mask, instances))
        return Matching(*(term[0] if isinstance(term, Tensor) else term for term in terms))  # type: ignore[arg-type]
