"""The networks, by name; each takes (in_channels, out_channels, width) and returns raw logits.

Those with deep supervision return a list while they train: the main output first, all of the images' size.
"""

from massmatch.models.aunet import AUNet
from massmatch.models.catalogue import MODELS, Network
from massmatch.models.lite_unet import LiteUNet

__all__ = ["MODELS", "AUNet", "LiteUNet", "Network"]
