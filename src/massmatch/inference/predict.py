"""Trained weights on images of any size: what was done to the training images is done to them, and undone."""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from massmatch.data.dicom import is_dicom, read_dicom
from massmatch.data.errors import CohortError
from massmatch.data.images import IMAGE_ENDINGS, read_grey
from massmatch.data.preprocessing.breast import chest_side
from massmatch.data.preprocessing.frame import Frame, Preprocessing, prepared_pixels, without_pectoral
from massmatch.data.preprocessing.resize import resized
from massmatch.data.readers.listing import is_data
from massmatch.errors import UsageError
from massmatch.runs.weights import load_weights
from massmatch.training.evaluate import predicted


@dataclass(frozen=True, eq=False)
class Prediction:
    """One image, in the frame of its stored pixels."""

    name: str  # for the files of the result: the image's own; of DICOM, a hash of its UID, unless names are kept
    image: np.ndarray  # (H, W), air dark
    probability: np.ndarray  # (H, W) float32
    mask: np.ndarray  # (H, W) bool
    spacing_mm: tuple[float, float] | None  # row, column
    spacing_source: str
    instance: str | None  # SOP Instance UID of a DICOM file


def load_network(path: Path, own: Collection[str] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a run's folder, or of a weights file, and its facts. `own`, and errors: see `load_weights`."""
    if not path.exists():
        raise UsageError(f"no such run or weights: {path}")
    return load_weights(path / "best.safetensors" if path.is_dir() else path, own)


def image_files(paths: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Every image as (folder, file): files as they are given, of folders all images and DICOM files below them.

    Raises UsageError for what is not there, CohortError for a folder without images.
    """
    for path in paths:
        if path.is_file():
            yield path.parent, path
        elif path.is_dir():
            found = [file for file in sorted(path.rglob("*")) if file.is_file() and is_data(file) and _is_image(file)]
            if not found:
                raise CohortError(f"{path.name}: must hold images, but has none: give another folder")
            yield from ((path, file) for file in found)
        else:
            raise UsageError(f"no such image: {path}")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS or is_dicom(path)


def predict(
    model: nn.Module,
    facts: dict[str, Any],
    path: Path,
    *,
    root: Path | None = None,
    keep_name: bool = False,
    allow_for_processing: bool = False,
) -> Prediction:
    """Segment one mammogram: a DICOM file, or a grey PNG, TIFF or JPEG.

    What the cohort's preparation did is done to the image, and the probabilities are taken back to its own frame.
    Weights of a cohort that massmatch did not prepare know nothing of crops: then the image is padded on the right
    and below to the proportions of the training images and resized to their size.

    Args:
        model, facts: from `load_network`.
        path: the image.
        root: messages name the path from here; by default its folder.
        keep_name: name the result of a DICOM file after the file, which may hold the patient's name.
        allow_for_processing: take raw detector data.

    Raises UsageError, or CohortError for a file that is no grey mammogram.
    """
    if not path.is_file():
        raise UsageError(f"no such image: {path}")
    root = root or path.parent
    shown = path.relative_to(root).as_posix()
    spacing, source, view, chest, instance, name = None, "none", None, None, None, path.stem
    if is_dicom(path):
        found = read_dicom(root, shown, allow_for_processing=allow_for_processing)
        image, view, chest, instance = found.pixels, found.view, found.chest, found.instance
        spacing, source = found.spacing_mm, found.spacing_source
        name = path.stem if keep_name else hashlib.sha256(found.instance.encode()).hexdigest()[:12]
    else:
        image = read_grey(root, shown)
    probability = segment(model, facts, image, view, name, chest=chest)
    return Prediction(name, image, probability, probability > facts["threshold"], spacing, source, instance)


def segment(
    model: nn.Module,
    facts: dict[str, Any],
    image: np.ndarray,
    view: str | None,
    name: str,
    *,
    chest: str | None = None,
) -> np.ndarray:
    """(H, W) float32 probabilities of mass for a native (H, W) image, in the image's own frame.

    Where the network has learnt breasts whose chest wall lies on one side, an image that shows it on the other side is
    mirrored for the network, and the probabilities are mirrored back. `chest` ("left" or "right") says where the chest
    wall is; by default it is looked for. Warns as `preprocess` does.
    """
    known = orientation(facts)
    if known in ("left", "right") and (chest or chest_side(image)) != known:
        return _probabilities(model, facts, image[:, ::-1], view, name)[:, ::-1]
    return _probabilities(model, facts, image, view, name)


def orientation(facts: dict[str, Any]) -> str | None:
    """On which side the network's training images showed the chest wall: "left", "right" or "mixed"; None: unknown.

    Weights written before version 0.2 say it only where the preparation had brought all chest walls to one side.
    """
    if "orientation" in facts:
        return str(facts["orientation"])
    flip = (facts["preprocessing"] or {}).get("flip", "none")
    return None if flip == "none" else str(flip)


def _probabilities(
    model: nn.Module, facts: dict[str, Any], image: np.ndarray, view: str | None, name: str
) -> np.ndarray:
    if facts["preprocessing"] is None:
        return _padded(model, facts, image)
    how = Preprocessing.from_record(facts["preprocessing"]).model_copy(update={"flip": "none"})  # it is turned already
    clean = without_pectoral(image, view, name) if how.pectoral == "suppress" else image
    frame = Frame.of(clean, how, name)
    found = predicted(model, prepared_pixels(clean, frame, how, name), how.normalise)
    return frame.undo(found)


def _padded(model: nn.Module, facts: dict[str, Any], image: np.ndarray) -> np.ndarray:
    rows, cols = facts["size"]
    scale = max(image.shape[0] / rows, image.shape[1] / cols)
    frame = (max(image.shape[0], round(rows * scale)), max(image.shape[1], round(cols * scale)))
    padded = np.zeros(frame, np.float32)
    padded[: image.shape[0], : image.shape[1]] = image
    probability = resized(predicted(model, resized(padded, (rows, cols)), facts["normalise"]), frame)
    return probability[: image.shape[0], : image.shape[1]]
