"""Makes the pictures of the README from made-up mammograms: python docs/pictures.py"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from scipy import ndimage

from massmatch.data import phantoms
from massmatch.losses import LOSSES

HERE = Path(__file__).parent / "images"
GREEN, BLUE = "#3cdc5a", "#4696ff"


def example() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A phantom with one mass, and a prediction that is a little off and has a false positive elsewhere."""
    sample = next(
        s for s in phantoms(40, seed=5, normal_fraction=0) if s.instances.max() == 1 and s.mask.mean() > 0.005
    )
    moved = ndimage.shift(sample.mask.astype(float), (5, 6), order=0) > 0.5
    rows, cols = np.mgrid[: sample.image.shape[0], : sample.image.shape[1]]
    breast = ndimage.binary_erosion(sample.image > 40, iterations=14) & ~ndimage.binary_dilation(moved, iterations=60)
    row, col = np.argwhere(breast)[len(np.argwhere(breast)) // 2]
    return sample.image, sample.mask, moved | (np.hypot(rows - row, cols - col) < 6)


def draw(axis: plt.Axes, image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> None:
    """The mammogram with its contours."""
    axis.imshow(image, cmap="gray")
    axis.contour(truth, [0.5], colors=GREEN, linewidths=1.4)
    axis.contour(prediction, [0.5], colors=BLUE, linewidths=1.4)
    axis.set(xticks=[], yticks=[])


def grid_picture(path: Path) -> None:
    """What the loss sees: cells by kind, and the share of each cell in the loss."""
    image, truth, prediction = example()
    logits = torch.from_numpy(np.where(prediction, 3.0, -5.0))[None, None]
    terms = LOSSES["sm-tversky-sd-nz"]().explain(logits, torch.from_numpy(truth)[None, None])
    height, width = terms.cell_size
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13.2, 4.6), layout="constrained")
    for axis in (left, middle, right):
        draw(axis, image, truth, prediction)
    left.set_title("truth (green) and prediction (blue)")
    kinds = {"both": (terms.predicted & terms.true, "orange"), "missed": (terms.true & ~terms.predicted, GREEN)}
    kinds["false positive"] = (terms.predicted & ~terms.true, "tomato")
    for cells, colour in kinds.values():
        mark(middle, cells.numpy(), (height, width), lambda _, c=colour: to_rgba(c, 0.45))
    middle.set_title(f"cells of {height} x {width} pixels: S = {float(terms.S):.2f}")
    handles = [mpl.patches.Patch(color=to_rgba(colour, 0.6), label=name) for name, (_, colour) in kinds.items()]
    middle.legend(handles=handles, loc="lower right", fontsize=8)
    share = terms.contributions / terms.loss
    mark(right, share.numpy(), (height, width), lambda v: (1, 0.85, 0.2, min(1.0, 0.15 + 6 * float(v))), label=True)
    right.set_title("share of each kept cell in the loss, %")
    for axis in (middle, right):
        axis.set_xticks(np.arange(0, image.shape[1] + 1, width) - 0.5, [])
        axis.set_yticks(np.arange(0, image.shape[0] + 1, height) - 0.5, [])
        axis.grid(color="white", alpha=0.13, linewidth=0.6)
        axis.tick_params(length=0)
    figure.savefig(path, dpi=100)


def mark(axis: plt.Axes, values: np.ndarray, cell: tuple[int, ...], colour: object, label: bool = False) -> None:
    """Fill the cells whose value is not 0."""
    for row, col in np.argwhere(values):
        corner = (col * cell[1] - 0.5, row * cell[0] - 0.5)
        axis.add_patch(mpl.patches.Rectangle(corner, cell[1], cell[0], color=colour(values[row, col]), linewidth=0))
        if label:
            at = (corner[0] + cell[1] / 2, corner[1] + cell[0] / 2)
            axis.text(*at, f"{100 * values[row, col]:.0f}", ha="center", va="center", fontsize=7, weight="bold")


def phantoms_picture(path: Path) -> None:
    """A sheet of phantoms."""
    samples = list(phantoms(12, seed=2))[:12]
    rows = [np.hstack([s.image for s in samples[start : start + 6]]) for start in (0, 6)]
    plt.imsave(path, np.vstack(rows), cmap="gray")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    grid_picture(HERE / "grid.png")
    phantoms_picture(HERE / "phantoms.png")
