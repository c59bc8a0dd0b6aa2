"""The losses in MONAI's spelling.

    from massmatch.integrations.monai import DiceLoss, SoftMatchingLoss, SpatialMatchingLoss, TverskyLoss

`TverskyLoss` and `DiceLoss` have the arguments, values, errors and warnings of MONAI's classes of the same names (1.6),
and take our switches by keyword: with `grid=True` the cells of the Spatial Matching loss come on top. In MONAI alpha
weighs false positives and beta misses: the paper's letters the other way round. The defaults are MONAI's as well, 0.5
and 0.5 with a smoothing of 1e-5, so that the same name gives other values than `LOSSES["tversky"]`, which has 0.7 on
misses, 0.3 on false positives and 1, and `LOSSES["dice"]`, which has 1. `SpatialMatchingLoss` is the same with
the grid on and any core, `SoftMatchingLoss` its repaired form. Without the grid they can be scripted, exported and
compiled into one graph; with it they compute in float32 or more, and with `sigmoid=True` from the logits themselves.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.utils import LossReduction
from torch import Tensor

from massmatch.integrations.monai_spelling import Overlap, Spelled, soft_counts
from massmatch.losses import ImageLoss, WholeImageLoss
from massmatch.losses.soft_matching import SoftMatchingLoss as OwnSoftMatchingLoss
from massmatch.losses.spatial_matching import SpatialMatchingLoss as OwnSpatialMatchingLoss
from massmatch.losses.spatial_matching import core_of


class TverskyLoss(Spelled):
    """MONAI's TverskyLoss: alpha weighs false positives, beta misses.

    `grid=True` and the switches of `massmatch.losses.SpatialMatchingLoss` (scale, distance, nonzero, ...) by keyword.
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[[Tensor], Tensor] | None = None,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: LossReduction | str = LossReduction.MEAN,
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        soft_label: bool = False,
        ignore_index: int | None = None,
        *,
        grid: bool = False,
        **switches: Any,
    ) -> None:
        core = Overlap(alpha, beta, smooth_nr, smooth_dr)
        super().__init__(
            *(include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch, ignore_index),
            *(core, grid, switches),
        )
        self.alpha, self.beta = alpha, beta
        self.smooth_nr, self.smooth_dr = float(smooth_nr), float(smooth_dr)
        self.soft_label = soft_label

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """As MONAI's: input (B, N, H, W[, D]), target the same or (B, 1, ...) with to_onehot_y.

        Raises AssertionError for another shape, ValueError for another reduction.
        """
        if self.grid:
            return self.reduced(self.matched(input, target))
        input, target = self.classes(input, target)
        if target.shape != input.shape:
            raise AssertionError(f"ground truth has differing shape ({target.shape}) from input ({input.shape})")
        axes = self.axes(input)
        if self.soft_label:
            tp, fp, fn = soft_counts(input, target, axes)
        else:
            tp = torch.sum(input * target, dim=axes)
            fp, fn = torch.sum(input * (1 - target), dim=axes), torch.sum((1 - input) * target, dim=axes)
        below = tp + self.alpha * fp + self.beta * fn + self.smooth_dr
        return self.reduced(1.0 - (tp + self.smooth_nr) / below)


class DiceLoss(Spelled):
    """The arguments and values of `monai.losses.DiceLoss`, and the grid of the Spatial Matching loss besides.

    `grid=True` and the switches of `massmatch.losses.SpatialMatchingLoss` (scale, distance, nonzero, ...) by keyword;
    not together with squared_pred, jaccard or soft_label.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[[Tensor], Tensor] | None = None,
        squared_pred: bool = False,
        jaccard: bool = False,
        reduction: LossReduction | str = LossReduction.MEAN,
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        weight: Sequence[float] | float | int | Tensor | None = None,
        soft_label: bool = False,
        ignore_index: int | None = None,
        *,
        grid: bool = False,
        **switches: Any,
    ) -> None:
        core = Overlap(0.5, 0.5, smooth_nr / 2, smooth_dr / 2)
        super().__init__(
            *(include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch, ignore_index),
            *(core, grid, switches),
        )
        if grid and (squared_pred or jaccard or soft_label):
            raise ValueError("squared_pred, jaccard and soft_label are not possible with the grid.")
        self.squared_pred, self.jaccard, self.soft_label = squared_pred, jaccard, soft_label
        self.smooth_nr, self.smooth_dr = float(smooth_nr), float(smooth_dr)
        self.register_buffer("class_weight", torch.as_tensor(weight) if weight is not None else None)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """As MONAI's: input (B, N, H, W[, D]), target the same or (B, 1, ...) with to_onehot_y.

        Raises AssertionError for another shape, ValueError for another reduction or unfit class weights.
        """
        if self.grid:
            loss = self.matched(input, target)
        else:
            input, target = self.classes(input, target)
            if target.shape != input.shape:
                raise AssertionError(f"ground truth has different shape ({target.shape}) from input ({input.shape})")
            loss = self.overlap(input, target)
        loss = self.weighted(loss, loss.shape[-1])
        if self.reduction == "none":  # a shape that broadcasts against the input
            return loss.view(list(loss.shape[0:2]) + [1] * (input.dim() - 2))
        return self.reduced(loss)

    def overlap(self, input: Tensor, target: Tensor) -> Tensor:
        """(B, C), or (C,) with `batch=True`."""
        axes = self.axes(input)
        if self.squared_pred:
            p, y = torch.sum(input * input, dim=axes), torch.sum(target * target, dim=axes)
            difference = input - target
            tp = (p + y - torch.sum(difference * difference, dim=axes)) / 2
            fp, fn = p - tp, y - tp
        elif self.soft_label:
            tp, fp, fn = soft_counts(input, target, axes)
        else:
            tp = torch.sum(input * target, dim=axes)
            fp, fn = torch.sum(input, dim=axes) - tp, torch.sum(target, dim=axes) - tp
        wrong = fp + fn if self.jaccard else 0.5 * (fp + fn)
        return 1.0 - (2.0 * tp + self.smooth_nr) / (2.0 * (tp + wrong) + self.smooth_dr)

    def weighted(self, loss: Tensor, classes: int) -> Tensor:
        """Each class's loss times its weight."""
        weight = self.class_weight
        if weight is None or classes == 1:
            return loss
        if weight.dim() > 0 and weight.shape[0] != classes:
            raise ValueError(
                "The length of the `weight` sequence should be the same as the number of classes. "
                "If `include_background=False`, the weight should not include the background category class 0."
            )
        if not torch.compiler.is_compiling() and bool(weight.min() < 0):
            raise ValueError("the value/values of the `weight` should be no less than 0.")
        return loss * weight.to(loss)


class GridSpelled(Spelled):
    """A loss that has no sense without its grid."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Input (B, N, H, W[, D]), target the same or (B, 1, ...) with to_onehot_y; (B, N) with reduction "none".

        Raises AssertionError for another shape, ValueError for another reduction.
        """
        return self.reduced(self.matched(input, target))


class SpatialMatchingLoss(GridSpelled):
    """The Spatial Matching loss around any core, in MONAI's spelling.

    `core`: "tversky" or "dice" with MONAI's alpha, beta and smoothing; any other name of `massmatch.losses.CORES`, or a
    core of one's own, with its own. The switches (scale, distance, nonzero, ...) by keyword.
    """

    def __init__(
        self,
        core: str | Callable[..., Tensor] = "tversky",
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[[Tensor], Tensor] | None = None,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: LossReduction | str = LossReduction.MEAN,
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        ignore_index: int | None = None,
        *,
        grid: bool = True,
        **switches: Any,
    ) -> None:
        if core != "tversky" and (alpha, beta) != (0.5, 0.5):
            raise ValueError(f"alpha and beta are those of core='tversky', but core is {core!r}.")
        if core not in ("tversky", "dice") and (smooth_nr, smooth_dr) != (1e-5, 1e-5):
            raise ValueError(f"smooth_nr and smooth_dr are those of core='tversky' and 'dice', but core is {core!r}.")
        if core == "tversky":
            core = Overlap(alpha, beta, smooth_nr, smooth_dr)
        elif core == "dice":
            core = Overlap(0.5, 0.5, smooth_nr / 2, smooth_dr / 2)
        own: Callable[..., ImageLoss] = OwnSpatialMatchingLoss
        if not grid:
            if switches:
                raise ValueError(f"{', '.join(sorted(switches))}: switches of the grid, which is off; give grid=True.")
            core, own = core_of(core), WholeImageLoss
        super().__init__(
            *(include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch, ignore_index),
            *(core, True, switches, own),
        )


class SoftMatchingLoss(GridSpelled):
    """The soft, repaired Spatial Matching loss around any core, in MONAI's spelling.

    `core`: a name of `massmatch.losses.CORES`, or a core of one's own. The switches of
    `massmatch.losses.SoftMatchingLoss` (random_phase, found, stray, ...) by keyword.
    """

    def __init__(
        self,
        core: str | Callable[..., Tensor] = "hybrid",
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[[Tensor], Tensor] | None = None,
        reduction: LossReduction | str = LossReduction.MEAN,
        batch: bool = False,
        ignore_index: int | None = None,
        **switches: Any,
    ) -> None:
        super().__init__(
            *(include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch, ignore_index),
            *(core, True, switches, OwnSoftMatchingLoss),
        )
