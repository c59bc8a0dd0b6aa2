"""Sums over the pixels of regions, with their gradients written out: what the cores see of logits and target.

Each function reduces the pixel axes of a region and keeps every axis in front, so that an image gives one number and
the cells of a grid one number each. The gradients are in closed form, which saves passes over the image.
"""

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Sums = tuple[Tensor, ...]


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
