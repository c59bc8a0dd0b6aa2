"""What the loss bench asks of a cohort: its images, each with the true masses and what the network finds."""

import base64
from typing import Any

import numpy as np

from massmatch.app.reading import Reading
from massmatch.app.runs import to_runs
from massmatch.data import Cohort
from massmatch.data.preprocessing.resize import resized, resized_labels
from massmatch.errors import UsageError
from massmatch.explanations.placements import SIDE
from massmatch.wording import count


def listed(cohort: Cohort | None) -> dict[str, Any]:
    """The name of the cohort and the ids of its images; of no cohort neither."""
    return {"name": "", "ids": []} if cohort is None else {"name": cohort.name, "ids": cohort.ids}


def shown(cohort: Cohort | None, reading: Reading, number: int) -> dict[str, Any]:
    """The image of a number, from 0, as the bench holds it: truth, prediction, and grey levels as bytes.

    All at SIDE x SIDE pixels; what is not square is filled up with black at the right or below, as no mass may be bent.

    Raises UsageError for a number that there is not, DataError for files that do not fit.
    """
    if cohort is None or not 0 <= number < len(cohort):
        raise UsageError("there is no such image")
    sample = cohort.load(cohort.ids[number])
    probability, threshold, said = reading.probability(cohort, sample)
    truth, vanished = resized_labels(_square(sample.instances), (SIDE, SIDE))
    grey = resized(_square(sample.image), (SIDE, SIDE))
    found = resized(_square(probability), (SIDE, SIDE)) > threshold
    small = f", {len(vanished)} of them smaller than a pixel" if vanished else ""
    masses = count(len(np.unique(sample.instances[sample.mask])), "true mass", "true masses")
    about = (
        f"{sample.id} at {SIDE} x {SIDE}: {masses}{small}, and where the network sees a "
        f"probability above {threshold:.7g}"
    )
    return {
        "title": ". ".join([about, *said]),
        "truth": to_runs(truth > 0),
        "prediction": to_runs(found),
        "grey": base64.b64encode(_bytes(grey)).decode(),
    }


def _square(image: np.ndarray) -> np.ndarray:
    rows, cols = image.shape
    side = max(rows, cols)
    return np.pad(image, ((0, side - rows), (0, side - cols)))


def _bytes(grey: np.ndarray) -> bytes:
    return np.rint(grey * (255 / max(float(grey.max()), 1.0))).astype(np.uint8).tobytes()
