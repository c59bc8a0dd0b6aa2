"""Mammograms: one image, prepared cohorts, readers, folds."""

from collections.abc import Callable, Iterator

from massmatch.data import folder
from massmatch.data.cohort import Cohort, open_cohort
from massmatch.data.errors import CohortError, DataWarning
from massmatch.data.folds import SCHEMES, Split, split
from massmatch.data.phantom import phantoms
from massmatch.data.sample import Sample
from massmatch.data.writing import write_cohort

# By name: what yields the samples that `write_cohort` writes. Each has arguments of its own.
READERS: dict[str, Callable[..., Iterator[Sample]]] = {"folder": folder.samples, "phantom": phantoms}

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
