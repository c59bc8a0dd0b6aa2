"""The paper's Figure 1, drawn: its three pairs of pictures, and how often each of its claims holds for each loss."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from massmatch.explanations.placements import CLAIMS, Pair
from massmatch.runs.atomic import write_atomic

COLOURS = np.array(  # grey, pink and green as in the paper, and brown: neither, true, predicted, both
    [(217, 217, 217), (244, 143, 177), (102, 187, 106), (141, 110, 99)], np.uint8
)
LOW = 0.5  # shares below it are written in white, since the colour behind them is dark


def draw_figure(pairs: dict[str, Pair], shares: pd.DataFrame, path: Path, *, placement: int = 0) -> None:
    """Write a picture: one placement of each pair on the left, the shares of all losses (`share_of`) on the right."""
    figure = Figure(figsize=(11, 1.5 + 0.3 * len(shares)), layout="constrained")
    pictures, table = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.3))[0]
    axes = pictures.subplots(len(pairs), 2)
    for row, (claim, pair) in enumerate(pairs.items()):
        for column, half in enumerate(pair):
            _draw_masks(axes[row, column], *(mask[placement, 0] for mask in half))
        axes[row, 0].set_ylabel(f"({claim})", rotation=0, labelpad=14, va="center")
    pictures.suptitle("pink: true mass, green: predicted, brown: both", fontsize=9)
    _draw_shares(table.subplots(), shares)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    write_atomic(path, buffer.getbuffer())


def _draw_masks(ax: Axes, prediction: Tensor, truth: Tensor) -> None:
    """One picture, in the colours of the paper."""
    ax.imshow(COLOURS[(truth + 2 * prediction).numpy().astype(int)], interpolation="nearest")
    ax.set(xticks=[], yticks=[])


def _draw_shares(ax: Axes, shares: pd.DataFrame) -> None:
    """A cell for each loss and claim, with the share in percent."""
    values = shares[list(CLAIMS)].to_numpy()
    ax.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color="white" if value < LOW else "black")
    ax.set_xticks(range(len(CLAIMS)), [f"({claim})" for claim in CLAIMS])
    ax.set_yticks(range(len(shares)), list(shares.index))
    ax.xaxis.tick_top()
    ax.set_title("placements in which the claim holds, in percent", fontsize=9)
