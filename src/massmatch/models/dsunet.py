"""DSU-Net (Rajalakshmi et al. 2021): a U-Net with squeeze-and-excitation, sums for skips, and six side outputs."""

from jaxtyping import Float
from torch import Tensor, nn

from massmatch.models.blocks import PaddedNet, double, enlarged, hidden, joined, pooled

LEVELS = 5


class SqueezeExcite(nn.Module):
    """Each channel times a number in (0, 1) drawn from all channels' means (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = hidden(channels, 16)
        self.weigh = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels), nn.Sigmoid())

    def forward(self, x: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
        """The input with each channel weighed, of the same shape."""
        return x * self.weigh(x.mean((-2, -1)))[:, :, None, None]


class DSUNet(PaddedNet):
    """DSU-Net: plain encoder of `width` = 64 doubled four times, skip and coarser map weighed by squeeze-and-excitation
    and added, six side outputs, and a head that sees them beside the last features.

    Written from a description of the authors' code. Left out: its loss with edge targets for the encoder's side
    outputs and falling weights (every loss of the catalogue is applied to all outputs alike), its dropout of 0.5, and
    the conditional random field afterwards. Ours: the coarser map is brought to the skip's channels by a 1x1
    convolution and weighed by squeeze-and-excitation after it was enlarged, where the code weighs it before; the side
    outputs stand at the three finer levels of encoder and decoder each, where those of the code stand at coarser ones.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64) -> None:
        super().__init__(in_channels, out_channels, width)
        widths = [width * 2**level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            double(inputs, outputs) for inputs, outputs in zip([in_channels, *widths], widths, strict=False)
        )
        below = list(reversed(widths[:-1]))
        self.narrow = nn.ModuleList(nn.Conv2d(2 * channels, channels, 1) for channels in below)
        self.of_skip = nn.ModuleList(SqueezeExcite(channels) for channels in below)
        self.of_coarse = nn.ModuleList(SqueezeExcite(channels) for channels in below)
        self.decoder = nn.ModuleList(double(channels, channels) for channels in below)
        self.sides = nn.ModuleList(side(channels, out_channels) for channels in (*widths[:3], *widths[:3]))
        self.head = nn.Conv2d(width + 6 * out_channels, out_channels, 1)

    def logits(self, x: Tensor) -> list[Tensor]:
        """The head's output, then the side outputs of the encoder and of the decoder, fine to coarse."""
        encoded: list[Tensor] = []
        for block in self.encoder:
            x = block(pooled(x) if encoded else x)
            encoded.append(x)
        decoded = []
        steps = zip(self.narrow, self.of_skip, self.of_coarse, self.decoder, reversed(encoded[:-1]), strict=True)
        for narrow, of_skip, of_coarse, block, skip in steps:
            x = block(of_skip(skip) + of_coarse(enlarged(narrow(x), skip)))
            decoded.append(x)
        maps = [*encoded[:3], *reversed(decoded[1:])]
        sides = [enlarged(side(m), x) for side, m in zip(self.sides, maps, strict=True)]
        return [self.head(joined(x, *sides)), *sides]


def side(channels: int, outputs: int) -> nn.Sequential:
    """1x1 convolution and batch normalisation."""
    return nn.Sequential(nn.Conv2d(channels, outputs, 1), nn.BatchNorm2d(outputs))
