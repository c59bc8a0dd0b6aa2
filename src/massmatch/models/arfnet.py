"""ARF-Net (Xu et al. 2022, Biomed. Signal Process. Control 71:103178), from its abstract: a reconstruction."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from massmatch.models.blocks import PaddedNet, conv_bn_relu, double, enlarged, hidden, joined, pooled, separate

RATES = (1, 2, 3, 4)  # ours


class SelectiveReceptiveField(nn.Module):
    """SRFM: several receptive fields (MRFM), and for each channel a soft choice among them (MSSM).

    Ours: four 3x3 convolutions with dilations of 1 to 4, chosen as in selective kernels (Li et al. 2019): their sum's
    mean over the image, a bottleneck of a sixteenth, a softmax over the four.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fields = nn.ModuleList(separate(channels, channels, rate) for rate in RATES)
        inner = hidden(channels, 16)
        self.choose = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels * len(RATES)))

    def forward(self, x: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
        """The mixture of the branches that the channels' attention chooses, of the input's size."""
        fields = torch.stack([field(x) for field in self.fields], 1)
        weights = self.choose(fields.sum(1).mean((-2, -1))).unflatten(1, (len(RATES), -1)).softmax(1)
        return (fields * weights[..., None, None]).sum(1)


class ARFNet(PaddedNet):
    """A U-Net whose encoder chooses its receptive fields: (B, in_channels, H, W) to (B, out_channels, H, W) logits.

    Known: an encoder, a decoder and a pixel-wise classifier, with a selective receptive field module made of multiple
    receptive fields and a selection by the size of the object. Ours: where it stands (after the first convolution of
    every level of the encoder), its branches, and the widths of a U-Net (`width` = 64 at the first level, doubled four
    times).
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64) -> None:
        super().__init__(in_channels, out_channels, width)
        widths = [width * 2**level for level in range(5)]
        self.encoder = nn.ModuleList(
            nn.Sequential(conv_bn_relu(inputs, outputs), SelectiveReceptiveField(outputs))
            for inputs, outputs in zip([in_channels, *widths], widths, strict=False)
        )
        self.decoder = nn.ModuleList(double(3 * channels, channels) for channels in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, out_channels, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of (B, C, *spatial), of the input's height and width, without activation."""
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(pooled(x) if skips else x)
            skips.append(x)
        for block, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            x = block(joined(enlarged(x, skip), skip))
        return self.head(x)
