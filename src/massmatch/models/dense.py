"""Networks of dense blocks: attention dense U-Net, and FC-DenseNet with an atrous context."""

from jaxtyping import Float
from torch import Tensor, nn

from massmatch.models.blocks import Gate, PaddedNet, double, enlarged, joined, pooled, separate

LEVELS = 5
RATES = (1, 6, 12, 18)  # of the atrous context


class DenseBlock(nn.Module):
    """Each layer of `growth` channels sees the block's input and all layers before it (Huang et al. 2017)."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(inputs + n * growth),
                nn.ReLU(),
                nn.Conv2d(inputs + n * growth, growth, 3, padding=1, bias=False),
            )
            for n in range(layers)
        )
        self.outputs = inputs + layers * growth

    def forward(self, x: Float[Tensor, "B c h w"]) -> Float[Tensor, "B d h w"]:
        """Input and all layers side by side."""
        for layer in self.layers:
            x = joined(x, layer(x))
        return x


class AttentionDenseUNet(PaddedNet):
    """A densely connected encoder and a decoder with attention gates (Li et al. 2019, DDSM): a reconstruction.

    Known: a DenseNet encoder, gates on the skips of a U-Net's decoder. Ours: four layers per block, growth of half the
    level's width, a 1x1 transition to the level's width (`width` = 64, doubled four times).
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64) -> None:
        super().__init__(in_channels, out_channels, width)
        widths = [width * 2**level for level in range(LEVELS)]
        self.stem = separate(in_channels, width)
        self.encoder = nn.ModuleList(
            dense_level(inputs, outputs) for inputs, outputs in zip([width, *widths], widths, strict=False)
        )
        self.gates = nn.ModuleList(Gate(channels, 2 * channels) for channels in reversed(widths[:-1]))
        self.decoder = nn.ModuleList(double(3 * channels, channels) for channels in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, out_channels, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of (B, C, *spatial), of the input's height and width, without activation."""
        skips: list[Tensor] = []
        x = self.stem(x)
        for block in self.encoder:
            x = block(pooled(x) if skips else x)
            skips.append(x)
        for gate, block, skip in zip(self.gates, self.decoder, reversed(skips[:-1]), strict=True):
            x = block(joined(gate(skip, x), enlarged(x, skip)))
        return self.head(x)


def dense_level(inputs: int, outputs: int) -> nn.Sequential:
    """A dense block of four layers and a 1x1 transition."""
    block = DenseBlock(inputs, max(1, outputs // 2), 4)
    return nn.Sequential(block, nn.Conv2d(block.outputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU())


class AtrousContext(nn.Module):
    """Parallel convolutions of several dilations, joined and mixed (Chen et al. 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fields = nn.ModuleList(separate(channels, channels, rate) for rate in RATES)
        self.mix = nn.Sequential(nn.Conv2d(channels * len(RATES), channels, 1), nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, x: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
        """The mixture of all dilations, of the input's size."""
        return self.mix(joined(*(field(x) for field in self.fields)))


class FCDenseNetMultiScale(PaddedNet):
    """FC-DenseNet with an atrous context at its bottom (Hai et al. 2019, mammographic masses): a reconstruction.

    Known: a fully convolutional DenseNet and multi-scale context by dilation. Ours: four layers per block with a growth
    of a quarter of `width` (16 for the default of 64, as FC-DenseNet), four halvings, dilations of 1, 6, 12 and 18, no
    weighted loss.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64) -> None:
        super().__init__(in_channels, out_channels, width)
        growth = max(1, width // 4)
        self.stem = separate(in_channels, width)
        channels, skips = width, []
        self.down = nn.ModuleList()
        for _ in range(LEVELS - 1):
            block = DenseBlock(channels, growth, 4)
            self.down.append(block)
            skips.append(channels := block.outputs)
        self.context = AtrousContext(channels)
        self.up = nn.ModuleList()
        for skip in reversed(skips):
            block = DenseBlock(channels + skip, growth, 4)
            self.up.append(nn.Sequential(block, nn.Conv2d(block.outputs, skip, 1)))
            channels = skip
        self.head = nn.Conv2d(channels, out_channels, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of (B, C, *spatial), of the input's height and width, without activation."""
        x, skips = self.stem(x), []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = pooled(x)
        x = self.context(x)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = block(joined(enlarged(x, skip), skip))
        return self.head(x)
