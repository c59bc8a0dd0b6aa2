"""Networks that MONAI has, with our three arguments; MONAI is imported when one is built."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from massmatch.models.blocks import PaddedNet, require_width

LEVELS = 5
SWIN_UNETR_STEP = 12  # MONAI builds no other widths


class Wrapped(PaddedNet):
    """A network of MONAI's on images of any size."""

    def __init__(
        self, in_channels: int, out_channels: int, width: int, make: Callable[..., nn.Module], **options: Any
    ) -> None:
        super().__init__(in_channels, out_channels, width)
        self.network = make(spatial_dims=2, in_channels=in_channels, out_channels=out_channels, **options)

    def logits(self, x: Tensor) -> Tensor | list[Tensor]:
        """What the network gives; of lists, which end with the main output, in our order."""
        found = self.network(x)
        return found if isinstance(found, Tensor) else list(reversed(found))


def unet(in_channels: int = 1, out_channels: int = 1, width: int = 64) -> nn.Module:
    """U-Net (Ronneberger et al. 2015), MONAI's BasicUNet with batch normalisation and ReLU as in the paper's line."""
    from monai.networks.nets import BasicUNet

    features = (*_widths(width), width)
    return Wrapped(in_channels, out_channels, width, BasicUNet, features=features, norm="batch", act="relu")


def unetpp(in_channels: int = 1, out_channels: int = 1, width: int = 32) -> nn.Module:
    """U-Net++ (Zhou et al. 2018) with deep supervision, MONAI's BasicUNetPlusPlus; 32 channels as in the paper."""
    from monai.networks.nets import BasicUNetPlusPlus

    features = (*_widths(width), width)
    return Wrapped(
        *(in_channels, out_channels, width, BasicUNetPlusPlus),
        features=features,
        deep_supervision=True,
        norm="batch",
        act="relu",
    )


def attention_unet(in_channels: int = 1, out_channels: int = 1, width: int = 64) -> nn.Module:
    """Attention U-Net (Oktay et al. 2018), MONAI's AttentionUnet."""
    from monai.networks.nets import AttentionUnet

    channels, strides = tuple(_widths(width)), (2,) * (LEVELS - 1)
    return Wrapped(in_channels, out_channels, width, AttentionUnet, channels=channels, strides=strides)


def swin_unetr(in_channels: int = 1, out_channels: int = 1, width: int = 24) -> nn.Module:
    """Swin UNETR (Hatamizadeh et al. 2022) in 2-D, MONAI's SwinUNETR; a width that is a multiple of 12."""
    from monai.networks.nets import SwinUNETR

    require_width(width, SWIN_UNETR_STEP)
    network = Wrapped(in_channels, out_channels, width, SwinUNETR, feature_size=width)
    network.multiple = 64  # five halvings, and two pixels at the bottom for its instance normalisation
    return network


def _widths(width: int) -> list[int]:
    return [max(width, 1) * 2**level for level in range(LEVELS)]
