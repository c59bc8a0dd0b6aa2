"""UNet 3+ (Huang et al. 2020, ICASSP): every node of the decoder sees every scale."""

import torch.nn.functional as F
from torch import Tensor, nn

from massmatch.models.blocks import PaddedNet, conv_bn_relu, double, enlarged, joined, pooled

LEVELS = 5


class UNet3Plus(PaddedNet):
    """UNet 3+ with full-scale skips and deep supervision; without the classification-guided module.

    The encoder has `width` = 64 channels at the first level, doubled four times; each node of the decoder takes one map
    of `width` channels from every scale (finer ones by max-pooling, coarser ones by interpolation) and works on the
    5 `width` that they make together. Side outputs stand at every node and at the bottom.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64) -> None:
        super().__init__(in_channels, out_channels, width)
        widths = [width * 2**level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            double(inputs, outputs) for inputs, outputs in zip([in_channels, *widths], widths, strict=False)
        )
        full = LEVELS * width
        self.arms = nn.ModuleList(  # of node `level`: from the encoder down to its own scale, from the decoder below it
            nn.ModuleList(
                conv_bn_relu(widths[source] if source <= level or source == LEVELS - 1 else full, width)
                for source in range(LEVELS)
            )
            for level in range(LEVELS - 1)
        )
        self.nodes = nn.ModuleList(conv_bn_relu(full, full) for _ in range(LEVELS - 1))
        self.heads = nn.ModuleList(
            nn.Conv2d(full if level < LEVELS - 1 else widths[-1], out_channels, 3, padding=1) for level in range(LEVELS)
        )

    def logits(self, x: Tensor) -> list[Tensor]:
        """The finest node's output first, then the coarser ones', enlarged."""
        encoded: list[Tensor] = []
        for block in self.encoder:
            x = block(pooled(x) if encoded else x)
            encoded.append(x)
        decoded = {LEVELS - 1: encoded[-1]}
        for level in reversed(range(LEVELS - 1)):
            sources = [encoded[s] if s <= level else decoded[s] for s in range(LEVELS)]
            decoded[level] = self.node(level, sources)
        return [enlarged(self.heads[level](decoded[level]), encoded[0]) for level in range(LEVELS)]

    def node(self, level: int, sources: list[Tensor]) -> Tensor:
        """One node of the decoder from the maps of all scales."""
        like = sources[level]
        maps = [
            F.max_pool2d(source, 2 ** (level - s)) if s < level else enlarged(source, like)
            for s, source in enumerate(sources)
        ]
        return self.nodes[level](joined(*(arm(m) for arm, m in zip(self.arms[level].children(), maps, strict=True))))
