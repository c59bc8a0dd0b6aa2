"""AU-Net (Sun et al. 2020, Phys. Med. Biol. 65:055005): the network of the paper's experiments.

A residual encoder and a plain decoder, joined by attention-guided up-sampling blocks. Written from the
description of the authors' published model. Every convolution is 3x3 with padding 1 and bias, followed by
batch normalisation and ReLU unless said otherwise; PyTorch's default initialisation.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def conv_bn(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution and batch normalisation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs))


def conv_bn_relu(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(*conv_bn(inputs, outputs), nn.ReLU())


class ResidualBlock(nn.Module):
    """Three convolutions; the residual is taken after the first, so that no projection is needed."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = conv_bn_relu(inputs, outputs)
        self.second = conv_bn_relu(outputs, outputs)
        self.third = conv_bn(outputs, outputs)

    def forward(self, x: Float[Tensor, "B inputs h w"]) -> Float[Tensor, "B outputs h w"]:
        """ReLU(c + a), a the first convolution's output and c the third's."""
        a = self.first(x)
        return F.relu(self.third(self.second(a)) + a)


class ChannelAttention(nn.Module):
    """Scales each channel by a number in (0, 1) that two linear layers draw from all channels' means."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)  # narrow networks keep one unit
        self.weigh = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())

    def forward(self, x: Float[Tensor, "B channels h w"]) -> Float[Tensor, "B channels h w"]:
        """x times the weight of its channels."""
        return x * self.weigh(x.mean((-2, -1)))[:, :, None, None]


class AttentionUp(nn.Module):
    """Attention-guided dense up-sampling: a deep map of 2c channels joins a skip of c at twice its size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bilinear = conv_bn_relu(2 * channels, channels)
        self.dense = conv_bn_relu(2 * channels, 4 * channels)
        self.fuse = conv_bn_relu(channels, channels)
        self.attention = ChannelAttention(2 * channels)
        self.out = nn.Sequential(conv_bn_relu(2 * channels, channels), conv_bn_relu(channels, channels))

    def forward(self, x: Float[Tensor, "B c2 h w"], skip: Float[Tensor, "B c H W"]) -> Float[Tensor, "B c H W"]:
        """The skip plus pixel-shuffled dense features, beside bilinear ones, weighed by channel attention."""
        smooth = self.bilinear(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
        fused = self.fuse(skip + F.pixel_shuffle(self.dense(x), 2))
        return self.out(self.attention(torch.cat([fused, smooth], 1)))


class AUNet(nn.Module):
    """AU-Net. (B, in_channels, H, W) images to (B, out_channels, H, W) logits.

    `width` is the number of channels of the first level (64: the published network, 75.5 million parameters);
    each of the four deeper levels doubles it. Sides that are no multiple of 16 are padded on the right and at
    the bottom by repeating the border, which adds no edge, and the logits are cropped again.

    Raises ValueError for a width below 1 or channels below 1.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("width", width)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, but is {value!r}")
        widths = [width * 2**level for level in range(5)]
        self.encoder = nn.ModuleList(
            ResidualBlock(inputs, outputs) for inputs, outputs in zip([in_channels, *widths], widths, strict=False)
        )
        self.decoder = nn.ModuleList(AttentionUp(channels) for channels in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, out_channels, 1)

    def forward(self, images: Float[Tensor, "B in_channels H W"]) -> Float[Tensor, "B out_channels H W"]:
        """Logits of (B, C, *spatial), of the input's height and width, without activation."""
        height, width = images.shape[-2:]
        x = F.pad(images, (0, -width % 16, 0, -height % 16), mode="replicate")
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            x = block(x, skip)
        return self.head(x)[..., :height, :width]
