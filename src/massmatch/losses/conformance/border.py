"""The probes at the border of a loss: what it takes, what it refuses, and what must have no influence."""

from typing import Any

import torch
from torch import Tensor, nn

from ..base import ImageLoss
from ..checks import accepts
from .trial import SIDE, Failed, Make, applied, close, images, require


def bool_target(make: Make) -> str:
    """A truth of bool gives the value of floats."""
    logits, target = images()
    loss = make()
    require(close(applied(loss, logits, target.bool()), applied(loss, logits, target)), "another value")
    return ""


def inputs_kept(make: Make) -> str:
    """Neither logits nor truth are changed."""
    logits, target = images()
    before = logits.clone(), target.clone()
    value = applied(make(), logits.requires_grad_(), target)
    torch.autograd.grad(value.sum(), logits)
    require(torch.equal(logits, before[0]) and torch.equal(target, before[1]), "changed")
    return ""


def wrong_shape(make: Make) -> str:
    """A truth of another shape is refused, not broadcast."""
    logits, target = images()
    loss = make()
    applied(loss, logits, target)  # a loss that refuses every truth has refused nothing
    try:
        applied(loss, logits, target[:, :, :1])
    except Exception as refusal:
        return type(refusal).__name__
    raise Failed("broadcast in silence")


def hidden_by_mask(make: Make) -> str:
    """What lies behind the mask, 255 or NaN, has no influence on value or gradient (or the loss takes no mask)."""
    loss = make()
    if not accepts(loss, "mask"):
        return "takes none"
    logits, target = images()
    mask = torch.ones_like(target)
    mask[..., : SIDE // 4, :] = 0  # a part of every mass is behind it
    try:
        value, gradient = under_mask(loss, logits, target, mask)
    except (TypeError, ValueError) as refusal:
        return f"refused: {type(refusal).__name__}"
    for x, y in ((torch.nan, 255.0), (1e4, torch.nan), (-1e4, 1.0)):
        found = under_mask(loss, logits.masked_fill(mask == 0, x), target.masked_fill(mask == 0, y), mask)
        require(close(found[0], value), f"{x:g} and {y:g} change the value")
        require(close(found[1], gradient), f"{x:g} and {y:g} change the gradient")
    require(not gradient[mask == 0].any(), "a gradient behind it")
    return ""


def under_mask(loss: nn.Module, logits: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient of the pixels before a mask; the loss finds its facts itself."""
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, target, mask=mask)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


def foreign_facts(make: Make) -> str:
    """Facts of another image, or of the batch in another order, are refused (or the loss needs none)."""
    loss: Any = make()
    if not accepts(loss, "facts") or not hasattr(loss, "facts"):
        return "takes none"
    logits, target = images()
    facts = loss.facts(target, density=[2] * len(target)) if isinstance(loss, ImageLoss) else loss.facts(target)
    if not any(facts):
        return "needs none"
    loss(logits, target, facts=facts)  # a loss that refuses all facts has refused none
    for other, what in ((target.flip(-1), "a flipped image"), (target.flip(0), "another order")):
        try:
            loss(logits, other, facts=facts)
        except ValueError:
            continue
        raise Failed(f"facts of {what} taken in silence")
    return ""
