"""Mammograms: one image, prepared cohorts, readers, folds. Each name is imported when it is first used."""

from typing import TYPE_CHECKING

from massmatch.lazy import importer

if TYPE_CHECKING:
    from massmatch.data.cohort import Cohort
    from massmatch.data.errors import DataError, DataWarning
    from massmatch.data.folds import SCHEMES, Split, split
    from massmatch.data.open import open_cohort
    from massmatch.data.phantom import phantoms
    from massmatch.data.preparation.files import write_cohort
    from massmatch.data.readers import READERS
    from massmatch.data.sample import Sample

__all__ = [
    "READERS",
    "SCHEMES",
    "Cohort",
    "DataError",
    "DataWarning",
    "Sample",
    "Split",
    "open_cohort",
    "phantoms",
    "split",
    "write_cohort",
]

__getattr__ = importer(
    __name__,
    {
        "Cohort": "cohort",
        "open_cohort": "open",
        "DataError": "errors",
        "DataWarning": "errors",
        "SCHEMES": "folds",
        "Split": "folds",
        "split": "folds",
        "phantoms": "phantom",
        "write_cohort": "preparation.files",
        "READERS": "readers",
        "Sample": "sample",
    },
)
