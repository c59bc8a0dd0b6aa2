"""U-NeXt (Song et al. 2019, gallstones): a U-Net of aggregated transformations. Not UNeXt of 2022, which is an MLP."""

from jaxtyping import Float
from torch import Tensor, nn

from massmatch.models.blocks import PaddedNet, double, enlarged, joined, pooled

CARDINALITY = 32  # of ResNeXt (Xie et al. 2017)


class AggregatedBlock(nn.Module):
    """A ResNeXt block: 1x1 down, 3x3 in groups, 1x1 up, and the input added."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = max(1, outputs // 2)
        groups = next(g for g in range(min(CARDINALITY, inner), 0, -1) if inner % g == 0)
        self.transform = nn.Sequential(
            *(nn.Conv2d(inputs, inner, 1), nn.BatchNorm2d(inner), nn.ReLU()),
            *(nn.Conv2d(inner, inner, 3, padding=1, groups=groups), nn.BatchNorm2d(inner), nn.ReLU()),
            *(nn.Conv2d(inner, outputs, 1), nn.BatchNorm2d(outputs)),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.out = nn.ReLU()

    def forward(self, x: Float[Tensor, "B c h w"]) -> Float[Tensor, "B d h w"]:
        """ReLU(transform(x) + shortcut(x))."""
        return self.out(self.transform(x) + self.shortcut(x))


class UNeXt(PaddedNet):
    """A U-Net whose encoder has two aggregated blocks per level and whose head sees every level of the decoder.

    A reconstruction. Known: U-Net, aggregation, the name after ResNeXt. Ours: everything else. `width` = 64 at the
    first level, doubled four times.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64) -> None:
        super().__init__(in_channels, out_channels, width)
        widths = [width * 2**level for level in range(5)]
        self.encoder = nn.ModuleList(
            nn.Sequential(AggregatedBlock(inputs, outputs), AggregatedBlock(outputs, outputs))
            for inputs, outputs in zip([in_channels, *widths], widths, strict=False)
        )
        self.decoder = nn.ModuleList(double(3 * channels, channels) for channels in reversed(widths[:-1]))
        self.narrow = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in reversed(widths[:-1]))
        self.head = nn.Conv2d(4 * width, out_channels, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of (B, C, *spatial), of the input's height and width, without activation."""
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(pooled(x) if skips else x)
            skips.append(x)
        maps = []
        for block, narrow, skip in zip(self.decoder, self.narrow, reversed(skips[:-1]), strict=True):
            x = block(joined(enlarged(x, skip), skip))
            maps.append(enlarged(narrow(x), skips[0]))
        return self.head(joined(*maps))
