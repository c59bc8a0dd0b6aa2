"""What the loss bench answers: the value of a loss of a painted prediction, its cells, and its gradient."""

import base64
import math
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from massmatch.app.runs import from_runs, to_runs
from massmatch.errors import MassmatchError, UsageError
from massmatch.explanations.ledger import ledger
from massmatch.explanations.placements import CLAIMS, SIDE, random_pairs
from massmatch.losses import LOSSES, LossSpec, SoftMatchingLoss, SpatialMatchingLoss

MOST_LOSSES = 4  # side by side
MOST_LETTERS = 200  # of the text of a loss
PRESET_SEED = 5  # of Figure 1's pairs: masses that lie well apart
CELL = ("top", "left", "height", "width", "true", "predicted", "kept", "distance", "weight", "loss", "term")
SHARES = ("share_of_loss", "share_of_gradient_by_logit")
ENDS = 1e-6  # probabilities stay so far from 0 and 1, where the gradient of cross-entropy has no value


def presets() -> list[dict[str, Any]]:
    """Figure 1's three pairs at one placement, each half a picture of its own, and a prediction of nothing."""
    found = []
    for claim, pair in random_pairs(1, side=SIDE, seed=PRESET_SEED).items():
        for half, (prediction, truth) in zip(("left", "right"), pair, strict=True):
            found.append(_preset(f"{claim} {half}", CLAIMS[claim], prediction[0, 0].numpy(), truth[0, 0].numpy()))
    missed = {"name": "missed", "title": "nothing is predicted", "truth": found[0]["truth"]}
    return [*found, {**missed, "prediction": to_runs(np.zeros((SIDE, SIDE), bool))}]


def _preset(name: str, title: str, prediction: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    return {"name": name, "title": title, "prediction": to_runs(prediction), "truth": to_runs(truth)}


def catalogue() -> list[dict[str, str]]:
    """Name and line of every loss."""
    return [{"name": entry.name, "line": entry.line} for entry in LOSSES.values()]


def answer(asked: Any) -> dict[str, Any]:
    """What the page asks with: a dictionary of truth, prediction (runs), certainty, doubt, blur and losses.

    The prediction is a probability: `certainty` inside the painted mask, `doubt` outside of it, `blur` the deviation in
    pixels with which its edge is smoothed.

    Raises UsageError for anything else. What a single loss refuses is told in the place of its result.
    """
    if not isinstance(asked, dict):
        raise UsageError("a question must be an object")
    shape = (SIDE, SIDE)
    truth, prediction = (from_runs(asked.get(name, []), shape) for name in ("truth", "prediction"))
    losses = asked.get("losses", [])
    if not isinstance(losses, list) or len(losses) > MOST_LOSSES or not all(_is_text(text) for text in losses):
        raise UsageError(f"losses must be up to {MOST_LOSSES} texts of up to {MOST_LETTERS} letters")
    high, low = _number(asked, "certainty", 0.0, 1.0), _number(asked, "doubt", 0.0, 1.0)
    p = low + (high - low) * prediction
    if blur := _number(asked, "blur", 0.0, SIDE / 8):
        p = ndimage.gaussian_filter(p, blur)
    return {"losses": [_told(text, p.clip(ENDS, 1 - ENDS), truth) for text in losses]}


def _is_text(text: Any) -> bool:
    return isinstance(text, str) and len(text) <= MOST_LETTERS


def _number(asked: dict[str, Any], name: str, least: float, most: float) -> float:
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise UsageError(f"{name} must be a number from {least:g} to {most:g}")
    return float(value)


def _told(text: str, p: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    try:
        return {"loss": text, **_of_loss(text, p, truth)}
    except (MassmatchError, ValueError, TypeError, RuntimeError) as error:
        return {"loss": text, "error": str(error).splitlines()[0]}


def _of_loss(text: str, p: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Value, gradient by the logit of each pixel, and the ledger of a loss that has cells."""
    spec = LossSpec.parse(text)
    if spec.is_own:  # a link must not make this program import code
        raise UsageError("losses of one's own are not run on this page: take one of the catalogue")
    loss = spec.make(from_logits=False)
    probability = torch.from_numpy(p)[None, None].requires_grad_()
    target = torch.from_numpy(truth)[None, None].double()
    value: Tensor
    if isinstance(loss, SpatialMatchingLoss | SoftMatchingLoss):
        value, cells = loss.explain(probability, target).loss.sum(), _cells(loss, p, truth)
    else:
        value, cells = loss(probability, target).sum(), {}
    (slope,) = torch.autograd.grad(value, probability)
    by_logit = (slope * probability.detach() * (1 - probability.detach()))[0, 0].numpy()
    return {"value": _finite(value.item()), **_gradient(by_logit), **cells}


def _gradient(by_logit: np.ndarray) -> dict[str, Any]:
    """As signed bytes, 127 the largest; above 0 the training lowers the probability."""
    largest = float(np.abs(by_logit).max())
    if not math.isfinite(largest):
        raise UsageError("the gradient is not finite")
    bytes_ = np.rint(by_logit * (127 / largest if largest else 0)).astype(np.int8)
    return {"gradient": base64.b64encode(bytes_.tobytes()).decode(), "steepest": largest}


def _cells(loss: SpatialMatchingLoss | SoftMatchingLoss, p: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    labels, _ = ndimage.label(truth, np.ones((3, 3)))
    told = ledger(loss, p, labels)
    columns = {name: [_finite(value) for value in told.cells[name].tolist()] for name in (*CELL, *SHARES)}
    return {
        "image": told.image,
        "grid": told.grid,
        "ratio": told.ratio,
        "S": told.S,
        "grid_weight": told.grid_weight,
        "cell_size": list(told.cell_size),
        "soft": told.soft,
        "cells": columns,
    }


def _finite(value: Any) -> Any:
    """The value, or None for a number that is not finite, which JSON does not know."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
