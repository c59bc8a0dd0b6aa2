"""Trained weights as one safetensors file that predicts alone: network, size and preprocessing are inside."""

import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from json import JSONDecodeError
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from massmatch.data import Cohort
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.errors import RunError, UsageError, refusals_as_usage
from massmatch.losses import LossSpec, in_one_spelling
from massmatch.losses.origin import origin
from massmatch.losses.own import in_one_line
from massmatch.runs.atomic import write_atomic
from massmatch.runs.checkpoint import differences, first_unfinite, fit_into
from massmatch.runs.experiment import Experiment
from massmatch.runs.folder import RunFolder
from massmatch.runs.network import make_model

FACTS: dict[str, type | tuple[type, ...]] = {  # what nothing can be predicted without, and the kind of each
    "model": str,
    "width": int,
    "size": list,
    "normalise": str,
    "preprocessing": (dict, NoneType),
    "threshold": (int, float),
    "experiment": dict,
}


def save_weights(
    path: Path,
    model: nn.Module,
    experiment: Experiment,
    threshold: float,
    size: tuple[int, int],
    cohort: Cohort,
    fold: int | None = None,
) -> None:
    """Write the weights with all that `load_weights` needs, and what they came from, in the metadata.

    `fold` says, with the experiment, which images of the cohort the network has learned from.

    Raises RunError, and leaves the file that was there, for weights that are no numbers.
    """
    facts = {
        "format": "massmatch-1",
        "model": experiment.model,
        "width": experiment.width,
        "size": size,
        "normalise": cohort.normalise,
        "preprocessing": None if cohort.preprocessing is None else cohort.preprocessing.model_dump(mode="json"),
        "orientation": cohort.orientation,  # predictions turn an image so that its chest wall lies on this side
        "threshold": threshold,
        "experiment": experiment.model_dump(),
        "fold": fold,
        "data_licence": cohort.licence,
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    memory = {name: value.untyped_storage().data_ptr() for name, value in tensors.items()}
    times = Counter(memory.values())  # safetensors takes no memory under two names
    write_weights(path, {name: v.clone() if times[memory[name]] > 1 else v for name, v in tensors.items()}, facts)


def write_weights(path: Path, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Tensors and facts as one file that `load_weights` reads: whole or not at all.

    Raises RunError, and leaves the file that was there, for weights that are no numbers.
    """
    if (name := first_unfinite(tensors)) is not None:
        raise RunError(f"{path} is not written: {name} is not finite")
    write_atomic(path, save(tensors, {"massmatch": json.dumps(facts), "sha256": digest(tensors)}))


def halve(source: Path, target: Path, **more: Any) -> None:
    """Write a weights file again in float16, which takes half the bytes; `more` joins its facts.

    It is computed with in float32 all the same: the weights are rounded (to about 3 digits), the arithmetic is not.

    Raises ValueError as `read_weights` does, and for weights beyond the range of float16 (65504).
    """
    facts, tensors = read_weights(source)
    small = halved(tensors)
    if (name := first_unfinite(small)) is not None:
        raise UsageError(f"{source}: {name} is beyond the range of float16: keep the file as it is")
    write_weights(target, small, {**facts, **more})


def halved(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, those of floating point numbers in float16."""
    return {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in hex; safetensors itself would load a flipped bit."""
    over = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        over.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        over.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return over.hexdigest()


def load_weights(path: Path, own: Collection[str] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """The network in float32, ready to predict, on the GPU if there is one; and its facts.

    Nothing in the file is executed. A network of one's own is imported only if `own` names it, module:Class: what a
    file says is no reason to run code.

    Raises ValueError for a file that is not there, is damaged, has weights that are no numbers or of another
    network, was not written by massmatch, or is of a network of one's own that `own` does not name.
    """
    facts, tensors = read_weights(path)
    spec = LossSpec.parse(facts["model"])
    if spec.is_own and in_one_spelling(facts["model"]) not in map(in_one_spelling, own):
        raise UsageError(
            f"{path} is of {facts['model']}, which is code of its author's own and is not run on a file's word: if you "
            f"trust it, give --own-network {facts['model']}, or in Python own=[{facts['model']!r}]"
        )
    with refusals_as_usage():
        model = make_model(facts["model"], facts["width"])
    if spec.is_own:
        warn_of_other_code(path, spec.name, facts)
    fit_into(model, tensors, str(path))
    return model.to(best_device()).eval(), facts


def warn_of_other_code(path: Path, name: str, facts: dict[str, Any], what: str = "the network") -> None:
    """Warn where a network or loss of one's own is not of the source of the training: it may compute something else."""
    trained, now = facts.get("experiment", {}).get("own_code") or "", f"{name} of {origin(name)}"
    if trained and now not in trained.split("; "):
        warnings.warn(
            f"{path} was trained with {trained}, but here is {now}: what {what} computes may have changed",
            RuntimeWarning,
            stacklevel=3,
        )


def differences_to(run: RunFolder, facts: dict[str, Any]) -> str:
    """What the facts of weights say otherwise than the experiment.yaml beside them, in one line; empty if nothing is.

    Weights of versions that said less are compared in what they say. Raises RunError as `RunFolder.experiment` does.
    """
    said = facts["experiment"] | ({} if facts.get("fold") is None else {"fold": facts["fold"]})
    known = {name: value for name, value in run.experiment().items() if name in said}
    return differences(known, {name: said[name] for name in known})


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The facts and the tensors of a weights file, in the number format of the file.

    Raises ValueError for a file that is not there, is damaged, has weights that are no numbers or facts that cannot be,
    or was not written by massmatch.
    """
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
            facts = _known(json.loads(said["massmatch"]))
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:  # safetensors says of each that there is no such file
        raise UsageError(f"{path} cannot be read: look at its rights, and at the disk") from error
    except (SafetensorError, KeyError, JSONDecodeError) as error:
        raise UsageError(
            f"{path} holds no weights of massmatch ({type(error).__name__}): give a best.safetensors"
        ) from None
    _require_possible(facts, path)
    if said.get("sha256") != digest(tensors):
        raise UsageError(f"{path} is damaged: its weights have another SHA-256 than the file says")
    if (name := first_unfinite(tensors)) is not None:
        raise UsageError(f"{path} is refused: {name} is not finite")
    return facts, tensors


def _known(facts: Any) -> dict[str, Any]:
    """The facts of a weights file. KeyError for one that is missing or of another kind: no network of ours has it so.

    The SHA-256 of the file is over its tensors alone.
    """
    for name, kind in FACTS.items():
        if not isinstance(facts, dict) or not isinstance(facts[name], kind):
            raise KeyError(name)
    return dict(facts)


def _require_possible(facts: dict[str, Any], path: Path) -> None:
    """Raise UsageError for facts with which a prediction would be nonsense, or would find nothing in silence."""
    sides = facts["size"]
    whole = len(sides) == 2 and all(isinstance(side, int) and side >= 1 for side in sides)
    possible = {
        "size": whole,
        "normalise": facts["normalise"] in ("min-max", "z-score"),
        "threshold": 0 <= facts["threshold"] <= 1,
        "orientation": facts.get("orientation") in (None, "left", "right", "mixed"),
        "preprocessing": facts["preprocessing"] is None or _is_preprocessing(facts["preprocessing"]),
    }
    for name, is_possible in possible.items():
        if not is_possible:
            raise UsageError(
                f"{path} says {name} {facts.get(name)!r}, with which nothing can be predicted: restore the file"
            )


def _is_preprocessing(record: dict[str, Any]) -> bool:
    """Whether it says what was done to the images; no version wrote one without a crop."""
    try:
        Preprocessing.from_record(record)
    except (TypeError, ValueError):
        return False
    return "crop" in record


def best_device() -> torch.device:
    """The accelerator that this PyTorch was built for, if it works; otherwise the CPU.

    Warns, in one line, where the accelerator does not work: there is none, or its driver does not fit. Not where all
    GPUs are hidden on purpose (CUDA_VISIBLE_DEVICES is empty or -1).
    """
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or (accelerator.type == "cuda" and os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")):
        return torch.device("cpu")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if torch.accelerator.is_available():
            return accelerator
    reason = "".join(f" ({str(each.message).splitlines()[0]})" for each in said[:1])
    warnings.warn(f"no {accelerator.type} device can be used{reason}: computing on the CPU", RuntimeWarning, 2)
    return torch.device("cpu")


def usable_device(name: str) -> torch.device:
    """The device of a name such as cpu or cuda:1, after a first number was computed there.

    Raises UsageError for an unknown name, and for a device that does not work here.
    """
    try:
        device = torch.device(name)
        torch.ones(1, device=device).sum().item()
    except Exception as error:  # PyTorch has one of many kinds for each device, ModuleNotFoundError among them
        raise UsageError(
            f"--device: must be a device that works here, such as cpu, but {name!r} does not ({in_one_line(error)})"
        ) from None
    return device
