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
BACKGROUND = -1e4  # a logit of which e^x is 0 in float32 and float64: a pixel of background that adds 0 to every sum


def quickly_applied(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """A decorator: PyTorch asks for the signature of `forward` in every call, which takes longer than a small sum.

    Written down, it is read.
    """
    function.forward.__signature__ = inspect.signature(function.forward)  # type: ignore[attr-defined]
    return function


def pixel_sums(
    logits: Tensor,
    target: Tensor,
    axes: tuple[int, ...],
    valid: Tensor | None = None,
    from_logits: bool = True,
    *,
    entropy: bool = False,
    overlap: bool = False,
) -> Sums:
    """Sums over `axes`: with `entropy` of the pixels' cross-entropies, with `overlap` TP = sum y p, sum p and sum y.

    PyTorch clamps the logarithms of given probabilities at -100, so that the entropy stays finite at p = 0 and 1.
    """
    x, y = logits, target
    if valid is not None:
        x, y = x.masked_fill(valid == 0, BACKGROUND if from_logits else 0.0), y * valid
    p = x.sigmoid() if from_logits and overlap else x
    if (from_logits or not entropy) and not torch.compiler.is_compiling():
        found = _PixelSums.apply(x, p, y, axes, entropy, overlap)
    else:  # a compiler fuses the passes by itself
        pixels = [y * p, p, y] if overlap else []
        if entropy:
            pixels.insert(0, F.softplus(x) - x * y if from_logits else F.binary_cross_entropy(x, y, reduction="none"))
        found = tuple(region_sum(each, axes) for each in pixels)
    return found


@quickly_applied
class _PixelSums(torch.autograd.Function):
    """Sums of log(1 + e^x) - x y, the cross-entropy of logits x, and of y p and p, where p is sigma(x) or given.

    The gradients in x, (p - y) g, and in p, y g_TP + g_p, need p and y alone and one pass each, half of what PyTorch's
    own functions make. For the entropy alone p is x, and sigma(x) is made where it is needed. The entropy is exact to
    float32 where it counts, on the background, whose terms are tiny and many.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, p: Tensor, y: Tensor, axes: tuple[int, ...], entropy: bool, overlap: bool) -> Sums:
        pixels = [F.softplus(x).addcmul_(x, y, value=-1)] if entropy else []
        return summed(axes, *pixels, *((y * p, p, y) if overlap else ()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, p, y, ctx.axes, ctx.entropy, ctx.overlap = inputs
        ctx.sides = tuple([x.shape[axis] for axis in sorted(ctx.axes)])
        if ctx.overlap:
            ctx.mark_non_differentiable(output[-1])  # the truth has no gradient
        ctx.save_for_backward(p, y)
        ctx.save_for_forward(p, y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        p, y = ctx.saved_tensors
        in_x = in_p = None
        if ctx.entropy:
            grad = spread(grads[0], ctx.axes, ctx.sides)
            if torch.is_grad_enabled() or torch._C._functorch.is_functorch_wrapped_tensor(grad):
                in_x = ((p if ctx.overlap else p.sigmoid()) - y) * grad  # which has a gradient in its turn
            else:
                in_x = (p - y if ctx.overlap else p.sigmoid().sub_(y)).mul_(grad)
        if ctx.overlap:
            grad_tp, grad_p = (spread(grad, ctx.axes, ctx.sides) for grad in grads[-3:-1])
            in_p = torch.addcmul(grad_p, y, grad_tp)
        return in_x, in_p, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, in_x: Tensor, in_p: Tensor, *_: object) -> tuple[Tensor | None, ...]:
        p, y = ctx.saved_tensors
        pixels = [((p if ctx.overlap else p.sigmoid()) - y) * in_x] if ctx.entropy else []
        found = summed(ctx.axes, *pixels, *((y * in_p, in_p) if ctx.overlap else ()))
        return (*found, None) if ctx.overlap else found


def squared_sums(
    logits: Tensor, target: Tensor, axes: tuple[int, ...], valid: Tensor | None = None, from_logits: bool = True
) -> Sums:
    """TP = sum y p, sum p^2 and sum y^2 over `axes`."""
    p = logits.sigmoid() if from_logits else logits
    y = target
    if valid is not None:
        p, y = p * valid, y * valid
    return region_sum(y * p, axes), region_sum(p * p, axes), region_sum(y * y, axes)


def pixel_count(like: Tensor, pixels: Tensor, axes: tuple[int, ...], valid: Tensor | None = None) -> Tensor:
    """How many `pixels` each region has that count, in the shape and type of `like`."""
    if valid is None:
        return torch.full_like(like, pixels.numel() / like.numel())
    return summed(axes, valid)[0].expand_as(like)


def ratio(above: Tensor, below: Tensor) -> Tensor:
    """`above` / `below`, and 0 with gradient 0 for the 0 / 0 of an empty region without smoothing."""
    return above / below.clamp(min=torch.finfo(below.dtype).tiny)


def region_sum(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Sum over `axes`, which are negative and not neighbours where `x` holds the cells of a grid.

    region_sum(x, axes=(-3, -1))  # (N, rows, h, columns, w) -> (N, rows, columns)
    """
    if x.requires_grad and not torch.compiler.is_compiling():  # a compiler finds a fast way by itself
        return _RegionSum.apply(x, axes)
    return summed(axes, x)[0]


def summed(axes: tuple[int, ...], *pixels: Tensor) -> Sums:
    """The sum of each map of pixels over `axes`, one after the other from the front.

    On the cells of an image, (rows, h, columns, w), this adds whole rows of pixels first, which runs along the memory;
    a joint sum over (-3, -1) takes 2 to 5 times as long on a CPU.
    """
    for axis in sorted(axes):  # negative: summing one away does not move those behind it
        pixels = tuple([each.sum(axis) for each in pixels])
    return pixels


def region_max(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Largest value over `axes`, one after the other as in `summed`."""
    for axis in sorted(axes):
        x = x.amax(axis)
    return x


@quickly_applied
class _RegionSum(torch.autograd.Function):
    """`summed`, with a gradient that PyTorch's kernels can read along the memory.

    PyTorch's own gradient of a sum is a view that repeats each value without storing it. Read in rows of w pixels, a
    few at a time, it slows down whatever comes next by a factor of 3; here all axes but the first one are stored.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...]) -> Tensor:
        return summed(axes, x)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, tuple[int, ...]], output: Tensor) -> None:
        x, ctx.axes = inputs
        ctx.sides = tuple(x.shape[axis] for axis in sorted(ctx.axes))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return spread(grad, ctx.axes, ctx.sides), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: object) -> Tensor:
        return summed(ctx.axes, tangent)[0]


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
