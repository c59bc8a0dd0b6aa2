"""The first weights of a training, in the network; and the refusal of weights that do not fit it or its test part."""

import warnings
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import nn

from massmatch.errors import UsageError
from massmatch.models import LiteUNet
from massmatch.runs.checkpoint import fit_into
from massmatch.runs.experiment import Experiment
from massmatch.runs.start import PACKAGED, settled, start_file
from massmatch.runs.weights import read_weights

DIVISION = ("scheme", "folds", "seed")  # with the fold, what decides which images are in which part


def started(model: nn.Module, experiment: Experiment) -> nn.Module:
    """The network with the weights that the experiment starts from; drawn at random they are what it came with."""
    if isinstance(model, LiteUNet) and experiment.start == "imagenet":
        model.start_from_imagenet()
    elif (path := start_file(experiment.start)) is not None:
        fit_into(model, read_weights(path)[1], str(path))
    return model


def check_start(experiment: Experiment, fold: int) -> None:
    """Raise UsageError for ImageNet's weights in another network than theirs, and for a file of weights of another
    network, one that is no longer what the experiment says, or one that learned from images which this fold measures.

    Weights of the same cohort are taken for the fold that they were trained on alone, and so are those which started
    from such weights, over however many trainings. Whether another cohort holds the
    same women nobody can see.
    """
    if experiment.start == "imagenet" and experiment.model != "lite-unet":
        raise UsageError(f"start: imagenet is for --model lite-unet alone, but the network is {experiment.model}")
    if (path := start_file(experiment.start)) is None:
        return
    if settled(experiment.start)["start_sha256"] != experiment.start_sha256:
        raise UsageError(f"start: {path} has changed since this experiment was described: describe it anew")
    facts, _ = read_weights(path)
    if (facts["model"], facts["width"]) != (experiment.model, experiment.width):
        raise UsageError(
            f"start: {path} is of {facts['model']} of width {facts['width']}, not of {experiment.model} of width "
            f"{experiment.width}: give --model {facts['model']} --width {facts['width']}"
        )
    for ancestor, facts in lineage(path):
        learned = facts["experiment"]
        same_parts = facts.get("fold") == fold and all(learned.get(of) == getattr(experiment, of) for of in DIVISION)
        if learned.get("fingerprint") == experiment.fingerprint and not same_parts:
            whose = "" if ancestor == path else f" started from {ancestor}, which"
            raise UsageError(
                f"start: {path}{whose} was trained on this cohort, and has learned from images of the test part of "
                f"fold {fold}: start from weights of another cohort, or of the same fold of the same division"
            )


def lineage(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A file of weights with its facts, then the file that its training started from, and so on.

    Warns where one of them is no longer there, or has changed: what it learned from nobody can see.
    """
    facts, _ = read_weights(path)
    yield path, facts
    start, digest = (facts["experiment"].get(name) for name in ("start", "start_sha256"))
    if digest is None:  # it started from random weights, or from those of ImageNet
        return
    before = PACKAGED if start == "packaged" else Path(str(start))
    if before.is_file() and sha256(before.read_bytes()).hexdigest() == digest:
        yield from lineage(before)
    else:
        warnings.warn(
            f"start: {path} started from {start}, which is there no more, or has changed: whether that has learned "
            "from images which are tested now nobody can see",
            stacklevel=3,
        )
