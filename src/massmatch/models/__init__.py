"""The networks, by name; each takes (in_channels, out_channels, width) and returns raw logits."""

from collections.abc import Callable

from torch import nn

from massmatch.models.aunet import AUNet

__all__ = ["MODELS", "AUNet"]

MODELS: dict[str, Callable[..., nn.Module]] = {"aunet": AUNet}
