"""A sheet of training images as augmentation shows them, to look at before a training."""

from typing import cast, get_args

from PIL import Image
from torch import Tensor

from massmatch.data import Cohort
from massmatch.data.augmentation import Level
from massmatch.errors import DataError, UsageError
from massmatch.losses import make_loss
from massmatch.pictures import overlay, sheet
from massmatch.training.batches import Samples


def augmented_sheet(cohort: Cohort, level: str, *, seed: int = 0, rows: int = 4, draws: int = 6) -> Image.Image:
    """Images spread over those of a cohort with a mass, a row each: as it is, then as the first epochs would show it.

    Raises UsageError for an unknown level, DataError for a cohort without masses.
    """
    if level not in get_args(Level):
        raise UsageError(f"--level: must be one of {', '.join(get_args(Level))}, but is {level!r}")
    ids = [id for id, share in zip(cohort.ids, cohort.mass_fraction, strict=True) if share > 0]
    if not ids:
        raise DataError(f"{cohort.root.name}: has no image with a mass, so there is nothing to look at: take another")
    chosen = ids[:: max(1, len(ids) // rows)][:rows]
    plain = Samples(cohort, chosen, make_loss("bce"))
    changed = Samples(cohort, chosen, make_loss("bce"), cast(Level, level), seed)
    shown = [[(plain, n), *((changed, epoch * len(chosen) + n) for epoch in range(draws))] for n in range(len(chosen))]
    return sheet([[_drawn(of, number, plain[row[0][1]][0]) for of, number in row] for row in shown])


def _drawn(samples: Samples, number: int, plain: Tensor) -> Image.Image:
    """One image with the contours of its masses, its greys between those of the plain one."""
    image, target, *_ = samples[number]
    low, high = plain.aminmax()
    return overlay(image[0].numpy(), truth=target[0].numpy(), grey=(low.item(), high.item()))
