"""MDU-Net (Zhang et al. 2018, arXiv:1812.00352): dense connections across scales in encoder, skips and decoder."""

import torch.nn.functional as F
from torch import Tensor, nn

from massmatch.models.blocks import PaddedNet, conv_bn_relu, double, enlarged, joined, pooled

LEVELS = 5


class MDUNet(PaddedNet):
    """The best variant of the paper, encoder 2, cross 3, decoder 2, without its quantised weights.

    Known: each level of the encoder sees the two before it, each skip the encoder's maps of three neighbouring scales,
    each level of the decoder the two below it. Ours: maps of another scale are max-pooled or interpolated, and brought
    to the level's channels by one 3x3 convolution. `width` = 64 at the first level, doubled four times, as U-Net.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64) -> None:
        super().__init__(in_channels, out_channels, width)
        widths = [width * 2**level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            double(sum(widths[max(0, level - 2) : level]) or in_channels, widths[level]) for level in range(LEVELS)
        )
        self.cross = nn.ModuleList(
            conv_bn_relu(sum(widths[max(0, level - 1) : level + 2]), widths[level]) for level in range(LEVELS - 1)
        )
        self.decoder = nn.ModuleList(
            double(widths[level] + sum(widths[level + 1 : level + 3]), widths[level]) for level in range(LEVELS - 1)
        )
        self.head = nn.Conv2d(width, out_channels, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of (B, C, *spatial), of the input's height and width, without activation."""
        encoded = [self.encoder[0](x)]
        for level in range(1, LEVELS):
            near = [pooled(encoded[level - 1])]
            if level > 1:
                near.insert(0, F.max_pool2d(encoded[level - 2], 4))
            encoded.append(self.encoder[level](joined(*near)))
        decoded = {LEVELS - 1: encoded[-1]}
        for level in reversed(range(LEVELS - 1)):
            skip = self.cross[level](joined(*(resized(encoded[s], encoded[level]) for s in around(level))))
            below = [enlarged(decoded[s], skip) for s in (level + 1, level + 2) if s < LEVELS]
            decoded[level] = self.decoder[level](joined(skip, *below))
        return self.head(decoded[0])


def around(level: int) -> range:
    """The level and its neighbours."""
    return range(max(0, level - 1), level + 2)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """A map at the scale of another: halved by the maximum, or interpolated."""
    return pooled(x) if x.shape[-1] > like.shape[-1] else enlarged(x, like)
