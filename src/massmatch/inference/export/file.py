"""Trained networks as files that run without massmatch, from grey levels to probabilities, and are checked first.

The graph holds what is done to an image on its way into the network (its normalisation) and the sigmoid; what is done
before that (crop, range, size) and what is needed to read the answer (threshold, orientation) stand in the metadata.
"""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from massmatch import __version__
from massmatch.data import phantoms
from massmatch.data.images import read_grey
from massmatch.data.preprocessing.resize import resized
from massmatch.errors import RunError, UsageError
from massmatch.inference.ensemble import load_ensemble
from massmatch.inference.export import onnx
from massmatch.inference.findings import USE
from massmatch.inference.images import image_files
from massmatch.runs.atomic import write_atomic
from massmatch.runs.folder import WEIGHTS, RunFolder
from massmatch.training.batches import least_range
from massmatch.training.evaluate import probabilities

ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
METADATA = "massmatch"  # the key of the metadata, JSON; in a .pt2 the extra file massmatch.json
TOLERANCE = 1e-4  # of a probability: far above the rounding of float32 (2e-5 of a logit was seen), far below any use
MADE = 4  # made-up patients on whose images the file is checked where no images are given
# What a network sees of images that massmatch did not prepare (`inference.network`):
WHOLE = (
    "the whole image, filled up on the right and below with its darkest grey to the proportions of `size` and resized"
)

Run = Callable[[np.ndarray], np.ndarray]  # (B, 1, H, W) float32 grey levels to probabilities of the same shape


class FromGrey(nn.Module):
    """(B, 1, H, W) grey levels of any range, as float32, to probabilities: each image by its own levels."""

    def __init__(self, network: nn.Module, normalise: str) -> None:
        super().__init__()
        self.network, self.normalise = network, normalise

    def forward(self, image: Tensor) -> Tensor:
        """As `training.batches.normalised` does it, and the sigmoid."""
        if self.normalise == "z-score":
            mean = image.mean((1, 2, 3), keepdim=True)
            deviation = ((image - mean) ** 2).mean((1, 2, 3), keepdim=True).sqrt()
            level = (image - mean) / deviation.clamp(min=1e-6)
        else:
            low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
            level = (image - low) / (high - low).clamp(min=least_range(high))
        return torch.sigmoid(self.network(level))


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how well it agrees with PyTorch."""

    path: Path
    images: int  # on which it was checked
    difference: float  # the largest of a probability
    differing: int  # pixels that lie on different sides of the threshold


def export(
    run: Path, to: str, *, out: Path | None = None, images: Sequence[Path] = (), own: Iterable[str] = ()
) -> Exported:
    """Write a network as ONNX ("onnx", opset 18 or newer) or as a program of torch.export ("torch").

    Args:
        run: the folder of a run, or a weights file.
        to: which kind of file.
        out: where; by default beside the weights, with the ending of the kind.
        images: grey PNG, TIFF or JPEG, or folders of them (such as `images/` of a cohort), on which the file is checked
            against the network itself; by default made-up mammograms.
        own: networks of one's own, `module:Class`, that the weights may be of.

    The input `image` is (batch, 1, rows, columns) float32 with any batch, the output `probability` has the same shape.

    Raises UsageError for an unknown kind and a missing package, RunError where the file differs from the network by
    more than 1e-4 of a probability; then nothing is written.

    Example: `export(Path("runs/.../fold0"), "onnx").difference` is about 1e-6.
    """
    if to not in ENDINGS:
        raise UsageError(f"--to: must be one of {', '.join(ENDINGS)}, but is {to}")
    if to == "onnx":
        onnx.require()
    model, facts = load_ensemble([run], tuple(own))
    model = model.cpu().eval()
    weights = RunFolder.find(run) / WEIGHTS if run.is_dir() else run
    path = weights.with_suffix(ENDINGS[to]) if out is None else out
    if path.resolve() == weights.resolve():
        raise UsageError(f"--out: {path} is the weights file itself, which would be lost: give another name")
    size = (int(facts["size"][0]), int(facts["size"][1]))
    looked_at = list(_images(images, size))
    grey = FromGrey(model, facts["normalise"]).eval()
    data, answer = _written(grey, to, size, json.dumps(_metadata(facts)))
    found = _compared(model, facts, looked_at, answer)
    if found[0] > TOLERANCE:
        raise RunError(
            f"{path.name}: differs from the network by {found[0]:.2g} of a probability, where {TOLERANCE:.0e} is "
            "allowed, and is not written: try the other kind of file"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)
    return Exported(path, len(looked_at), *found)


def _images(given: Sequence[Path], size: tuple[int, int]) -> Iterable[np.ndarray]:
    """(H, W) float32 grey images of the network's size."""
    if given:
        return (resized(read_grey(file.root, file.source), size) for file in image_files(list(given)))
    return (resized(sample.image, size) for sample in phantoms(MADE, seed=0, size=max(*size, 64)))


def _metadata(facts: dict[str, Any]) -> dict[str, Any]:
    """What the weights say of themselves, and how the file is to be used."""
    shown = WHOLE if facts["preprocessing"] is None else "the prepared image"
    kept = ("model", "width", "size", "normalise", "preprocessing", "orientation", "threshold", "data_licence")
    return {
        **{name: facts.get(name) for name in kept},
        "massmatch_version": __version__,
        "input": f"image: (batch, 1, rows, columns) float32, grey levels of {shown}, of any range",
        "output": "probability: the same shape; mass is where it is above the threshold",
        "use": USE,
    }


def _written(grey: nn.Module, to: str, size: tuple[int, int], metadata: str) -> tuple[bytes, Run]:
    """The bytes of the file, and what a program that reads them answers."""
    program = torch.export.export(
        grey, (torch.rand(2, 1, *size) * 255,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
    )
    if to == "onnx":
        data = onnx.written(program, METADATA, metadata)
        return data, onnx.runner(data)
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={f"{METADATA}.json": metadata})
    read = torch.export.load(io.BytesIO(file.getvalue())).module()
    return file.getvalue(), lambda image: read(torch.from_numpy(image)).detach().numpy()


def _compared(model: nn.Module, facts: dict[str, Any], images: list[np.ndarray], answer: Run) -> tuple[float, int]:
    """The largest difference of a probability, and how many pixels cross the threshold: one by one and in one batch."""
    own = np.stack([probabilities(model, image, facts["normalise"]) for image in images])[:, None]
    batch = np.stack(images)[:, None].astype(np.float32)
    one_by_one = np.concatenate([answer(image[None]) for image in batch])
    together = np.concatenate([answer(batch[first : first + 2]) for first in range(0, len(batch), 2)])
    above = own > facts["threshold"]
    difference = max(float(np.abs(each - own).max()) for each in (one_by_one, together))
    return difference, int(((one_by_one > facts["threshold"]) != above).sum())
