"""The probes at the border of a loss: what it takes, what it refuses, and what must have no influence."""

import torch

from .trial import Failed, Make, applied, close, images, require, value_and_gradient


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
    value_and_gradient(make(), logits, target)
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
