"""Trained weights on images of any size: what was done to the training images is done to them, and undone."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import nn

from massmatch.data.cohort import read_grey
from massmatch.training.evaluate import probabilities
from massmatch.training.weights import load_weights


class Prediction(NamedTuple):
    """One image, in its own frame."""

    image: np.ndarray  # (H, W) as on disk
    probability: np.ndarray  # (H, W) float32
    mask: np.ndarray  # (H, W) bool


def load_network(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a run's folder, or of a weights file, and its facts. Errors: see `load_weights`."""
    if not path.exists():
        raise FileNotFoundError(f"no such run or weights: {path}")
    return load_weights(path / "best.safetensors" if path.is_dir() else path)


def predict(model: nn.Module, facts: dict[str, Any], path: Path) -> Prediction:
    """Segment one grey image file.

    The image is padded on the right and below to the proportions of the training images, resized to their size
    (bilinear, averaging when it shrinks), predicted, and the probabilities are taken back to the image's frame.

    Raises FileNotFoundError, or CohortError for a file that is no grey image of 8 or 16 bits.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such image: {path}")
    image = read_grey(path.parent, path.name)
    rows, cols = facts["size"]
    scale = max(image.shape[0] / rows, image.shape[1] / cols)
    frame = (max(image.shape[0], round(rows * scale)), max(image.shape[1], round(cols * scale)))
    padded = np.zeros(frame, np.float32)
    padded[: image.shape[0], : image.shape[1]] = image
    probability = resized(probabilities(model, resized(padded, (rows, cols))), frame)
    probability = probability[: image.shape[0], : image.shape[1]]
    return Prediction(image, probability, probability > facts["threshold"])


def resized(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 resized by Pillow's bilinear filter, which averages over what it shrinks."""
    if array.shape == tuple(size):
        return array
    image = Image.fromarray(array.astype(np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))
