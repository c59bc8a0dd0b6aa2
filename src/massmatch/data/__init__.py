"""Mammograms: one image, prepared cohorts, readers, folds."""

from collections.abc import Callable, Iterator

from massmatch.data import folder
from massmatch.data.cohort import Cohort, CohortError, open_cohort, write_cohort
from massmatch.data.folds import SCHEMES, Split, split
from massmatch.data.phantom import phantoms
from massmatch.data.sample import Sample

# By name: what yields the samples that `write_cohort` writes. Each has arguments of its own.
READERS: dict[str, Callable[..., Iterator[Sample]]] = {"folder": folder.samples, "phantom": phantoms}

__all__ = [
    "READERS",
    "SCHEMES",
    "Cohort",
    "CohortError",
    "Sample",
    "Split",
    "open_cohort",
    "phantoms",
    "split",
    "write_cohort",
]
