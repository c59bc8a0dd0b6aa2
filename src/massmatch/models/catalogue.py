"""Every network by name: `MODELS["aunet"](1, 1, 64)` builds one. A new network is one entry here."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import nn

from massmatch.models.arfnet import ARFNet
from massmatch.models.aunet import AUNet
from massmatch.models.dense import AttentionDenseUNet, FCDenseNetMultiScale
from massmatch.models.dsunet import DSUNet
from massmatch.models.lite_unet import LiteUNet
from massmatch.models.mdunet import MDUNet
from massmatch.models.monai_nets import SWIN_UNETR_STEP, attention_unet, swin_unetr, unet, unetpp
from massmatch.models.nested import AttentionUNetPlusPlus, DilatedUNetPlusPlus
from massmatch.models.swin_unet import HEADS, SwinUnet
from massmatch.models.unet3plus import UNet3Plus
from massmatch.models.unext import UNeXt


@dataclass(frozen=True)
class Network:
    """A network of the catalogue. Called with (in_channels, out_channels, width), it builds the network.

    Args:
        name: in the catalogue and on the command line.
        build: the class, or a function with the same three arguments.
        source: the paper that it comes from.
        fidelity: how close it is to its source; begins with exact, adapted or reconstruction.
        line: what it is, in one line.
        deep_supervision: whether it returns a list of outputs while it trains, the main one first.
        width_step: its width must be a multiple of this.

    Example:
        MODELS["aunet"](in_channels=1, out_channels=1, width=8)
    """

    name: str
    build: Callable[..., nn.Module]
    source: str
    fidelity: str
    line: str
    deep_supervision: bool = False
    width_step: int = 1

    def __call__(self, *arguments: Any, **named: Any) -> nn.Module:
        """The network, with raw logits as its output."""
        return self.build(*arguments, **named)

    @property
    def published_width(self) -> int:
        """The channels of the first level in the paper, which is the default of `width`."""
        return int(inspect.signature(self.build).parameters["width"].default)

    @property
    def is_reconstruction(self) -> bool:
        """Whether its details could not be read anywhere, so that a result says nothing about its authors' network."""
        return self.fidelity.startswith("reconstruction")


NETWORKS: list[Network] = [
    Network(
        "aunet",
        AUNet,
        "Sun et al. 2020",
        "exact",
        "residual encoder, plain decoder, attention-guided up-sampling: the network of the paper's experiments",
    ),
    Network(
        "lite-unet",
        LiteUNet,
        "ours; encoder of Tan and Le 2019",
        "exact in its encoder, EfficientNet-Lite0; the decoder is ours",
        "U-Net on a light encoder that can start from ImageNet: the network in this package",
    ),
    Network(
        "arfnet",
        ARFNet,
        "Xu et al. 2022",
        "reconstruction from the abstract",
        "U-Net whose encoder chooses its receptive fields",
    ),
    Network("unet", unet, "Ronneberger et al. 2015", "adapted: MONAI's BasicUNet, with batch normalisation", "U-Net"),
    Network(
        "unet++",
        unetpp,
        "Zhou et al. 2018",
        "adapted: MONAI's BasicUNetPlusPlus",
        "nested U-Net, every node sees all earlier ones of its level",
        True,
    ),
    Network(
        "attention-unet",
        attention_unet,
        "Oktay et al. 2018",
        "adapted: MONAI's AttentionUnet",
        "U-Net with attention gates on its skips",
    ),
    Network(
        "swin-unetr",
        swin_unetr,
        "Hatamizadeh et al. 2022",
        "adapted: MONAI's SwinUNETR, in 2-D",
        "encoder of shifted-window transformers, convolutional decoder",
        width_step=SWIN_UNETR_STEP,
    ),
    Network(
        "unet3+",
        UNet3Plus,
        "Huang et al. 2020",
        "adapted from the paper, without its classification head (published: 26.97 million parameters)",
        "U-Net in which every node of the decoder sees every scale",
        True,
    ),
    Network(
        "attention-unet++",
        AttentionUNetPlusPlus,
        "Li et al. 2020",
        "adapted from the paper's idea; where the gates stand is ours",
        "U-Net++ with attention gates on its skips",
        True,
    ),
    Network(
        "mdunet",
        MDUNet,
        "Zhang et al. 2018",
        "adapted: the paper's best variant, without its quantised weights",
        "U-Net with dense connections across scales",
    ),
    Network(
        "attention-dense-unet",
        AttentionDenseUNet,
        "Li et al. 2019",
        "reconstruction",
        "densely connected encoder, decoder with attention gates",
    ),
    Network(
        "swin-unet",
        SwinUnet,
        "Cao et al. 2022",
        "adapted from the paper; windows of 8 (published: 27.17 million parameters)",
        "U-Net of shifted-window transformers",
        width_step=HEADS[0],
    ),
    Network(
        "dsunet",
        DSUNet,
        "Rajalakshmi et al. 2021",
        "adapted from a description; against the authors' public code, side outputs stand at the finer levels instead "
        "of the coarser ones, squeeze-and-excitation comes after the up-sampling instead of before it, and there is no "
        "dropout of 0.5, no edge target and no conditional random field",
        "U-Net with squeeze-and-excitation, sums for skips, and six side outputs",
        True,
    ),
    Network(
        "fc-densenet-ms",
        FCDenseNetMultiScale,
        "Hai et al. 2019",
        "reconstruction",
        "fully convolutional DenseNet with an atrous context at its bottom",
    ),
    Network(
        "dilated-unet++",
        DilatedUNetPlusPlus,
        "after Wu et al. 2019 (pelvic organs in CT)",
        "reconstruction; theirs dilates both convolutions of a node, here the second one",
        "U-Net++ with dilated convolutions",
        True,
    ),
    Network(
        "unext",
        UNeXt,
        "Song et al. 2019",
        "reconstruction",
        "U-Net of aggregated transformations, after ResNeXt",
    ),
]


class UnknownNetworkError(KeyError, ValueError):
    """A name that the catalogue does not have."""

    def __str__(self) -> str:
        """The message without the quotes that KeyError puts around it."""
        return str(self.args[0])


class Networks(dict[str, Network]):
    """The networks by name. A name that is not there raises UnknownNetworkError, which says the nearest one."""

    def __missing__(self, name: object) -> Network:
        near = get_close_matches(str(name).lower(), self, 1, cutoff=0.0)[0]
        raise UnknownNetworkError(
            f"unknown model {name!r}; did you mean {near!r}? `massmatch models` lists all {len(self)}"
        )


MODELS = Networks({network.name: network for network in NETWORKS})
