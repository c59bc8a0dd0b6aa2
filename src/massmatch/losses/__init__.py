"""The losses, by name. This folder needs torch, numpy, scipy and jaxtyping alone, and works under any other name.

    loss = LOSSES["sm-tversky-s-a"](cell_statistic="mean", smooth=0.1)
    loss = make_loss("sm-tversky-s-a:cell_statistic=mean,smooth=0.1")

`sm-<core>-<switches>-<aggregation>` are the paper's 24: the core bce, tversky or dice; B(asic), S(cale),
D(istance) or SD; the mean over a(ll) or over n(on-)z(ero) cells. Options of the core and of the loss may be mixed.

The frame, and the losses that the paper is built of, are imported here; the classes of all others are too, by way of
the catalogue, so that a new loss needs no line of this file: `from massmatch.losses import BlobLoss`.
"""

from typing import Any

from .base import ImageLoss, WholeImageLoss
from .catalogue import LOSSES
from .cores.base import BCE, Dice, DiceBCE, Hybrid, Tversky
from .cores.catalogue import CORES
from .entry import Entry, VariantName
from .own import AdaptedLoss
from .soft_matching import SoftMatching, SoftMatchingLoss
from .spatial_matching import Matching, SpatialMatchingLoss
from .spec import LossSpec, in_one_spelling, make_loss, text_of

__all__ = [
    "BCE",
    "CORES",
    "LOSSES",
    "AdaptedLoss",
    "Dice",
    "DiceBCE",
    "Entry",
    "Hybrid",
    "ImageLoss",
    "LossSpec",
    "Matching",
    "SoftMatching",
    "SoftMatchingLoss",
    "SpatialMatchingLoss",
    "Tversky",
    "VariantName",
    "WholeImageLoss",
    "in_one_spelling",
    "make_loss",
    "text_of",
]

_OTHERS = {cls.__name__: cls for entry in LOSSES.values() for cls in (entry.build, entry.core) if isinstance(cls, type)}
__all__ += [name for name in _OTHERS if name not in __all__]


def __getattr__(name: str) -> Any:
    """The class of a loss that only the catalogue imports."""
    if name not in _OTHERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _OTHERS[name]
