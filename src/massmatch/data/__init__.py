"""Mammograms: one image, prepared cohorts, readers, folds."""

from collections.abc import Callable

from massmatch.data.cohort import Cohort, open_cohort
from massmatch.data.errors import CohortError, DataWarning
from massmatch.data.folds import SCHEMES, Split, split
from massmatch.data.phantom import phantoms
from massmatch.data.preparation.files import write_cohort
from massmatch.data.readers.cbis_ddsm.reader import cbis_ddsm
from massmatch.data.readers.folder import folder
from massmatch.data.readers.inbreast.reader import inbreast
from massmatch.data.readers.listing import Listing
from massmatch.data.readers.monai import monai
from massmatch.data.readers.nnunet import nnunet
from massmatch.data.sample import Sample

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
