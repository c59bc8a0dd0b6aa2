"""The paper's own training and test, its losses to the letter, and what a cohort lacks for them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from PIL import Image

from massmatch.data import Cohort
from massmatch.losses import LOSSES, LossSpec
from massmatch.losses.grid.geometry import cell_size
from massmatch.runs.experiment import Experiment

PROTOCOLS: dict[str, dict[str, Any]] = {
    # section 4.1: all that it states of the training; docs/paper.md lists what it does not state and what we take
    "paper": {
        "scheme": "paper",
        "folds": 5,
        "batch_size": 4,
        "schedule": "constant",
        "learning_rate": 1e-4,
        "augment": "none",
    }
}
SIDE = 256  # pixels of the paper's square images, section 4.1
IMAGES = 107  # of INbreast with a mass, section 4.1
# Eqs. 3, 5 and 8 and section 3 as they are printed. Smoothing keeps 0 / 0 away and is too small to matter otherwise.
LETTER: dict[str, Any] = {"threshold": 0, "numerator": "all", "min_cell": 1, "smooth": 1e-6}


def contradiction(protocol: str, training: dict[str, Any]) -> str | None:
    """The first of the settings asked for that is not what the protocol states; None where all agree."""
    asked = Experiment(cohort="", fingerprint="", **training)
    wrong = (name for name, value in PROTOCOLS[protocol].items() if name in training and getattr(asked, name) != value)
    return next(wrong, None)


def to_the_letter(text: str) -> str:
    """One of the paper's 24 losses with the readings of LETTER in place of ours, where the text names no other.

    Any other loss stays as it is.

        to_the_letter("sm-bce-s-a:min_cell=2")  # "sm-bce-s-a:threshold=0,numerator=all,min_cell=2"
    """
    spec = LossSpec.parse(text)
    entry = LOSSES[spec.name]
    if entry.variant is None:
        return text
    known = {option.name for option in entry.options()}
    readings = {name: value for name, value in LETTER.items() if name in known}
    return str(LossSpec(spec.name, {**readings, **spec.options}))


def protocol_remarks(cohort: Cohort) -> Iterator[str]:
    """A line for each point in which a cohort is not what the paper's protocol is about."""
    if len(cohort) != IMAGES:
        yield f"the paper's protocol has {IMAGES} images of INbreast, {cohort.name} has {len(cohort)} images"
    sizes = Counter(_size(cohort, path) for path in cohort.table["image_path"])
    if set(sizes) != {(SIDE, SIDE)}:
        (rows, columns), count = sizes.most_common(1)[0]
        yield (
            f"the paper's images have {SIDE} x {SIDE} pixels, {count} of {len(cohort)} here have {rows} x {columns}: "
            f"`massmatch prepare` with --size {SIDE} brings them to the paper's size"
        )


def _size(cohort: Cohort, path: str) -> tuple[int, int]:
    with Image.open(cohort.root / path) as image:
        return image.height, image.width


def cell_remark(cohort: Cohort, *, letter: bool = False) -> str:
    """How many images Figure 3a can affect at all: those whose cells differ between smallest and mean mass.

    `letter`: with cells as small as the paper's, which have no lower bound.
    """
    masses = [cohort.load(id).instances.astype(int) for id in cohort.ids]
    bound = {"min_cell": LETTER["min_cell"]} if letter else {}
    differ = sum(cell_size(m > 0, m, **bound) != cell_size(m > 0, m, statistic="mean", **bound) for m in masses)
    return (
        f"figure 3a: the smallest and the mean mass give other cells in {differ} of {len(cohort)} images; in all "
        "others both losses are the same"
    )
