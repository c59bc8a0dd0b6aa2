"""Draws the five faults of the Spatial Matching loss, and its soft form beside it: python docs/repaired_pictures.py"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor

from massmatch.losses import LOSSES, SoftMatchingLoss

HERE = Path(__file__).parent / "images"
FAITHFUL, SOFT = "#c44e52", "#4c72b0"
SIDE, CELL = 64, 8


def boxes(*corners: tuple[int, int]) -> Tensor:
    """A mask with squares of 8 pixels."""
    mask = torch.zeros(1, 1, SIDE, SIDE)
    for row, column in corners:
        mask[..., row : row + CELL, column : column + CELL] = 1
    return mask


def sure(mask: Tensor) -> Tensor:
    """Logits of p = 0.9997 and 0.0003."""
    return 16.0 * mask - 8


TRUTH = boxes((8, 8))


def weight_of_the_grid(ax: Axes) -> None:
    """1: how S rises with the predicted cells, and the soft count term, which is least at the truth."""
    cells = [(row, column) for row in range(8, SIDE, CELL) for column in range(8, SIDE, CELL)]
    counts = range(13)
    predictions = [sure(boxes(*cells[:count])) for count in counts]
    faithful, soft = LOSSES["sm-tversky-s-nz"](), SoftMatchingLoss(count=1.0)
    ax.plot(counts, [float(faithful.explain(x, TRUTH).ratio) for x in predictions], "o-", color=FAITHFUL, label="σ(S)")
    balance = [float(soft.explain(x, TRUTH).levels[0].balance) for x in predictions]
    ax.plot(counts, balance, "o-", color=SOFT, label="|log S|, soft")
    ax.set(title="1. S is one-sided", xlabel="predicted cells (one is true)", ylabel="factor, or term")


def pull_on_false_cell(ax: Axes) -> None:
    """2: the gradient into a far false cell, against how sure the network is of it."""
    probabilities = np.linspace(0.02, 0.98, 49)
    for loss, colour, label in (
        (LOSSES["sm-tversky-sd-nz"](), FAITHFUL, "sm-tversky-sd-nz"),
        (SoftMatchingLoss(), SOFT, "soft"),
    ):
        ax.plot(probabilities, [pull(loss, p) for p in probabilities], color=colour, label=label)
    ax.set(title="2. Ratios saturate", xlabel="p of a far false cell", ylabel="gradient by its logits")


def pull(loss: Callable[..., Tensor], probability: float) -> float:
    """Of the grid's terms, added up over the cell."""
    logits = sure(TRUTH)
    logits[..., 48:56, 48:56] = float(np.log(probability / (1 - probability)))
    (gradient,) = torch.autograd.grad(grid_terms(loss.explain(logits.requires_grad_(), TRUTH)), logits)  # type: ignore[attr-defined]
    return float(gradient[..., 48:56, 48:56].sum())


def grid_terms(terms: object) -> Tensor:
    """All that the cells add to the loss of one image."""
    if hasattr(terms, "contributions"):
        return terms.contributions.sum()
    return sum(level.loss[0] for level in terms.levels)  # type: ignore[attr-defined]


def weight_of_missed_cell(ax: Axes) -> None:
    """3: what a missed mass adds to the loss, the more false pieces there are."""
    pieces = range(8)
    predictions = [sure(boxes(*((48, CELL * n) for n in range(k)))) for k in pieces]
    faithful, soft = LOSSES["sm-tversky-d-nz"](), SoftMatchingLoss()
    missed = [float(faithful.explain(x, TRUTH).contributions[1, 1]) for x in predictions]
    found = [float(soft.explain(x, TRUTH).levels[0].found[0, 1, 1]) for x in predictions]
    ax.plot(pieces, missed, "o-", color=FAITHFUL, label="sm-tversky-d-nz")
    ax.plot(pieces, found, "o-", color=SOFT, label="soft")
    ax.set(
        title="3. False pieces dilute a miss", xlabel="false pieces", ylabel="share of the missed cell", ylim=(0, 1.1)
    )


def cost_by_place(ax: Axes) -> None:
    """4: the grid's terms of one half-found mass at 64 places; a random phase gives their mean."""
    places = [(row, column) for row in range(8, 16) for column in range(8, 16)]
    halves = [sure(boxes(at) * (torch.arange(SIDE) < at[1] + 4)) for at in places]
    losses = ((LOSSES["sm-tversky-b-nz"](), FAITHFUL, "sm-tversky-b-nz"), (SoftMatchingLoss(), SOFT, "soft, fixed"))
    for loss, colour, label in losses:
        costs = [float(grid_terms(loss.explain(x, boxes(at)))) for x, at in zip(halves, places, strict=True)]
        ax.plot(sorted(costs), ".", color=colour, label=label)
    ax.axhline(float(np.mean(costs)), color=SOFT, lw=1, label="soft, mean over phases")
    ax.set(
        title="4. The accident of position", xlabel="64 places of one mass, sorted", ylabel="grid term", ylim=(0, None)
    )


def cost_by_distance(ax: Axes) -> None:
    """5: the loss of a false piece (the mass is missed), cell by cell away from the mass, without D."""
    columns = range(16, SIDE, CELL)
    predictions = [sure(boxes((8, column))) for column in columns]
    away = [(column - 8) // CELL for column in columns]
    for loss, colour, marker, label in (
        (LOSSES["sm-tversky-b-nz"](), FAITHFUL, "o-", "sm-tversky-b-nz"),
        (SoftMatchingLoss(distance=False), SOFT, "o--", "soft, 1 level, without D"),
        (SoftMatchingLoss(distance=False, levels=3), SOFT, "o-", "soft, 3 levels, without D"),
    ):
        values = np.array([float(loss(x, TRUTH)) for x in predictions])
        ax.plot(away, values - values[0], marker, color=colour, label=label)
    ax.set(title="5. One scale", xlabel="cells between prediction and mass", ylabel="loss, minus that beside it")


if __name__ == "__main__":
    panels = (weight_of_the_grid, pull_on_false_cell, weight_of_missed_cell, cost_by_place, cost_by_distance)
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), constrained_layout=True)
    axes.flat[-1].remove()
    for panel, ax in zip(panels, axes.flat, strict=False):
        panel(ax)
        ax.legend(fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    HERE.mkdir(exist_ok=True)
    figure.savefig(HERE / "repaired.png", dpi=80)
