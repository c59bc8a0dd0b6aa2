"""What probes have in common: images, the loss applied to them, and how a finding is told."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..base import ImageLoss
from ..checks import article

Make = Callable[..., nn.Module]
SIDE = 64  # pixels: large enough for the 11 x 11 windows and cells of a grid, small enough for all probes in seconds
CLOSE = 1e-5  # relative, between two ways to the same float32 value
HALF = {torch.float16: 2e-2, torch.bfloat16: 5e-2}  # relative: inputs rounded to 11 and 8 bits


class Failed(Exception):  # noqa: N818
    """A probe's finding, in a few words."""


def images(count: int = 2, side: int = SIDE, axes: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits that find part of the truth and something else, and the truth: boxes of several sizes."""
    torch.manual_seed(seed)
    target = torch.zeros(count, 1, *[side] * axes)
    for n in range(count):
        low, length = 8 + 4 * n, 16 + 4 * n
        box = (slice(low, low + length),) * axes
        target[n, 0][box] = 1
    noise = torch.randn(target.shape)
    logits = 2 * noise + 4 * target.roll(6, -1) - 2
    return logits, target


def applied(loss: nn.Module, logits: Tensor, target: Tensor, *, number: bool = True) -> Tensor:
    """The loss of a batch; with its facts, if it has any. Failed where it is no tensor, or with `number` not one."""
    facts = {"facts": loss.facts(target, density=[2] * len(target))} if isinstance(loss, ImageLoss) else {}
    value = loss(logits, target, **facts)
    if not isinstance(value, Tensor):
        raise Failed(f"gives {article(value)}, and no tensor")
    if number and value.ndim > 0:
        raise Failed(f"gives values of the shape {tuple(value.shape)}, and not one number: have it take their mean")
    return value


def value_and_gradient(loss: nn.Module, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Of a fresh leaf; Failed where there is no gradient at all."""
    leaf = logits.detach().clone().requires_grad_()
    value = applied(loss, leaf, target)
    if not value.requires_grad:
        raise Failed("the value carries no gradient")
    (gradient,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
    if gradient is None:
        raise Failed("the value does not depend on the logits")
    return value.detach(), gradient


def require(condition: bool | Tensor, finding: str) -> None:
    """Raise Failed with the finding unless the condition holds, everywhere."""
    if not bool(torch.as_tensor(condition).all()):
        raise Failed(finding)


def close(a: Tensor, b: Tensor, tolerance: float = CLOSE) -> bool:
    """Equal up to a relative rounding."""
    return bool(torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance))
