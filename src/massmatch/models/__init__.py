"""The networks, by name; each takes (in_channels, out_channels, width) and returns raw logits.

Those with deep supervision return a list while they train: the main output first, all of the images' size.
"""

from collections.abc import Callable

from torch import nn

from massmatch.models.arfnet import ARFNet
from massmatch.models.aunet import AUNet
from massmatch.models.dense import AttentionDenseUNet, FCDenseNetMultiScale
from massmatch.models.dsunet import DSUNet
from massmatch.models.mdunet import MDUNet
from massmatch.models.monai_nets import attention_unet, swin_unetr, unet, unetpp
from massmatch.models.nested import AttentionUNetPlusPlus, DilatedUNetPlusPlus
from massmatch.models.swin_unet import SwinUnet
from massmatch.models.unet3plus import UNet3Plus
from massmatch.models.unext import UNeXt

__all__ = ["MODELS", "AUNet"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "aunet": AUNet,
    "arfnet": ARFNet,
    "unet": unet,
    "unet++": unetpp,
    "attention-unet": attention_unet,
    "swin-unetr": swin_unetr,
    "unet3+": UNet3Plus,
    "attention-unet++": AttentionUNetPlusPlus,
    "mdunet": MDUNet,
    "attention-dense-unet": AttentionDenseUNet,
    "swin-unet": SwinUnet,
    "dsunet": DSUNet,
    "fc-densenet-ms": FCDenseNetMultiScale,
    "dilated-unet++": DilatedUNetPlusPlus,
    "unext": UNeXt,
}
