"""The losses, by name. This folder needs torch, numpy, scipy and jaxtyping alone, and works under any other name.

    loss = LOSSES["sm-tversky-s-a"](cell_statistic="mean", smooth=0.1)

`sm-<core>-<switches>-<aggregation>` are the paper's 24: the core bce, tversky or dice; B(asic), S(cale),
D(istance) or SD; the mean over a(ll) or over n(on-)z(ero) cells. Options of the core and of the loss may be mixed.
"""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

from .base import ImageLoss, WholeImageLoss
from .cores.base import BCE, Dice, Tversky
from .cores.mixed import DiceBCE, Hybrid
from .cores.weighted import BalancedBCE, Combo, Focal, FocalTversky, TopKBCE, UnifiedFocal, WeightedBCE
from .rivals.adaptive import AdaptiveSampleLoss, DensityASP
from .rivals.adaptive_region import AdaptiveRegionLoss, AdaptiveTversky
from .rivals.distance import BoundaryLoss, GeneralisedSurface, HausdorffDT, RegionWise
from .rivals.instance import BlobLoss, CCDiceBCE, InstanceLoss
from .rivals.region import RMI, SSIM, SSL
from .soft_matching import SoftMatchingLoss
from .spatial_matching import CORES, Matching, SpatialMatchingLoss

__all__ = [
    "BCE",
    "CORES",
    "LOSSES",
    "Dice",
    "Hybrid",
    "ImageLoss",
    "Matching",
    "SoftMatchingLoss",
    "SpatialMatchingLoss",
    "Tversky",
    "WholeImageLoss",
]


def _with_core(loss: Callable[..., ImageLoss], core: Callable[..., Any], **options: Any) -> ImageLoss:
    """`loss` around `core`, each given the options that are its own."""
    own = {field.name for field in fields(core)}  # type: ignore[arg-type]
    of_core = {name: options.pop(name) for name in own & options.keys()}
    return loss(core(**of_core), **options)


LOSSES: dict[str, Callable[..., ImageLoss]] = {
    "bce": partial(_with_core, WholeImageLoss, BCE),
    "tversky": partial(_with_core, WholeImageLoss, Tversky),
    "dice": partial(_with_core, WholeImageLoss, Dice),
    "hybrid": partial(_with_core, WholeImageLoss, Hybrid),
    # adaptive: what the paper compares itself with
    "asp-q": partial(AdaptiveSampleLoss, strategy="quantile"),
    "asp-c": partial(AdaptiveSampleLoss, strategy="cluster"),
    "asp-l": partial(AdaptiveSampleLoss, strategy="learned"),
    "density-asp": DensityASP,
    # named by the paper
    "weighted-bce": partial(_with_core, WholeImageLoss, WeightedBCE),
    "balanced-bce": partial(_with_core, WholeImageLoss, BalancedBCE),
    "focal": partial(_with_core, WholeImageLoss, Focal),
    "unified-focal": partial(_with_core, WholeImageLoss, UnifiedFocal),
    "combo": partial(_with_core, WholeImageLoss, Combo),
    "ssim": SSIM,
    "ssl": SSL,
    "rmi": RMI,
    # what one would take today
    "dice-bce": partial(_with_core, WholeImageLoss, DiceBCE),
    "focal-tversky": partial(_with_core, WholeImageLoss, FocalTversky),
    "adaptive-tversky": partial(_with_core, WholeImageLoss, AdaptiveTversky),
    "arsl": AdaptiveRegionLoss,
    "topk-bce": partial(_with_core, WholeImageLoss, TopKBCE),
    "boundary": BoundaryLoss,
    "hausdorff-dt": HausdorffDT,
    "generalised-surface": GeneralisedSurface,
    "region-wise": RegionWise,
    "blob": BlobLoss,
    "cc-dice-bce": CCDiceBCE,
    "instance": InstanceLoss,
    "soft-sm": SoftMatchingLoss,
    **{
        f"sm-{core}-{switches}-{aggregation}": partial(
            _with_core,
            SpatialMatchingLoss,
            CORES[core],
            scale="s" in switches,
            distance="d" in switches,
            nonzero=aggregation == "nz",
        )
        for core in ("bce", "tversky", "dice")
        for switches in ("b", "s", "d", "sd")
        for aggregation in ("a", "nz")
    },
}
