"""Mammograms: one image, prepared cohorts, readers, folds."""

from massmatch.data.cohort import Cohort, CohortError, open_cohort, write_cohort
from massmatch.data.folds import SCHEMES, Split, split
from massmatch.data.phantom import phantoms
from massmatch.data.sample import Sample

__all__ = [
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
