"""Systems whose details could not be read anywhere: a result says nothing about their authors' system."""

from massmatch.losses import LOSSES, LossSpec
from massmatch.models import MODELS


def is_reconstruction(loss: str, model: str) -> bool:
    """Whether the loss, whatever its options, or the network of a system is a reconstruction."""
    entries = LOSSES.get(LossSpec.parse(loss).name), MODELS.get(model)
    return any(entry is not None and entry.is_reconstruction for entry in entries)
