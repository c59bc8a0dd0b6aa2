"""Makes the pictures of the README and of the page on the loss from made-up mammograms: python docs/pictures.py"""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from scipy import ndimage
from scipy.special import expit

from massmatch.data import phantoms
from massmatch.explanations.figure import draw_cells, draw_summary
from massmatch.explanations.ledger import Ledger, ledger
from massmatch.explanations.subject import Subject
from massmatch.losses import LOSSES

HERE = Path(__file__).parent / "images"


def example() -> Subject:
    """A phantom with one mass, and a soft prediction that is a little off and has a false positive elsewhere."""
    sample = next(
        s for s in phantoms(40, seed=5, normal_fraction=0) if s.instances.max() == 1 and s.mask.mean() > 0.005
    )
    moved = ndimage.shift(sample.mask.astype(float), (5, 6), order=0) > 0.5
    rows, cols = np.mgrid[: sample.image.shape[0], : sample.image.shape[1]]
    breast = ndimage.binary_erosion(sample.image > 40, iterations=14) & ~ndimage.binary_dilation(moved, iterations=60)
    row, col = np.argwhere(breast)[len(np.argwhere(breast)) // 2]
    predicted = moved | (np.hypot(rows - row, cols - col) < 8)
    probability = expit(12 * ndimage.gaussian_filter(predicted.astype(float), 2) - 6)
    return Subject("A made-up mammogram", sample.image, sample.instances, probability, "probabilities")


def ledger_of(subject: Subject, name: str) -> Ledger:
    """What the cells of the example add to a loss of the catalogue."""
    return ledger(LOSSES[name](from_logits=False), subject.probability, subject.instances, name)


def grid_picture(path: Path) -> None:
    """What the loss sees: the masses, the cells with their weights, and their shares of the loss."""
    subject = example()
    draw_summary(subject, ledger_of(subject, "sm-tversky-sd-nz")).savefig(path, dpi=85)


def variants_picture(path: Path) -> None:
    """The same prediction in the eyes of four variants."""
    subject, names = example(), ("sm-tversky-b-a", "sm-tversky-b-nz", "sm-tversky-d-nz", "sm-tversky-sd-nz")
    draw_cells(subject, [ledger_of(subject, name) for name in names]).savefig(path, dpi=70)


def phantoms_picture(path: Path) -> None:
    """A sheet of phantoms."""
    samples = list(phantoms(12, seed=2))[:12]
    rows = [np.hstack([s.image for s in samples[start : start + 6]]) for start in (0, 6)]
    plt.imsave(path, np.vstack(rows), cmap="gray")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    grid_picture(HERE / "grid.png")
    variants_picture(HERE / "variants.png")
    phantoms_picture(HERE / "phantoms.png")
