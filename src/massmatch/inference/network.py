"""Trained weights on images of any size: what was done to the training images is done to them, and undone."""

import warnings
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from massmatch.data.errors import DataWarning
from massmatch.data.preprocessing.breast import breast, chest_side, looks_inverted
from massmatch.data.preprocessing.frame import Frame, Preprocessing, prepared_pixels, tell_if_squeezed, without_pectoral
from massmatch.data.preprocessing.resize import resized
from massmatch.errors import RunError, UsageError, refusals_as_usage
from massmatch.inference.algorithm import Algorithm, WeightsFile
from massmatch.losses import in_one_spelling
from massmatch.runs.folder import DONE, EXPERIMENT, WEIGHTS, RunFolder
from massmatch.runs.weights import differences_to, load_weights
from massmatch.training.evaluate import predicted

SIDES = ("left", "right")


def load_network(path: Path | str, own: Collection[str] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a run's folder, or of a weights file, and a dict of what is known of it, such as its threshold.

    It is in float32, ready to predict, on the GPU if there is one. A network of one's own is imported only if `own`
    names it, module:Class: what a file says is no reason to run code. Warns of a run whose training is not done, and of
    a weights file that lies in the folder of another run.

    Raises UsageError for what is not there or not named, and for a run with the weights of another one; ValueError for
    weights that are damaged or not massmatch's.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"no such run or weights: {path}")
    run = RunFolder.find(path) if path.is_dir() else None
    file, name = (path, path.name) if run is None else (run / WEIGHTS, f"{run.path.parent.name}/{run.path.name}")
    if run is not None and not (file.is_file() and (run / DONE).is_file()):
        state, reason = run.state_and_reason()
        is_so = f"it is {state}{reason and f' ({reason})'}"
        if not file.is_file():
            raise UsageError(f"{run.path} has no weights: {is_so}")
        warnings.warn(f"{run.path} has the best weights so far of a training: {is_so}", RuntimeWarning, stacklevel=2)
    model, facts = load_weights(file, own)
    _refuse_other_run(file, facts, is_asked=run is not None)
    return model, {**facts, "algorithm": Algorithm((WeightsFile.of(file, name, facts),))}


def _refuse_other_run(file: Path, facts: dict[str, Any], *, is_asked: bool) -> None:
    """UsageError where a run is asked for whose weights are of another one; for a file, which says all itself, a
    warning.
    """
    told, beside = "", RunFolder(file.parent)
    with suppress(RunError):  # nothing is beside the file, or it is damaged
        told = differences_to(beside, facts) if file.name == WEIGHTS else ""
    if told and is_asked:
        raise UsageError(f"{file} is of another run: {told}; give that run, or this file itself")
    if told:
        said = f"{file} is of another run than {beside / EXPERIMENT}: {told}; the file is followed"
        warnings.warn(said, RuntimeWarning, stacklevel=3)


def refuse_unused(own: Collection[str], models: Collection[str]) -> None:
    """Raise UsageError for a network of one's own that was named although none of these models is it."""
    known = set(map(in_one_spelling, models))
    for name in own:
        with refusals_as_usage():
            spelt = in_one_spelling(name)
        if spelt not in known:
            raise UsageError(
                f"--own-network: {name} is not what these weights are of ({', '.join(models)}): leave it out"
            )


def settle_orientation(facts: dict[str, Any], chest_wall: str | None = None) -> dict[str, Any]:
    """The facts of weights, with an orientation: that of `orientation`, or else `chest_wall`, or else "mixed".

    `chest_wall` ("left", "right" or "mixed") says on which side the training images showed the chest wall, for weights
    that do not say it. Warns where nobody says it: then images are given to the network as they are.

    Raises UsageError for another word, and for another side than the weights say.
    """
    if chest_wall not in (None, "mixed", *SIDES):
        raise UsageError(f"--chest-wall: must be left, right or mixed, but is {chest_wall}")
    known = orientation(facts)
    if known is not None and chest_wall not in (None, known):
        raise UsageError(f"--chest-wall: is {chest_wall}, but the weights say that it was {known}: leave it out")
    if known is None and chest_wall is None:
        warnings.warn(
            "the weights do not say on which side their training images showed the chest wall, so images are given to "
            "the network as they are: if it was one side, massmatch predict takes --chest-wall left or right",
            DataWarning,
            stacklevel=2,
        )
    return {**facts, "orientation": known or chest_wall or "mixed"}


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
    wall is; by default it is looked for. Warns as `preprocess` does, where `chest` is not what the pixels show, and
    where the greys are not as the network knows them: inverted, or squeezed by something far brighter than the tissue.
    """
    known, found = orientation(facts), breast(image)
    _tell_of_greys(facts, image, found, name)
    if known in SIDES and _chest_wall(image, found, chest, name) != known:
        return _probabilities(model, facts, image[:, ::-1], view, name)[:, ::-1]
    return _probabilities(model, facts, image, view, name)


def _tell_of_greys(facts: dict[str, Any], image: np.ndarray, found: np.ndarray, name: str) -> None:
    """Warn of greys with which a network cannot be right; `found` is the breast in the image."""
    how, told = facts["preprocessing"], []
    if looks_inverted(image):
        told.append("the air is near white, so the greys look inverted: export it with dark air, or expect nonsense")
    elif how is None and not found.any():
        told.append("no breast was found on it: is it a mammogram?")
    for text in told:
        warnings.warn(f"{name}: {text}", DataWarning, stacklevel=3)


def _chest_wall(image: np.ndarray, found: np.ndarray, said: str | None, name: str) -> str:
    """The side of the chest wall: the one that the header says, or else the one that the pixels show."""
    seen = chest_side(image, found)
    if said not in (None, seen) and found.any():
        warnings.warn(
            f"{name}: the header (PatientOrientation) puts the chest wall on the {said}, but the pixels show it on the "
            f"{seen}; the header is followed: if the image was mirrored after it was taken, mend its header",
            DataWarning,
            stacklevel=3,
        )
    return said or seen


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
        return _padded(model, facts, image, name)
    how = Preprocessing.from_record(facts["preprocessing"]).model_copy(update={"flip": "none"})  # it is turned already
    if how.pectoral == "suppress" and view is None:
        text = f"{name}: its view is not known (a DICOM header says it), so its muscle, if it shows, is kept as it is"
        warnings.warn(text, DataWarning, stacklevel=3)
    clean = without_pectoral(image, view, name) if how.pectoral == "suppress" else image
    frame = Frame.of(clean, how, name)
    found = predicted(model, prepared_pixels(clean, frame, how, name), how.normalise, name)
    return frame.undo(found)


def _padded(model: nn.Module, facts: dict[str, Any], image: np.ndarray, name: str) -> np.ndarray:
    rows, cols = facts["size"]
    scale = max(image.shape[0] / rows, image.shape[1] / cols)
    frame = (max(image.shape[0], round(rows * scale)), max(image.shape[1], round(cols * scale)))
    padded = np.full(frame, image.min(), np.float32)  # as dark as its air
    padded[: image.shape[0], : image.shape[1]] = image
    pixels = resized(padded, (rows, cols))
    tell_if_squeezed(image, pixels, name)
    probability = resized(predicted(model, pixels, facts["normalise"], name), frame)
    return probability[: image.shape[0], : image.shape[1]]
