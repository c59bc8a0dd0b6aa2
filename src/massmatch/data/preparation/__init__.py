"""From a dataset as it is on disk to a cohort, on all cores, in a way that can be interrupted and continued."""
