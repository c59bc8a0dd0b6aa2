"""What several networks are built of."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from massmatch.models.aunet import conv_bn_relu

__all__ = [
    "Gate",
    "PaddedNet",
    "conv_bn_relu",
    "double",
    "enlarged",
    "hidden",
    "joined",
    "pooled",
    "require_width",
    "separate",
]


class PaddedNet(nn.Module, ABC):
    """A network for images of any size: they are padded to a multiple by repeating the border, the logits cropped.

    Subclasses implement `logits`. With deep supervision it gives, in training mode only, a list: the main output
    first, then the side outputs, all of the images' size; in evaluation one tensor.

    Raises ValueError for channels or a width below 1.
    """

    multiple = 16  # of pixels; 2 to the number of halvings

    def __init__(self, in_channels: int, out_channels: int, width: int) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("width", width)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, but is {value!r}")

    def forward(self, images: Float[Tensor, "B c H W"]) -> Tensor | list[Tensor]:
        """Logits (B, out_channels, H, W), without activation; a list of them in training with deep supervision."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        found = self.logits(padded)
        if isinstance(found, Tensor):
            return found[..., :height, :width]
        outputs = [each[..., :height, :width] for each in found]
        return outputs if self.training else outputs[0]

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor | list[Tensor]:
        """Of padded images, in their size."""


def require_width(width: int, step: int) -> None:
    """Raise ValueError for a width that is no multiple of `step`, with the nearest ones that are.

    require_width(64, 12)  # must be a multiple of 12, but is 64: take 60 or 72
    """
    if isinstance(width, int) and width % step:  # of what is no number, the network says so
        below = width // step * step
        near = f"{below} or {below + step}" if below else str(step)
        raise ValueError(f"width must be a multiple of {step} for this network, but is {width}: take {near}")


def double(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions with batch normalisation and ReLU, the step of a U-Net (Ronneberger et al. 2015)."""
    return nn.Sequential(conv_bn_relu(inputs, outputs), conv_bn_relu(outputs, outputs))


def separate(inputs: int, outputs: int, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    """3x3 convolution with dilation and groups, batch normalisation, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, groups=groups)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """(B, C, h, w) resized by bilinear interpolation to the size of another map."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def hidden(channels: int, reduction: int) -> int:
    """Units of a bottleneck; narrow networks keep one."""
    return max(1, channels // reduction)


class Gate(nn.Module):
    """Additive attention (Oktay et al. 2018): a skip times a map in (0, 1) that it and a coarser signal decide on."""

    def __init__(self, skip: int, signal: int) -> None:
        super().__init__()
        inner = hidden(skip, 2)
        self.of_skip = nn.Sequential(nn.Conv2d(skip, inner, 1), nn.BatchNorm2d(inner))
        self.of_signal = nn.Sequential(nn.Conv2d(signal, inner, 1), nn.BatchNorm2d(inner))
        self.decide = nn.Sequential(nn.ReLU(), nn.Conv2d(inner, 1, 1), nn.Sigmoid())

    def forward(self, skip: Float[Tensor, "B s H W"], signal: Float[Tensor, "B g h w"]) -> Float[Tensor, "B s H W"]:
        """The skip connection, each pixel weighed by the gate's attention."""
        return skip * self.decide(self.of_skip(skip) + enlarged(self.of_signal(signal), skip))


def pooled(x: Tensor) -> Tensor:
    """Features of half the height and width, by the maximum of 2 x 2 pixels."""
    return F.max_pool2d(x, 2)


def joined(*maps: Tensor) -> Tensor:
    """Side by side along the channels."""
    return torch.cat(maps, 1)
