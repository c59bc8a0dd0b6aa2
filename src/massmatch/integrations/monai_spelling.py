"""What the losses in MONAI's spelling share: its arguments for activation, classes and reduction, and our grid."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from monai.metrics.utils import create_ignore_mask
from monai.networks import one_hot
from monai.utils import LossReduction
from torch import Tensor
from torch.nn.modules.loss import _Loss

from massmatch.losses import ImageLoss
from massmatch.losses.cores.base import SumCore
from massmatch.losses.cores.sums import Sums, pixel_sums, ratio
from massmatch.losses.spatial_matching import SpatialMatchingLoss as OwnSpatialMatchingLoss


@dataclass(frozen=True)
class Overlap(SumCore):
    """Tversky's loss with smoothing of its own above and below the bar; Dice has half of all of them."""

    fp_weight: float = 0.5
    fn_weight: float = 0.5
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5

    def sums(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """TP, the sum of p and the sum of y."""
        return pixel_sums(logits, target, axes, valid, from_logits, overlap=True)

    def from_sums(self, *sums: Tensor, pixels: Tensor | None = None) -> Tensor:
        """1 - (TP + nr) / (TP + fp_weight FP + fn_weight FN + dr)."""
        tp, p, y = sums
        below = tp + self.fp_weight * (p - tp) + self.fn_weight * (y - tp) + self.smooth_dr
        return 1 - ratio(tp + self.smooth_nr, below)


class Spelled(_Loss):
    """What they share: MONAI's arguments for activation, classes and reduction, and our grid."""

    grid: bool

    def __init__(
        self,
        include_background: bool,
        to_onehot_y: bool,
        sigmoid: bool,
        softmax: bool,
        other_act: Callable[[Tensor], Tensor] | None,
        reduction: LossReduction | str,
        batch: bool,
        ignore_index: int | None,
        core: str | Callable[..., Tensor],
        grid: bool,
        switches: dict[str, Any],
        own: Callable[..., ImageLoss] = OwnSpatialMatchingLoss,
    ) -> None:
        super().__init__(reduction=LossReduction(reduction).value)
        if other_act is not None and not callable(other_act):
            raise TypeError(f"other_act must be None or callable but is {type(other_act).__name__}.")
        if int(sigmoid) + int(softmax) + int(other_act is not None) > 1:
            raise ValueError("Incompatible values: more than 1 of [sigmoid=True, softmax=True, other_act is not None].")
        if grid and batch:
            raise ValueError("batch=True is not possible with the grid, whose cells belong to one image each.")
        if not grid and switches:
            raise ValueError(f"{', '.join(sorted(switches))}: switches of the grid, which is off; give grid=True.")
        self.include_background, self.to_onehot_y = include_background, to_onehot_y
        self.sigmoid, self.softmax, self.other_act = sigmoid, softmax, other_act
        self.batch, self.ignore_index, self.grid = batch, ignore_index, grid
        # a sigmoid that is sure rounds to 1 and has no gradient left: the grid's losses take logits as they are
        self.from_logits = grid and sigmoid
        self.spatial = own(core, reduction="none", from_logits=self.from_logits, **switches) if grid else None

    def classes(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Activated predictions (or `from_logits`) and one-hot truth, 0 where ignored, with or without background."""
        if self.sigmoid and not self.from_logits:
            input = torch.sigmoid(input)
        channels = input.shape[1]
        if self.softmax:
            if channels == 1:
                warnings.warn("single channel prediction, `softmax=True` ignored.", stacklevel=2)
            else:
                input = torch.softmax(input, 1)
        if self.other_act is not None:
            input = self.other_act(input)
        known = create_ignore_mask(target, self.ignore_index)
        if self.to_onehot_y:
            if channels == 1:
                warnings.warn("single channel prediction, `to_onehot_y=True` ignored.", stacklevel=2)
            else:
                if self.ignore_index is not None:  # noqa: SIM102  # TorchScript drops the inner one where it is None
                    if self.ignore_index < 0 or self.ignore_index >= channels:
                        target = torch.where(target == self.ignore_index, torch.zeros_like(target), target)
                target = one_hot(target, num_classes=channels)
        if known is not None:
            input, target = input * known, target * known
        if not self.include_background:
            if channels == 1:
                warnings.warn("single channel prediction, `include_background=False` ignored.", stacklevel=2)
            else:
                input, target = input[:, 1:], target[:, 1:]
        return input, target

    def axes(self, input: Tensor) -> list[int]:
        """The spatial axes, and the batch with `batch=True`."""
        axes = list(range(2, input.dim()))
        if self.batch:
            axes = [0] + axes  # noqa: RUF005  # TorchScript knows no unpacking
        return axes

    @torch.jit.unused
    def matched(self, input: Tensor, target: Tensor) -> Tensor:
        """(B, C): the loss with the grid, in float32 or more; pixels that are ignored have no influence.

        Raises AssertionError for another shape.
        """
        assert self.spatial is not None
        known = create_ignore_mask(target, self.ignore_index)
        input, target = self.classes(input.to(torch.promote_types(input.dtype, torch.float32)), target)
        if target.shape != input.shape:
            raise AssertionError(f"ground truth has different shape ({target.shape}) from input ({input.shape})")
        return self.spatial(input, target, mask=known)

    def reduced(self, loss: Tensor) -> Tensor:
        """Mean, sum, or as it is. ValueError for another reduction."""
        if self.reduction == "mean":
            return torch.mean(loss)
        if self.reduction == "sum":
            return torch.sum(loss)
        if self.reduction == "none":
            return loss
        raise ValueError(f'Unsupported reduction: {self.reduction}, available options are ["mean", "sum", "none"].')


def soft_counts(input: Tensor, target: Tensor, axes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """TP, FP and FN that are right for soft truth too (Wang et al. 2023)."""
    p, y = torch.sum(torch.abs(input), dim=axes), torch.sum(torch.abs(target), dim=axes)
    tp = (p + y - torch.sum(torch.abs(input - target), dim=axes)) / 2
    return tp, p - tp, y - tp
