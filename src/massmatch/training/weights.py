"""Trained weights as one safetensors file that predicts alone: network, size and preprocessing are inside."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from massmatch.data import Cohort
from massmatch.training.experiment import Experiment, make_model
from massmatch.training.files import write_atomic


def save_weights(path: Path, model: nn.Module, experiment: Experiment, size: tuple[int, int], cohort: Cohort) -> None:
    """Write the weights with all that `load_weights` needs, and what they came from, in the metadata."""
    facts = {
        "format": "massmatch-1",
        "model": experiment.model,
        "width": experiment.width,
        "size": size,
        "normalise": cohort.normalise,
        "preprocessing": None if cohort.preprocessing is None else cohort.preprocessing.model_dump(mode="json"),
        "threshold": experiment.threshold,
        "experiment": experiment.model_dump(),
        "data_licence": cohort.licence,
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_atomic(path, save(tensors, {"massmatch": json.dumps(facts)}))


def load_weights(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network in float32, ready to predict, on the GPU if there is one; and its facts.

    Raises FileNotFoundError, or ValueError for a file that is damaged or was not written by massmatch.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})["massmatch"])
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"{path} holds no weights of massmatch ({type(error).__name__}): give a best.safetensors"
        ) from None
    model = make_model(facts["model"], facts["width"])
    model.load_state_dict(tensors)
    return model.to(best_device()).eval(), facts


def best_device() -> torch.device:
    """The accelerator if there is one, otherwise the CPU."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")
