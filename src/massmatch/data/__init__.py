"""Mammograms: one image, prepared cohorts, readers, folds."""

from collections.abc import Callable

from massmatch.data.cbis_ddsm import cbis_ddsm
from massmatch.data.cohort import Cohort, open_cohort
from massmatch.data.datalist import monai
from massmatch.data.errors import CohortError, DataWarning
from massmatch.data.folds import SCHEMES, Split, split
from massmatch.data.inbreast import inbreast
from massmatch.data.listing import Listing
from massmatch.data.nnunet import nnunet
from massmatch.data.pairs import folder
from massmatch.data.phantom import phantoms
from massmatch.data.sample import Sample
from massmatch.data.writing import write_cohort

# What `massmatch prepare` reads, by name; each has options of its own. Phantoms are made, not read: `phantoms`.
READERS: dict[str, Callable[..., Listing]] = {
    "inbreast": inbreast,
    "cbis-ddsm": cbis_ddsm,
    "folder": folder,
    "nnunet": nnunet,
    "monai": monai,
}

__all__ = [
    "READERS",
    "SCHEMES",
    "Cohort",
    "CohortError",
    "DataWarning",
    "Sample",
    "Split",
    "open_cohort",
    "phantoms",
    "split",
    "write_cohort",
]
