"""The losses, by name. This folder needs torch, numpy, scipy and jaxtyping alone, and works under any other name.

    loss = LOSSES["sm-tversky-s-a"](cell_statistic="mean", smooth=0.1)
    loss = make_loss("sm-tversky-s-a:cell_statistic=mean,smooth=0.1")

`sm-<core>-<switches>-<aggregation>` are the paper's 24: the core bce, tversky or dice; B(asic), S(cale),
D(istance) or SD; the mean over a(ll) or over n(on-)z(ero) cells. Options of the core and of the loss may be mixed.
"""

from .base import ImageLoss, WholeImageLoss
from .catalogue import LOSSES
from .cores.adaptive import AdaptiveTversky
from .cores.base import BCE, Dice, Tversky
from .cores.catalogue import CORES
from .cores.mixed import DiceBCE, Hybrid
from .cores.weighted import BalancedBCE, Combo, Focal, FocalTversky, TopKBCE, UnifiedFocal, WeightedBCE
from .entry import Entry, VariantName
from .own import AdaptedLoss
from .rivals.adaptive import AdaptiveSampleLoss, DensityASP
from .rivals.adaptive_region import AdaptiveRegionLoss
from .rivals.catmil import CATMIL
from .rivals.distance import BoundaryLoss, GeneralisedSurface, HausdorffDT, RegionWise
from .rivals.instance import BlobLoss, CCDiceBCE, InstanceLoss
from .rivals.region import RMI, SSIM, SSL
from .soft_matching import SoftMatching, SoftMatchingLoss
from .spatial_matching import Matching, SpatialMatchingLoss
from .spec import LossSpec, make_loss, text_of

__all__ = [
    "BCE",
    "CATMIL",
    "CORES",
    "LOSSES",
    "RMI",
    "SSIM",
    "SSL",
    "AdaptedLoss",
    "AdaptiveRegionLoss",
    "AdaptiveSampleLoss",
    "AdaptiveTversky",
    "BalancedBCE",
    "BlobLoss",
    "BoundaryLoss",
    "CCDiceBCE",
    "Combo",
    "DensityASP",
    "Dice",
    "DiceBCE",
    "Entry",
    "Focal",
    "FocalTversky",
    "GeneralisedSurface",
    "HausdorffDT",
    "Hybrid",
    "ImageLoss",
    "InstanceLoss",
    "LossSpec",
    "Matching",
    "RegionWise",
    "SoftMatching",
    "SoftMatchingLoss",
    "SpatialMatchingLoss",
    "TopKBCE",
    "Tversky",
    "UnifiedFocal",
    "VariantName",
    "WeightedBCE",
    "WholeImageLoss",
    "make_loss",
    "text_of",
]
