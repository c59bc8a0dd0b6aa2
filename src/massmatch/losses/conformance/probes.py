"""The probes of the conformance kit: each puts one question to a loss and answers in a few words."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..base import ImageLoss
from ..checks import accepts
from .border import bool_target, foreign_facts, hidden_by_mask, inputs_kept, wrong_shape
from .trial import HALF, SIDE, Failed, Make, applied, close, images, require, value_and_gradient

# Each probe takes a factory and returns a few words, or raises Failed.


def scalar(make: Make) -> str:
    """Random images give one finite number."""
    value, gradient = value_and_gradient(make(), *images())
    require(torch.isfinite(value) & torch.isfinite(gradient).all(), "not finite")
    return f"{value:.4f}"


def gradient_is_right(make: Make) -> str:
    """The gradient agrees with finite differences in float64, along a random direction."""
    logits, target = (x.double() for x in images())
    loss = make().double()
    _, gradient = value_and_gradient(loss, logits, target)
    direction = torch.randn_like(logits)
    step = 1e-6
    with torch.no_grad():
        up, down = (applied(loss, logits + sign * step * direction, target) for sign in (1, -1))
    slope, expected = (up - down) / (2 * step), (gradient * direction).sum()
    require(torch.allclose(slope, expected, rtol=1e-3, atol=1e-7), f"{float(expected):.3g} for {float(slope):.3g}")
    return ""


def second_derivative(make: Make) -> str:
    """The gradient of the gradient agrees with finite differences in float64, or is refused with an error."""
    logits, target = (x.double() for x in images())
    loss = make().double()
    direction = torch.randn_like(logits)
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(applied(loss, leaf, target).sum(), leaf, create_graph=True)
    require(gradient.requires_grad, "the gradient has no graph, and says nothing")
    try:
        (found,) = torch.autograd.grad((gradient * direction).sum(), leaf)
    except RuntimeError as refusal:
        return f"refused: {type(refusal).__name__}"
    step = 1e-5
    up, down = (value_and_gradient(loss, logits + sign * step * direction, target)[1] for sign in (1, -1))
    slope, expected = ((up - down) * direction).sum() / (2 * step), (found * direction).sum()
    require(torch.allclose(slope, expected, rtol=1e-3, atol=1e-7), f"{float(expected):.3g} for {float(slope):.3g}")
    return ""


def no_mass(make: Make) -> str:
    """An image without mass: finite, and false positives are pushed down."""
    logits, target = images()
    value, gradient = value_and_gradient(make(), logits, torch.zeros_like(target))
    require(torch.isfinite(value) & torch.isfinite(gradient).all(), "not finite")
    require(gradient.abs().max() > 1e-9, f"no gradient ({gradient.abs().max():.0e})")
    require(gradient[logits > 0].sum() > 0, "false positives are not pushed down")
    return f"{value:.4f}"


def no_prediction(make: Make) -> str:
    """Nothing predicted: finite, and the missed mass is pulled up."""
    logits, target = images()
    value, gradient = value_and_gradient(make(), torch.full_like(logits, -6.0), target)
    require(torch.isfinite(value) & torch.isfinite(gradient).all(), "not finite")
    require(gradient[target > 0].sum() < 0, "missed mass is not pulled up")
    return f"{value:.4f}"


def order(make: Make) -> str:
    """Better predictions cost less: the truth, half of it, nothing, its opposite."""
    _, target = images()
    half = target.clone()
    half[..., : SIDE // 3, :] = 0
    truth = 2 * target - 1
    with torch.no_grad():
        costs = [float(applied(make(), 8 * p, target)) for p in (truth, 2 * half - 1, -torch.ones_like(target), -truth)]
    require(costs == sorted(costs) and costs[0] < costs[2] and costs[0] < costs[3], " ".join(f"{c:.3f}" for c in costs))
    return ""


def saturated(make: Make) -> str:
    """Logits of 10 000 on both sides, right and wrong: value and gradient are finite."""
    _, target = images()
    for sign in (1, -1):
        value, gradient = value_and_gradient(make(), sign * 1e4 * (2 * target - 1), target)
        require(torch.isfinite(value) & torch.isfinite(gradient).all(), "not finite")
    return ""


def _half(make: Make, dtype: torch.dtype) -> str:
    torch.manual_seed(0)
    target = torch.zeros(1, 1, 512, 512)
    target[..., :256] = 1  # 131 072 pixels: more than float16 can count
    logits = torch.randn(target.shape) + 3 * target - 2
    full, _ = value_and_gradient(make(), logits.to(dtype).float(), target)
    value, gradient = value_and_gradient(make(), logits.to(dtype), target)
    require(torch.isfinite(value) & torch.isfinite(gradient).all(), "not finite")
    require(gradient.any(), "no gradient")
    require(close(value, full, HALF[dtype]), f"{float(value):.4f} for {float(full):.4f}")
    return ""


def float16(make: Make) -> str:
    """512 x 512 pixels in float16: the value of float32."""
    return _half(make, torch.float16)


def bfloat16(make: Make) -> str:
    """512 x 512 pixels in bfloat16: the value of float32."""
    return _half(make, torch.bfloat16)


def float64(make: Make) -> str:
    """Inputs in float64 are computed in float64."""
    logits, target = (x.double() for x in images())
    value, _ = value_and_gradient(make().double(), logits, target)
    require(value.dtype == torch.float64, str(value.dtype))
    return ""


def _compiled(make: Make, fullgraph: bool) -> str:
    logits, target = images()
    loss = make()
    facts = {"facts": loss.facts(target, density=[2] * len(target))} if isinstance(loss, ImageLoss) else {}
    plain, plain_gradient = value_and_gradient(loss, logits, target)
    torch.compiler.reset()
    graph = torch.compile(loss, fullgraph=fullgraph, backend="aot_eager")
    leaf = logits.clone().requires_grad_()
    try:
        value = graph(leaf, target, **facts)
        (gradient,) = torch.autograd.grad(value, leaf)
    except Exception as error:
        raise Failed(type(error).__name__) from None
    finally:
        torch.compiler.reset()
    require(close(value.detach(), plain) and close(gradient, plain_gradient), "other values")
    return ""


def compiled(make: Make) -> str:
    """torch.compile gives the same value and gradient."""
    return _compiled(make, False)


def fullgraph(make: Make) -> str:
    """torch.compile in one graph, without breaks (given the facts)."""
    return _compiled(make, True)


def exported(make: Make) -> str:
    """torch.export gives a program with the same value (given the facts)."""
    logits, target = images()
    loss = make()
    facts = {"facts": loss.facts(target, density=[2] * len(target))} if isinstance(loss, ImageLoss) else {}
    plain = applied(loss, logits, target).detach()
    try:
        program = torch.export.export(loss, (logits, target), facts).module()
        value = program(logits, target, **facts)
    except Exception as error:
        raise Failed(type(error).__name__) from None
    require(close(value.detach(), plain), "another value")
    return ""


def volume(make: Make) -> str:
    """Volumes are taken: (B, C, D, H, W)."""
    value, gradient = value_and_gradient(make(), *images(2, 32, 3))
    require(torch.isfinite(value) & gradient.any(), "not finite, or no gradient")
    return ""


def per_sample(make: Make) -> str:
    """reduction="none" keeps one entry (or map) per image, whose mean is the value."""
    if not accepts(make, "reduction"):
        raise Failed("no reduction argument")
    logits, target = images(3)
    each, whole = applied(make(reduction="none"), logits, target, number=False), applied(make(), logits, target)
    require(each.ndim > 0 and len(each) == 3, f"shape {tuple(each.shape)}")
    require(close(each.mean(), whole), "their mean is not the value")
    return f"{tuple(each.shape)}"


def permuted(make: Make) -> str:
    """The order of images in a batch does not matter."""
    logits, target = images(3)
    turn = [2, 0, 1]
    require(close(applied(make(), logits, target), applied(make(), logits[turn], target[turn])), "another value")
    return ""


def flipped(make: Make) -> str:
    """Image and truth flipped together give the same value."""
    logits, target = images()
    loss = make()
    for axes in ((-1,), (-2,), (-2, -1)):
        require(close(applied(loss, logits, target), applied(loss, logits.flip(axes), target.flip(axes))), f"{axes}")
    return ""


def batch_of_one(make: Make) -> str:
    """A batch costs the mean of its images: the value does not depend on who shares the batch."""
    logits, target = images(3)
    loss = make()
    single = torch.stack([applied(loss, logits[n : n + 1], target[n : n + 1]) for n in range(3)])
    require(close(applied(loss, logits, target), single.mean()), "depends on the batch")
    return ""


def deterministic(make: Make) -> str:
    """Two calls with the same inputs agree to the bit, as do two losses."""
    batch, loss = images(), make()
    first, *others = (value_and_gradient(each, *batch) for each in (loss, loss, make()))
    for other, differs in zip(others, ("the second call differs", "another loss of this kind differs"), strict=True):
        require(all(torch.equal(a, b) for a, b in zip(first, other, strict=True)), differs)
    return ""


def strides(make: Make) -> str:
    """Channels-last and transposed memory give the same value and gradient."""
    logits, target = images()
    plain = value_and_gradient(make(), logits, target)
    for other in (lambda x: x.to(memory_format=torch.channels_last), lambda x: x.mT.contiguous().mT):
        found = value_and_gradient(make(), other(logits), other(target))
        require(all(close(a, b) for a, b in zip(plain, found, strict=True)), "another value")
    return ""


def memory(make: Make) -> str:
    """Kept for the gradient: in bytes per pixel, against 8 of BCE (logits and truth)."""
    logits, target = images(2, 128)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = applied(make(), logits.requires_grad_(), target)
    require(value.requires_grad, "the value carries no gradient")
    per_pixel = sum(kept.values()) / target.numel()
    require(per_pixel < 400, f"{per_pixel:.0f} bytes per pixel")
    return f"{per_pixel:.0f} B/pixel"


def duration(make: Make) -> str:
    """Value and gradient of 4 x 1 x 256 x 256, in times of BCE (medians); the facts come from the loader."""
    logits, target = images(4, 256)
    loss = make()
    facts = {"facts": loss.facts(target, density=[2] * 4)} if isinstance(loss, ImageLoss) else {}

    def median(call: Callable[[Tensor], Tensor]) -> float:
        seconds = []
        for _ in range(7):
            leaf = logits.clone().requires_grad_()
            start = time.perf_counter()
            call(leaf).sum().backward()
            seconds.append(time.perf_counter() - start)
        return sorted(seconds)[3]

    bce = median(lambda x: nn.functional.binary_cross_entropy_with_logits(x, target))
    return f"{median(lambda x: loss(x, target, **facts)) / bce:.1f} x BCE"


PROBES: dict[str, Callable[[Make], str]] = {
    "value": scalar,
    "gradient": gradient_is_right,
    "second": second_derivative,
    "no mass": no_mass,
    "no prediction": no_prediction,
    "order": order,
    "saturated": saturated,
    "float16": float16,
    "bfloat16": bfloat16,
    "float64": float64,
    "compile": compiled,
    "fullgraph": fullgraph,
    "export": exported,
    "3-D": volume,
    "bool target": bool_target,
    "per sample": per_sample,
    "permutation": permuted,
    "flip": flipped,
    "batch": batch_of_one,
    "determinism": deterministic,
    "strides": strides,
    "inputs kept": inputs_kept,
    "wrong shape": wrong_shape,
    "mask": hidden_by_mask,
    "foreign facts": foreign_facts,
    "memory": memory,
    "time": duration,
}
