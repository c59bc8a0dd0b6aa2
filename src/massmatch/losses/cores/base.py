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

import inspect
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..checks import require_number, require_switch

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
        axes: tuple[int, ...] | None = None,
        valid: Tensor | None = None,
        from_logits: bool = True,
        **others: object,
    ) -> Float[Tensor, "..."]:
        """The loss of each region: `logits` and `target` reduced over `axes`, every other axis kept.

        TypeError without `axes`, or with an argument of the losses of images, such as `mask`: cores have none of it.
        """
        axes = axes_of(self, axes, others)
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
        pixels = pixel_entropy(logits, target, from_logits)
        total = region_sum(pixels if valid is None else pixels * valid, axes)
        return total, pixel_count(total, logits, axes, valid)

    def from_sums(self, *sums: Tensor) -> Tensor:
        """Mean cross-entropy."""
        total, count = sums
        return total / count.detach().clamp(min=1)


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
        return overlap_sums(logits, target, axes, valid, from_logits, self.squared)

    def from_sums(self, *sums: Tensor) -> Tensor:
        """1 - Dice."""
        tp, p, y = sums
        above, below = 2 * tp + self.smooth, p + y + self.smooth
        return 1 - (above / below if self.smooth else ratio(above, below))


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


def pixel_count(like: Tensor, pixels: Tensor, axes: tuple[int, ...], valid: Tensor | None = None) -> Tensor:
    """How many `pixels` each region has that count, in the shape and type of `like`."""
    if valid is None:
        return torch.full_like(like, pixels.numel() / like.numel())
    return summed(valid, axes).expand_as(like)


def ratio(above: Tensor, below: Tensor) -> Tensor:
    """`above` / `below`, and 0 with gradient 0 for the 0 / 0 of an empty region without smoothing."""
    return above / below.clamp(min=torch.finfo(below.dtype).tiny)


def region_sum(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Sum over `axes`, which are negative and not neighbours where `x` holds the cells of a grid.

    region_sum(x, axes=(-3, -1))  # (N, rows, h, columns, w) -> (N, rows, columns)
    """
    if x.requires_grad and not torch.compiler.is_compiling():  # a compiler finds a fast way by itself
        return _RegionSum.apply(x, axes)
    return summed(x, axes)


def summed(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Sum over `axes`, one after the other from the front.

    On the cells of an image, (rows, h, columns, w), this adds whole rows of pixels first, which runs along the memory;
    a joint sum over (-3, -1) takes 2 to 5 times as long on a CPU.
    """
    for axis in sorted(axes):  # negative: summing one away does not move those behind it
        x = x.sum(axis)
    return x


def quickly_applied(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """A decorator: PyTorch asks for the signature of `forward` in every call, which takes longer than a small sum.

    Written down, it is read.
    """
    function.forward.__signature__ = inspect.signature(function.forward)  # type: ignore[attr-defined]
    return function


@quickly_applied
class _RegionSum(torch.autograd.Function):
    """`summed`, with a gradient that PyTorch's kernels can read along the memory.

    PyTorch's own gradient of a sum is a view that repeats each value without storing it. Read in rows of w pixels, a
    few at a time, it slows down whatever comes next by a factor of 3; here all axes but the first one are stored.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...]) -> Tensor:
        return summed(x, axes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, tuple[int, ...]], output: Tensor) -> None:
        x, ctx.axes = inputs
        ctx.sides = tuple(x.shape[axis] for axis in sorted(ctx.axes))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return spread(grad, ctx.axes, ctx.sides), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: object) -> Tensor:
        return summed(tangent, ctx.axes)


def spread(grad: Tensor, axes: tuple[int, ...], sides: tuple[int, ...]) -> Tensor:
    """The axes that a sum over `axes` took away, back with these sides; all but the first one are stored."""
    first, *others = zip(sorted(axes), sides, strict=True)
    for axis, side in reversed(others):
        grad = repeated(grad, axis, side)
    return repeated(grad.contiguous() if others else grad, *first)


def repeated(x: Tensor, axis: int, times: int) -> Tensor:
    """A view of `x` with a new axis, which counts from the end of the result, and the same values along it."""
    shape = list(x.unsqueeze(axis).shape)
    shape[axis] = times
    return x.unsqueeze(axis).expand(shape)


@quickly_applied
class _OverlapSums(torch.autograd.Function):
    """Sums of y p and of p, whose gradient y g_TP + g_p is made in one pass: each pass over the image costs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(p: Tensor, y: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        return summed(y * p, axes), summed(p, axes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, tuple[int, ...]], output: Any) -> None:
        p, y, ctx.axes = inputs
        ctx.sides = tuple(p.shape[axis] for axis in sorted(ctx.axes))
        ctx.save_for_backward(y)
        ctx.save_for_forward(y)

    @staticmethod
    def backward(ctx: Any, grad_tp: Tensor, grad_p: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        grad_tp, grad_p = (spread(grad, ctx.axes, ctx.sides) for grad in (grad_tp, grad_p))
        return torch.addcmul(grad_p, y, grad_tp), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: object) -> tuple[Tensor, Tensor]:
        (y,) = ctx.saved_tensors
        return summed(y * tangent, ctx.axes), summed(tangent, ctx.axes)


def overlap_sums(
    logits: Tensor,
    target: Tensor,
    axes: tuple[int, ...],
    valid: Tensor | None = None,
    from_logits: bool = True,
    squared: bool = False,
) -> Sums:
    """TP = sum y p, sum p and sum y over `axes` (with `squared` the sums of p^2 and y^2)."""
    p = logits.sigmoid() if from_logits else logits
    y = target
    if valid is not None:
        p, y = p * valid, y * valid
    if p.requires_grad and not squared and not torch.compiler.is_compiling():
        return *_OverlapSums.apply(p, y, axes), region_sum(y, axes)
    tp = region_sum(y * p, axes)
    if squared:
        p, y = p * p, y * y
    return tp, region_sum(p, axes), region_sum(y, axes)


def pixel_entropy(logits: Tensor, target: Tensor, from_logits: bool = True) -> Tensor:
    """Cross-entropy of each pixel.

    PyTorch clamps the logarithms of given probabilities at -100, so that it stays finite at p = 0 and 1.
    """
    if not from_logits:
        return F.binary_cross_entropy(logits, target, reduction="none")
    if torch.compiler.is_compiling():  # a compiler fuses the passes by itself
        return F.softplus(logits) - logits * target
    return _LogitEntropy.apply(logits, target)


@quickly_applied
class _LogitEntropy(torch.autograd.Function):
    """log(1 + e^x) - x y, the cross-entropy of logits x, with its gradient sigma(x) - y in closed form.

    Half the passes over the image that PyTorch's own function makes; exact to float32 where it counts, on the
    background, whose terms are tiny and many.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, y: Tensor) -> Tensor:
        return torch.addcmul(F.softplus(logits), logits, y, value=-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, y = ctx.saved_tensors
        if torch.is_grad_enabled() or torch._C._functorch.is_functorch_wrapped_tensor(grad):
            return (logits.sigmoid() - y) * grad, None  # which has a gradient in its turn
        return logits.sigmoid().sub_(y).mul_(grad), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: object) -> Tensor:
        logits, y = ctx.saved_tensors
        return (logits.sigmoid() - y) * tangent
