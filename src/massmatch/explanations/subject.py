"""What is to be explained: one image with its masses and what a network made of it, from files or from a run."""

import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from massmatch.data import Cohort, DataError, DataWarning, Split, split
from massmatch.data.images import misfit, read_grey, read_labels
from massmatch.data.masks import to_instances
from massmatch.errors import UsageError
from massmatch.runs.folder import PREDICTIONS, RunFolder

STORED = "probabilities of 16 bits"
MANY_LABELS = 64  # as in data/masks.py: up to here, whole numbers look like labels


@dataclass(frozen=True, eq=False)
class Subject:
    """One image, (H, W) each. `read_as` says how the prediction was understood."""

    id: str
    image: np.ndarray  # uint8 or uint16
    instances: np.ndarray  # 0 = background, 1..n = the masses
    probability: np.ndarray  # float64 in [0, 1]
    read_as: str
    source: str = ""  # the run, or nothing
    licence: str = ""
    measured_at: float | None = None  # the threshold of rows.csv, where it is a run's

    def drawn_at(self, threshold: float) -> str:
        """At which threshold the prediction is drawn, and at which the run was measured where that is another one."""
        text = f"prediction above {threshold:g}, the threshold of the loss"
        if self.measured_at in (None, threshold):
            return text
        return f"{text}; the run was measured above {self.measured_at:g} (rows.csv, report)"

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool: where there is mass."""
        return self.instances > 0


def from_files(image: Path, truth: Path, prediction: Path) -> Subject:
    """An image, its truth (labels, or 0 and one other value) and its prediction (probabilities or a mask).

    Raises UsageError for a missing file, DataError for one that is no grey picture or of another size.
    """
    for path in (image, truth, prediction):
        if not path.is_file():
            raise UsageError(f"no such file: {path}")
    pixels = read_grey(image.parent, image.name)
    instances = to_instances(read_labels(truth.parent, truth.name), str(truth))
    if pixels.shape != instances.shape:
        raise DataError(f"{truth}: {misfit(pixels.shape, instances.shape)}")
    probability, read_as = read_prediction(prediction, pixels.shape)
    return Subject(image.stem, pixels, instances, probability, read_as)


def read_prediction(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """(H, W) float64 probabilities, and how the file was understood.

    0 and one other value that is 1, 255 or 65535 is a mask; otherwise the largest number of 8 or 16 bits is 1. Where
    nothing is above 1/2 and the numbers look like labels, a DataWarning says so.
    """
    pixels = _of_shape(path, shape)
    values = np.unique(pixels)
    if set(values.tolist()) in ({0, 1}, {1}, {0, 255}, {255}, {0, 65535}, {65535}):
        return (pixels > 0).astype(np.float64), "a mask"
    most = 255 if pixels.dtype == np.uint8 else 65535
    if 0 < values[-1] <= MANY_LABELS:
        warnings.warn(
            f"{path}: its largest value is {values[-1]}, which is a probability of {values[-1] / most:.2g}; if these "
            "are labels, save a mask of 0 and 255 instead",
            DataWarning,
            stacklevel=2,
        )
    return pixels / most, STORED if most == 65535 else "probabilities of 8 bits"


def _of_shape(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    pixels = read_labels(path.parent, path.name)
    if pixels.shape != shape:
        raise DataError(
            f"{path}: the prediction must have the size of the image, {shape} (rows, columns), but has {pixels.shape}"
        )
    return pixels


def from_run(run: Path, id: str, cohort: Cohort) -> Subject:
    """A test image of a run, with its stored probabilities.

    Raises RunError for a folder that is no run's, UsageError for an image that the run did not predict, or an id or a
    cohort that is not the run's.
    """
    folder = RunFolder(run)
    experiment = folder.experiment()
    if cohort.fingerprint != experiment["fingerprint"]:
        raise UsageError(
            f"{cohort.root} is not the cohort of the run, or has changed: its fingerprint is {cohort.fingerprint}, but "
            f"the run was trained on {experiment['cohort']}, {experiment['fingerprint']}"
        )
    if id not in cohort.ids:
        near = get_close_matches(id, cohort.ids, 1, cutoff=0.0)[0]
        raise UsageError(f"no image {id!r} in {cohort.root}; did you mean {near!r}?")
    path = folder / PREDICTIONS / f"{id}.png"
    if not path.is_file():
        raise UsageError(f"{run} holds no prediction of {id}{_why_not(id, cohort, experiment)}")
    sample = cohort.load(id)
    probability = folder.prediction(id, sample.image.shape)
    source = f"{run.resolve().parent.name}/{run.resolve().name}"
    threshold = folder.threshold_of(id)
    return Subject(id, sample.image, sample.instances, probability, STORED, source, cohort.licence, threshold)


def _why_not(id: str, cohort: Cohort, experiment: dict[str, Any]) -> str:
    """In which part of the fold the image is, and which fold tests it."""

    def parts(fold: int) -> Split:
        ways = {name: experiment[name] for name in ("scheme", "folds", "seed")}
        return split(cohort.table, cohort.mass_fraction, fold=fold, **ways)

    own = experiment["fold"]
    part = next(name for name, ids in parts(own)._asdict().items() if id in ids)
    if part == "test":
        return ": the run is not finished; give its `train` command again, or `massmatch evaluate RUN COHORT`"
    others = range(experiment["folds"]) if experiment["scheme"] in ("kfold", "paper") else []
    testing = next((fold for fold in others if id in parts(fold).test), None)
    part = {"train": "training"}.get(part, part)
    where = "give an image of its test part" if testing is None else f"fold {testing} tests it"
    return f", which is in the {part} part of fold {own}: only test images have one; {where}"
