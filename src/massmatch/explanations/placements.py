"""The three claims of the paper's Figure 1, asked of masses at random places instead of one drawing.

The figure shows pairs of pictures that plain BCE cannot tell apart, and claims that the Spatial Matching loss can. In
one drawing the answer of a variant depends on where its masses happen to lie on the grid. Here rectangular masses of
random height and width are placed at random, and each claim has a share: in how many placements it holds.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from massmatch.losses import LOSSES

SIDE = 128  # pixels of the square image; masses measure 1/16 to 3/16 of it, as most do on whole mammograms
PLACEMENTS = 200  # a share of one half is then known to within 7 points
SURE = 8.0  # logits of a prediction without doubt: p = 0.9997 and 0.0003
DIFFERENT = 1e-3  # two values of a loss differ if they do by more than this share of the second
CLAIMS = {
    "a": "four predicted masses cost more than one of the same area at the same distance",
    "b": "a predicted mass far from the true one costs more than one beside it",
    "c": "missing three quarters of a mass costs something else than predicting four times the mass",
    "c+": "missing three quarters of a mass costs more than predicting four times the mass",
}

Box = tuple[int, int, int, int]  # top, left, height, width


class Pair(NamedTuple):
    """Two pictures that plain BCE cannot tell apart, each as (prediction, truth), (placements, 1, side, side)."""

    left: tuple[Tensor, Tensor]
    right: tuple[Tensor, Tensor]


def random_pairs(placements: int = PLACEMENTS, *, side: int = SIDE, seed: int = 0) -> dict[str, Pair]:
    """Pairs "a", "b" and "c" of Figure 1, each at so many random places.

    All masks are 0 or 1. In each pair the predicted and true areas are the same on both sides, and so are the pixels in
    which prediction and truth differ.
    """
    rng = np.random.default_rng(seed)
    draws = {"a": _four_and_one, "b": _far_and_near, "c": _small_and_large}
    pairs = {}
    for claim, draw in draws.items():
        drawn = [_until(draw, rng, side) for _ in range(placements)]
        left, right = ([place[half] for place in drawn] for half in (0, 1))
        pairs[claim] = Pair(_pictures(left, side), _pictures(right, side))
    return pairs


def share_of(losses: Sequence[str], pairs: dict[str, Pair]) -> pd.DataFrame:
    """The share of placements in which each claim holds: a row per loss, a column per claim."""
    rows = []
    for name in losses:
        loss = LOSSES[name](reduction="none")
        held = {claim: float(holds(claim, loss, pairs[claim[0]]).float().mean()) for claim in CLAIMS}
        rows.append({"loss": name, **held})
    return pd.DataFrame(rows).set_index("loss")


def holds(claim: str, loss: Callable[[Tensor, Tensor], Tensor], pair: Pair) -> Tensor:
    """Whether the claim holds in each placement, (placements,); `loss` returns one value per image and channel."""
    left, right = (loss(SURE * (2 * prediction - 1), truth).flatten() for prediction, truth in pair)
    difference = (left - right) / right
    return difference.abs() > DIFFERENT if claim == "c" else difference > DIFFERENT


Half = tuple[list[Box], list[Box]]  # predicted and true masses of one picture
Draw = Callable[[np.random.Generator, int], "tuple[Half, Half] | None"]


def _until(draw: Draw, rng: np.random.Generator, side: int) -> tuple[Half, Half]:
    """Draw until the masses lie within the image and apart from each other where they must."""
    while True:
        if (found := draw(rng, side)) is not None:
            return found


def _four_and_one(rng: np.random.Generator, side: int) -> tuple[Half, Half] | None:
    """a: four predicted masses around the true one, and a single one of the same area and distance."""
    truth = _mass(rng, side)
    distance = rng.uniform(max(truth[2:]), side / 3)
    pieces = list(_around(truth, (truth[2] // 2, truth[3] // 2), [distance] * 4, rng))
    one = list(_around(truth, truth[2:], [distance], rng))
    if not (_apart([truth, *pieces], side) and _apart([truth, *one], side)):
        return None
    return (pieces, [truth]), (one, [truth])


def _far_and_near(rng: np.random.Generator, side: int) -> tuple[Half, Half] | None:
    """b: a predicted mass of the size of the true one, at least 3/8 of the image away, and one beside it."""
    truth = _mass(rng, side)
    beside = math.hypot(*truth[2:]) / 2 + max(truth[2:]) / 2  # so far apart they lie side by side at any angle
    far = list(_around(truth, truth[2:], [rng.uniform(3 * side / 8, side)], rng))
    near = list(_around(truth, truth[2:], [beside], rng))
    if not (_apart([truth, *far], side) and _apart([truth, *near], side)):
        return None
    return (far, [truth]), (near, [truth])


def _small_and_large(rng: np.random.Generator, side: int) -> tuple[Half, Half] | None:
    """c: a small mass predicted within a large true one, and the large one predicted over the small true one."""
    small = _mass(rng, side)
    top, left = (small[axis] - int(rng.integers(small[axis + 2] + 1)) for axis in (0, 1))
    large = (top, left, 2 * small[2], 2 * small[3])
    return (([small], [large]), ([large], [small])) if _inside(large, side) else None


def _mass(rng: np.random.Generator, side: int) -> Box:
    """A mass of even height and width, so that half of each is whole, anywhere within the image."""
    height, width = (2 * int(rng.integers(side // 32, 3 * side // 32 + 1)) for _ in range(2))
    return int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1)), height, width


def _around(mass: Box, size: tuple[int, int], distances: Sequence[float], rng: np.random.Generator) -> Iterator[Box]:
    """A mass of this size for each distance from centre to centre, each in a random direction."""
    for distance in distances:
        angle = rng.uniform(0, 2 * math.pi)
        top = mass[0] + mass[2] / 2 + distance * math.sin(angle) - size[0] / 2
        left = mass[1] + mass[3] / 2 + distance * math.cos(angle) - size[1] / 2
        yield round(top), round(left), *size


def _apart(boxes: Sequence[Box], side: int) -> bool:
    """Whether all lie within the image, and no two overlap or touch."""
    if not all(_inside(box, side) for box in boxes):
        return False
    count = np.zeros((side + 1, side + 1), int)
    for top, left, height, width in boxes:
        count[top : top + height + 1, left : left + width + 1] += 1  # with a pixel more, so that touching ones meet
    return bool(count.max() == 1)


def _inside(box: Box, side: int) -> bool:
    top, left, height, width = box
    return top >= 0 and left >= 0 and top + height <= side and left + width <= side


def _pictures(halves: Sequence[Half], side: int) -> tuple[Tensor, Tensor]:
    """Predictions and truths as masks."""
    predicted, true = (torch.zeros(len(halves), 1, side, side) for _ in range(2))
    for image, half in enumerate(halves):
        for mask, boxes in zip((predicted, true), half, strict=True):
            for top, left, height, width in boxes:
                mask[image, 0, top : top + height, left : left + width] = 1
    return predicted, true
