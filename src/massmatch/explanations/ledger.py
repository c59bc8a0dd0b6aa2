"""The ledger of one image: what each cell of its grid adds to the Spatial Matching loss, and gets of the gradient.

    L_SM = L(P, Y) + grid_weight s sum_i kept_i w_i L_i / sum_i kept_i

Everything is computed in float64 from probabilities, by the loss that trains. The gradient is that of L_SM by the
probability of each pixel, and by its logit, which is what arrives at the network: times p (1 - p). Both are
given as sums of absolute values over the pixels of a cell.

The soft loss (`soft_matching.py`) is told in the same columns: see `_of_soft`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from massmatch.errors import UsageError
from massmatch.losses import SoftMatchingLoss, SpatialMatchingLoss
from massmatch.losses.grid.geometry import cell_max, cut
from massmatch.losses.soft_matching import SoftMatching
from massmatch.losses.spatial_matching import Matching

BY = ("probability", "logit")  # what the gradient is taken by
QUARTER_STEP = 1 / (4 * 65535)  # of a 16-bit probability
HAIR = 1e-10  # far above PyTorch's bound of 1e-12 in the gradient of BCE; 10^5 such pixels add 1e-5 of one


@dataclass(frozen=True, eq=False)
class Ledger:
    """The terms of one loss of one image. `cells` has a row per cell, in the order of rows and columns.

    Its columns: `row`, `col`; `top`, `left`, `height`, `width` in pixels within the image; `true`, `predicted`,
    `kept`; `distance` d_i; `weight` w_i; `loss` L_i; `term` w_i L_i / sum kept, 0 where it is not added;
    `share_of_loss` of grid_weight s times that in L_SM; and by probability and by logit `gradient_by_...`, with its
    parts from the image and from the grid, and `share_of_gradient_by_...`, which add up to 1. A share of nothing is
    NaN: of a loss of 0, of a gradient of 0.
    """

    name: str
    loss: float  # L_SM
    image: float  # L(P, Y)
    ratio: float  # s
    S: float  # predicted cells / true cells
    grid_weight: float
    cell_size: tuple[int, int]
    shape: tuple[int, int]  # of the image
    threshold: float  # a pixel above it is predicted mass
    cells: pd.DataFrame
    soft: bool = False  # of the soft loss: see `_of_soft`

    @property
    def grid(self) -> float:
        """The mean over the kept cells: sum w_i L_i / sum kept."""
        return float(self.cells["term"].sum())

    @property
    def grid_shape(self) -> tuple[int, int]:
        """The number of rows and of columns of cells."""
        return int(self.cells["row"].max()) + 1, int(self.cells["col"].max()) + 1

    @cached_property
    def share_of_image(self) -> float:
        """Of L(P, Y) in the loss; with the shares of the cells it adds up to 1."""
        return share(self.image, self.loss)

    def gradient_of_grid(self, by: str = "probability") -> float:
        """Share of the grid term in the gradient: its absolute values over those of both terms."""
        of_image, of_grid = (float(self.cells[f"gradient_by_{by}_of_{term}"].sum()) for term in ("image", "grid"))
        return share(of_grid, of_image + of_grid)

    def map(self, column: str) -> np.ndarray:
        """A column as (rows, columns) of the grid."""
        return self.cells[column].to_numpy().reshape(self.grid_shape)

    def facts(self) -> dict[str, Any]:
        """The numbers above the cells, by name."""
        counts = {name: int(self.cells[name].sum()) for name in ("kept", "true", "predicted")}
        return {
            "name": self.name,
            "loss": self.loss,
            "image": self.image,
            "ratio": self.ratio,
            "grid": self.grid,
            "grid_weight": self.grid_weight,
            "S": self.S,
            "cells": len(self.cells),
            **counts,
            "share_of_image": self.share_of_image,
            **{f"gradient_of_grid_by_{by}": self.gradient_of_grid(by) for by in BY},
        }


def ledger(
    loss: SpatialMatchingLoss | SoftMatchingLoss, probability: np.ndarray, instances: np.ndarray, name: str = ""
) -> Ledger:
    """Every term of the loss, and the gradient that flows into each cell.

    Args:
        loss: with from_logits=False.
        probability: (H, W) of mass, in [0, 1]. At exactly 0 and 1 the gradient of BCE is PyTorch's bound: see
            `off_the_ends`.
        instances: (H, W) labels of the masses, 0 = background.
        name: to be shown.

    Raises:
        ValueError: what the loss refuses; a loss of logits.
    """
    if loss.from_logits:
        raise UsageError("ledger takes a loss of probabilities: make it with from_logits=False")
    p = torch.from_numpy(probability.astype(np.float64))[None, None].requires_grad_()
    labels = torch.from_numpy(instances.astype(np.int64))[None, None]
    terms = loss.explain(p, labels > 0, instances=labels)
    by_image = torch.autograd.grad(terms.image.sum(), p, retain_graph=True)[0]
    by_grid = torch.autograd.grad(terms.contributions.sum(), p)[0]
    weight = None
    if isinstance(terms, SoftMatching):
        weight = torch.where(terms.levels[0].true, 1.0, terms.levels[0].by_distance).numpy().ravel()
        terms = _of_soft(terms, p)
    terms = Matching(*(term.detach() if isinstance(term, Tensor) else term for term in terms))  # type: ignore[arg-type]
    height, width = terms.cell_size
    rows, columns = probability.shape
    cells = _places((rows, columns), (height, width)).assign(**_terms(terms))
    cells = cells if weight is None else cells.assign(weight=weight)
    return Ledger(
        name=name,
        loss=float(terms.loss),
        image=float(terms.image),
        ratio=float(terms.ratio),
        S=float(terms.S),
        grid_weight=terms.grid_weight,
        cell_size=(height, width),
        shape=(rows, columns),
        threshold=float(loss.threshold) if isinstance(loss, SpatialMatchingLoss) else 0.5,
        cells=cells.assign(**_gradients(p.detach(), by_image, by_grid, (height, width))),
        soft=isinstance(loss, SoftMatchingLoss),
    )


def _of_soft(terms: SoftMatching, p: Tensor) -> Matching:
    """The soft loss in the faithful one's words.

    L_i is the Dice loss of a cell with true mass and mean(p_j) of one without, on the first level. w_i is what this has
    to be multiplied with, so that the terms add up: it holds weights, distance, levels, logarithm and count; the ledger
    shows w_j instead. `predicted` is p > 1/2, which the loss itself does not ask for.
    """
    first = terms.levels[0]
    true, most = first.true[0], cell_max(cut(p.detach()[0], terms.cell_size), 2)[0]
    predicted = most > 0.5
    losses = torch.where(true, first.dice[0], first.mean[0])
    return Matching(
        image=terms.image[0],
        cells=losses,
        kept=torch.ones_like(true),
        summed=torch.ones_like(true),
        weight=terms.contributions[0] * true.numel() / losses.clamp(min=torch.finfo(losses.dtype).tiny),
        ratio=torch.ones_like(terms.image[0]),
        distance=first.distance[0] * ~true,
        predicted=predicted,
        true=true,
        cell_size=terms.cell_size,
        grid_weight=1.0,
    )


def _places(shape: tuple[int, int], cell: tuple[int, int]) -> pd.DataFrame:
    """Where each cell lies; those at the border are cut off."""
    rows, cols = np.mgrid[: -(-shape[0] // cell[0]), : -(-shape[1] // cell[1])].reshape(2, -1)
    top, left = rows * cell[0], cols * cell[1]
    height, width = np.minimum(cell[0], shape[0] - top), np.minimum(cell[1], shape[1] - left)
    return pd.DataFrame({"row": rows, "col": cols, "top": top, "left": left, "height": height, "width": width})


def _terms(terms: Matching) -> dict[str, np.ndarray]:
    """The columns that Algorithm 1 names."""
    term = terms.summed * terms.weight * terms.cells / terms.kept.sum().clamp(min=1)
    flags = {"true": terms.true, "predicted": terms.predicted, "kept": terms.kept}
    loss = float(terms.loss)
    return {
        **{name: flag.numpy().ravel() for name, flag in flags.items()},
        "distance": terms.distance.numpy().ravel(),
        "weight": terms.weight.numpy().ravel(),
        "loss": terms.cells.numpy().ravel(),
        "term": term.numpy().ravel(),
        "share_of_loss": share(terms.contributions.numpy().ravel(), loss),
    }


def _gradients(p: Tensor, by_image: Tensor, by_grid: Tensor, cell: tuple[int, int]) -> dict[str, np.ndarray]:
    """Absolute values, summed over cells, of the gradient and of its two parts."""
    found = {}
    sizes = {"": (by_image + by_grid).abs(), "_of_image": by_image.abs(), "_of_grid": by_grid.abs()}
    for by, chain in (("probability", 1), ("logit", p * (1 - p))):
        for part, size in sizes.items():
            found[f"gradient_by_{by}{part}"] = _in_cells((size * chain)[0, 0].numpy(), cell)
        whole = found[f"gradient_by_{by}"]
        found[f"share_of_gradient_by_{by}"] = share(whole, float(whole.sum()))
    return found


def _in_cells(pixels: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """Sums over the pixels of each cell, in the order of rows and columns."""
    for axis, side in enumerate(cell):
        pixels = np.add.reduceat(pixels, np.arange(0, pixels.shape[axis], side), axis=axis)
    return pixels.ravel()


def share(part: Any, of: float) -> Any:
    """part / of, and NaN if there is nothing to share."""
    return part / of if of else part * np.nan


def off_the_ends(probability: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, int]:
    """Float64 probabilities without 0 and 1, and how many of these contradicted the truth.

    A file rounds: 0 on mass, and 1 beside it, stand for what is a little less sure. They would cost BCE an infinity,
    of which PyTorch makes 100. Here they are a quarter of a 16-bit step inside, within the rounding. Where 0 and 1
    are right they move by a hair, which no loss feels: PyTorch's BCE sends a gradient of 0 there, but 1 beside.
    """
    truth = truth.astype(bool)
    p = probability.astype(np.float64)
    wrong = p == ~truth
    inside = np.where(wrong, QUARTER_STEP, HAIR)
    return p.clip(inside, 1 - inside), int(wrong.sum())
