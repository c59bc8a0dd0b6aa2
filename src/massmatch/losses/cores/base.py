"""Core losses: ordinary losses that reduce the pixel axes of a region and keep every axis in front.

Handed an image, a core returns one number; handed the cells of a grid, one number per cell. That is all
that Algorithm 1 asks of the loss L (lines 1 and 4):

    core(logits, target, *, axes, valid=None, from_logits=True) -> reduced over `axes` (negative ints)

`valid` is 1 for the pixels that count; a region without any has the loss 0 and is left out by the caller.

    BCE      mean_j -(y_j log p_j + (1 - y_j) log(1 - p_j))                                        Eq. 2
    Tversky  1 - (TP + s) / (TP + fn_weight FN + fp_weight FP + s)                                 Eq. 3
    Dice     1 - (2 TP + s) / (sum p + sum y + s)                                                  Appendix A

with TP = sum_j y_j p_j, FN = sum_j y_j (1 - p_j), FP = sum_j (1 - y_j) p_j. All of them see their region
only through sums over its pixels, and the sums of an image are those of its cells added up. So the pixels
are visited once for both (`SumCore`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

Sums = tuple[Tensor, ...]


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
    def from_sums(self, *sums: Tensor) -> Tensor:
        """The loss of each region, from its sums."""

    def __call__(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Float[Tensor, "..."]:
        """The loss of each region: `logits` and `target` reduced over `axes`, every other axis kept."""
        return self.from_sums(*self.sums(logits, target, axes=axes, valid=valid, from_logits=from_logits))


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
        """Sum of the pixels' cross-entropies, and the number of pixels."""
        if from_logits and not torch.compiler.is_compiling():  # a compiler fuses the plain formula by itself
            total = _LogitEntropy.apply(logits, target, valid, axes)
        else:
            # On probabilities PyTorch clamps each logarithm at -100, so the loss stays finite at p = 0 and 1.
            entropy = F.binary_cross_entropy_with_logits if from_logits else F.binary_cross_entropy
            pixels = entropy(logits, target, reduction="none")
            total = region_sum(pixels if valid is None else pixels * valid, axes)
        if valid is None:
            return total, torch.full_like(total, logits.numel() / total.numel())
        return total, region_sum(valid.expand_as(logits), axes)

    def from_sums(self, *sums: Tensor) -> Tensor:
        """Mean cross-entropy."""
        total, count = sums
        return total / count.clamp(min=1)


@dataclass(frozen=True)
class Tversky(SumCore):
    """One minus the Tversky index (Eq. 3 is the index, not the loss).

    `fn_weight` is the paper's alpha, `fp_weight` its beta; MONAI, SMP and kornia call the weight of the
    false positives alpha, hence no letters here. The paper gives no values: 0.7 and 0.3 are the best ones
    of Salehi et al. 2017, and `smooth` = 1 is what public code of this field uses. `smooth` stands above
    and below the bar and decides the loss of a cell without mass, 1 - s / (fp_weight sum p + s): without
    it that cell costs 1 whatever is predicted, and sends no gradient.
    """

    fn_weight: float | int = 0.7
    fp_weight: float | int = 0.3
    smooth: float | int = 1.0

    def __post_init__(self) -> None:
        for name in ("fn_weight", "fp_weight", "smooth"):
            require_number(f"Tversky({name})", getattr(self, name))

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
        return overlap_sums(logits, target, axes, valid, from_logits)

    def from_sums(self, *sums: Tensor) -> Tensor:
        """1 - T."""
        tp, p, y = sums
        fn, fp = y - tp, p - tp
        return 1 - ratio(tp + self.smooth, tp + self.fn_weight * fn + self.fp_weight * fp + self.smooth)


@dataclass(frozen=True)
class Dice(SumCore):
    """Soft Dice loss, which is Tversky(0.5, 0.5, smooth / 2); the core of the paper's Appendix A.

    `squared` squares p and y below the bar (V-Net, Milletari et al. 2016). `smooth` = 1: see `Tversky`.
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
        return overlap_sums(logits, target, axes, valid, from_logits, self.squared)

    def from_sums(self, *sums: Tensor) -> Tensor:
        """1 - Dice."""
        tp, p, y = sums
        return 1 - ratio(2 * tp + self.smooth, p + y + self.smooth)


def ratio(above: Tensor, below: Tensor) -> Tensor:
    """`above` / `below`, and 0 with gradient 0 for the 0 / 0 of an empty region without smoothing."""
    return above / below.clamp(min=torch.finfo(below.dtype).tiny)


def region_sum(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Sum over `axes`, one after the other from the front.

    On the cells of an image, (rows, h, cols, w), this adds whole rows of pixels first, which runs along
    the memory; a joint sum over (-3, -1) takes 2 to 4 times as long on a CPU.
    """
    for axis in sorted(axes):  # negative: summing one away does not move those behind it
        x = x.sum(axis)
    return x


def spread(reduced: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The axes that `region_sum` took away, back with size 1."""
    for axis in sorted(axes, reverse=True):
        reduced = reduced.unsqueeze(axis)
    return reduced


def overlap_sums(
    logits: Tensor,
    target: Tensor,
    axes: tuple[int, ...],
    valid: Tensor | None = None,
    from_logits: bool = True,
    squared: bool = False,
) -> Sums:
    """TP = sum y p, sum p and sum y over `axes` (with `squared` the sums of p^2 and y^2)."""
    y = target if valid is None else target * valid
    y_sum = region_sum(y * y if squared else y, axes)
    if from_logits and not torch.compiler.is_compiling():  # a compiler fuses the plain formula by itself
        tp, p_sum = _LogitOverlap.apply(logits, y, valid, axes, squared)
    else:
        p = logits.sigmoid() if from_logits else logits
        p = p if valid is None else p * valid
        tp, p_sum = region_sum(y * p, axes), region_sum(p * p if squared else p, axes)
    return tp, p_sum, y_sum


class _LogitEntropy(torch.autograd.Function):
    """Sum of log(1 + e^x) - x y, the cross-entropy of logits x, with its gradient sigma(x) - y in closed form.

    Half the passes over the image that PyTorch's own function makes; exact to float32 where it counts, on the
    background, whose terms are tiny and many.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, logits: Tensor, y: Tensor, valid: Tensor | None, axes: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(logits, y, valid)  # type: ignore[arg-type]
        ctx.axes = axes  # type: ignore[attr-defined]
        pixels = F.softplus(logits).addcmul_(logits, y, value=-1)
        return region_sum(pixels if valid is None else pixels.mul_(valid), axes)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        logits, y, valid = ctx.saved_tensors  # type: ignore[attr-defined]
        by_logits = logits.sigmoid().sub_(y).mul_(spread(grad, ctx.axes))  # type: ignore[attr-defined]
        return by_logits if valid is None else by_logits.mul_(valid), None, None, None


class _LogitOverlap(torch.autograd.Function):
    """(sum y p, sum p) from logits with the gradient in closed form: p (1 - p) (g_TP y + g_p).

    Autograd's own chain keeps and revisits every intermediate image; this halves the time of a step.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        logits: Tensor,
        y: Tensor,
        valid: Tensor | None,
        axes: tuple[int, ...],
        squared: bool,
    ) -> tuple[Tensor, Tensor]:
        p = logits.sigmoid()
        if valid is not None:
            p = p * valid  # where valid is 0, p (1 - p) is 0 too
        ctx.save_for_backward(p, y)
        ctx.axes, ctx.squared = axes, squared  # type: ignore[attr-defined]
        return region_sum(y * p, axes), region_sum(p * p if squared else p, axes)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_tp: Tensor, grad_p: Tensor) -> tuple[Tensor, None, None, None, None]:
        p, y = ctx.saved_tensors  # type: ignore[attr-defined]
        grad_tp, grad_p = (spread(grad, ctx.axes) for grad in (grad_tp, grad_p))  # type: ignore[attr-defined]
        by_p = torch.addcmul(grad_p, y, grad_tp) if not ctx.squared else 2 * p * grad_p + y * grad_tp  # type: ignore[attr-defined]
        return by_p.mul_(torch.addcmul(p, p, p, value=-1)), None, None, None, None


def require_number(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a finite number of at least 0, but is {value!r}")


def require_switch(name: str, value: object) -> None:
    """Raise ValueError unless `value` is True or False: a text such as "false" would be true."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, but is {value!r}")
