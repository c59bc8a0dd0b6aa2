"""massmatch: breast mass segmentation on whole mammograms, and the losses it is trained with.

All that most users need can be imported from here; each name is loaded when it is first used.

    from massmatch import SoftMatchingLoss, open_cohort, predict, prepare, report, sweep, train

`prepare`, `train`, `sweep`, `report` and `predict` do what the commands of these names do.
"""

from typing import TYPE_CHECKING

from massmatch.lazy import importer

if TYPE_CHECKING:
    from massmatch.data.cohort import Cohort
    from massmatch.data.open import open_cohort
    from massmatch.data.phantom import phantoms
    from massmatch.data.preparation.entry import prepare
    from massmatch.errors import DataError, MassmatchError, RunError, UsageError
    from massmatch.inference.batch import predict
    from massmatch.inference.network import load_network
    from massmatch.losses import LOSSES, SoftMatchingLoss, SpatialMatchingLoss, make_loss
    from massmatch.metrics import image_metrics
    from massmatch.models import MODELS
    from massmatch.reports.page import report
    from massmatch.runs.collection import collect
    from massmatch.runs.folder import RunFolder
    from massmatch.sweeps.sweep import sweep
    from massmatch.training.entry import train

__version__ = "0.2.0"

__all__ = [
    "LOSSES",
    "MODELS",
    "Cohort",
    "DataError",
    "MassmatchError",
    "RunError",
    "RunFolder",
    "SoftMatchingLoss",
    "SpatialMatchingLoss",
    "UsageError",
    "__version__",
    "collect",
    "image_metrics",
    "load_network",
    "make_loss",
    "open_cohort",
    "phantoms",
    "predict",
    "prepare",
    "report",
    "sweep",
    "train",
]

__getattr__ = importer(
    __name__,
    {
        "Cohort": "data.cohort",
        "open_cohort": "data.open",
        "phantoms": "data.phantom",
        "prepare": "data.preparation.entry",
        "DataError": "errors",
        "MassmatchError": "errors",
        "RunError": "errors",
        "UsageError": "errors",
        "predict": "inference.batch",
        "load_network": "inference.network",
        "LOSSES": "losses",
        "SoftMatchingLoss": "losses",
        "SpatialMatchingLoss": "losses",
        "make_loss": "losses",
        "image_metrics": "metrics",
        "MODELS": "models",
        "report": "reports.page",
        "collect": "runs.collection",
        "RunFolder": "runs.folder",
        "sweep": "sweeps.sweep",
        "train": "training.entry",
    },
)


def __dir__() -> list[str]:
    """The names, those not loaded yet too."""
    return __all__
