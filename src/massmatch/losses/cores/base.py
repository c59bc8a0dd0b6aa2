"""Core losses: ordinary losses that reduce the pixel axes of a region and keep every axis in front.

Handed an image, a core returns one number; handed the cells of a grid, one number per cell. That is all
that Algorithm 1 asks of the loss L (lines 1 and 4):

    core(logits, target, *, axes, valid=None, from_logits=True) -> reduced over `axes` (negative ints)

`valid` is 1 for the pixels that count; a region without any is left out by the caller.

    BCE      mean_j -(y_j log p_j + (1 - y_j) log(1 - p_j))                                        Eq. 2
    Tversky  1 - (TP + s) / (TP + fn_weight FN + fp_weight FP + s)                                 Eq. 3
    Dice     1 - (2 TP + s) / (sum p + sum y + s)                                                  Appendix A

with TP = sum_j y_j p_j, FN = sum_j y_j (1 - p_j), FP = sum_j (1 - y_j) p_j. All of them see their region
only through sums over its pixels, and the sums of an image are those of its cells added up. So the pixels
are visited once for both (`SumCore`).
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import require_number, require_some, require_switch
from .sums import Sums, pixel_count, pixel_sums, ratio, squared_sums


class SumCore(ABC):
    """A core loss that depends on its region only through sums over the region's pixels."""

    @abstractmethod
    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """The sums over `axes` from which the loss follows; those of two regions add up to their union's."""

    @abstractmethod
    def from_sums(self, *sums: Tensor, pixels: Tensor) -> Tensor:
        """The loss of each region, from its sums and the number of its pixels that count."""

    def __call__(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...] | None = None,
        valid: Tensor | None = None,
        from_logits: bool = True,
        **others: object,
    ) -> Float[Tensor, "..."]:
        """The loss of each region: `logits` and `target` reduced over `axes`, every other axis kept.

        TypeError without `axes`, or with an argument of the losses of images, such as `mask`: cores have none of it.
        """
        axes = axes_of(self, axes, others)
        sums = self.sums(logits, target, axes=axes, valid=valid, from_logits=from_logits)
        return self.from_sums(*sums, pixels=pixel_count(sums[0], logits, axes, valid))


@dataclass(frozen=True)
class BCE(SumCore):
    """Binary cross-entropy, the mean over the pixels of the region (Eq. 2, whose sum over j is missing)."""

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """The sum of the pixels' cross-entropies."""
        return pixel_sums(logits, target, axes, valid, from_logits, entropy=True)

    def from_sums(self, *sums: Tensor, pixels: Tensor) -> Tensor:
        """The mean cross-entropy of each region."""
        (total,) = sums
        return total / pixels.clamp(min=1)


@dataclass(frozen=True)
class Tversky(SumCore):
    """One minus the Tversky index (Eq. 3 is the index, not the loss).

    `fn_weight` is the paper's alpha, `fp_weight` its beta; MONAI, SMP and kornia call the weight of the
    false positives alpha, hence no letters here. The paper gives no values: 0.7 and 0.3 are the best ones
    of Salehi et al. 2017, and `smooth` = 1 is what public code of this field uses. `smooth` stands above
    and below the bar and decides the loss of a cell without mass, 1 - s / (fp_weight sum p + s): without
    it that cell costs 1 whatever is predicted, and sends no gradient.

    Args:
        fn_weight: weight of the missed mass.
        fp_weight: weight of the false positives.
        smooth: added above and below the bar, so that a region without mass has a loss and a gradient.
    """

    fn_weight: float | int = 0.7
    fp_weight: float | int = 0.3
    smooth: float | int = 1.0

    def __post_init__(self) -> None:
        for name in ("fn_weight", "fp_weight", "smooth"):
            require_number(f"Tversky({name})", getattr(self, name))
        require_some(self, "fn_weight", "fp_weight")

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """TP, the sum of p and the sum of y."""
        return pixel_sums(logits, target, axes, valid, from_logits, overlap=True)

    def from_sums(self, *sums: Tensor, pixels: Tensor | None = None) -> Tensor:
        """One minus the Tversky index T of each region."""
        tp, p, y = sums
        found = tp + self.smooth
        sides = (y * self.fn_weight).add(p, alpha=self.fp_weight)
        below = sides.add(tp, alpha=1 - self.fn_weight - self.fp_weight) + self.smooth  # FN = y - tp, FP = p - tp
        return 1 - (found / below if self.smooth else ratio(found, below))


@dataclass(frozen=True)
class Dice(SumCore):
    """Soft Dice loss, which is Tversky(0.5, 0.5, smooth / 2); the core of the paper's Appendix A.

    `squared` squares p and y below the bar (V-Net, Milletari et al. 2016). `smooth` = 1: see `Tversky`.

    Args:
        smooth: added above and below the bar, so that a region without mass has a loss and a gradient.
        squared: whether p and y are squared below the bar, as in V-Net.
    """

    smooth: float | int = 1.0
    squared: bool = False

    def __post_init__(self) -> None:
        require_number("Dice(smooth)", self.smooth)
        require_switch("Dice(squared)", self.squared)

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """TP, the sum of p and the sum of y (of their squares with `squared`)."""
        if self.squared:
            return squared_sums(logits, target, axes, valid, from_logits)
        return pixel_sums(logits, target, axes, valid, from_logits, overlap=True)

    def from_sums(self, *sums: Tensor, pixels: Tensor | None = None) -> Tensor:
        """One minus the Dice coefficient of each region."""
        tp, p, y = sums
        return soft_dice(tp, p, y, self.smooth)


def soft_dice(tp: Tensor, p: Tensor, y: Tensor, smooth: float | int) -> Tensor:
    """1 - (2 TP + smooth) / (p + y + smooth)."""
    half, below = tp + smooth / 2, (y + smooth) + p
    return torch.rsub(half / below if smooth else ratio(half, below), 1, alpha=2)


@dataclass(frozen=True)
class Hybrid(SumCore):
    """bce_weight BCE + dice_weight Dice, with which the paper's baselines AU-Net and ARF-Net are trained.

    The paper gives no weights: a half each, as in public code of the field.

    Args:
        bce_weight: weight of cross-entropy.
        dice_weight: weight of Dice.
        smooth: that of Dice.
    """

    bce_weight: float | int = 0.5
    dice_weight: float | int = 0.5
    smooth: float | int = 1.0

    def __post_init__(self) -> None:
        for name in ("bce_weight", "dice_weight", "smooth"):
            require_number(f"Hybrid({name})", getattr(self, name))
        require_some(self, "bce_weight", "dice_weight")

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """The sums of BCE, then those of Dice."""
        return pixel_sums(logits, target, axes, valid, from_logits, entropy=True, overlap=True)

    def from_sums(self, *sums: Tensor, pixels: Tensor) -> Tensor:
        """The weighted sum of the two losses."""
        total, tp, p, y = sums
        bce = total / pixels.clamp(min=1)
        return self.bce_weight * bce + self.dice_weight * soft_dice(tp, p, y, self.smooth)


@dataclass(frozen=True)
class DiceBCE(Hybrid):
    """BCE + Dice: Hybrid with weights of 1, as nnU-Net and MONAI's DiceCELoss have it ("Dice + CE")."""

    bce_weight: float | int = 1.0
    dice_weight: float | int = 1.0


def axes_of(core: object, axes: tuple[int, ...] | None, others: Collection[str] = ()) -> tuple[int, ...]:
    """The axes that a core was told to reduce. TypeError where it was called as if it were a loss of images."""
    if axes is None or others:
        what = f"does not know {', '.join(others)}" if others else "has to be told which axes to reduce"
        raise TypeError(
            f"{type(core).__name__} is a core loss, core(logits, target, axes=..., valid=..., from_logits=...), and "
            f"{what}; the loss of images is WholeImageLoss({core!r})(logits, target), or one by name, as "
            "LOSSES['dice']()(logits, target)"
        )
    return axes
