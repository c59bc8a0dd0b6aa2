"""Masks as lengths of runs, which is how pages and links hold them: 0s first, then 1s, and so on, row by row."""

from collections.abc import Sequence

import numpy as np

from massmatch.errors import UsageError


def from_runs(runs: Sequence[int], shape: tuple[int, int]) -> np.ndarray:
    """The (H, W) bool mask of a list of runs. UsageError where they do not fill the shape exactly.

    Example: `from_runs([1, 2, 1], (2, 2))` is [[False, True], [True, False]].
    """
    pixels = shape[0] * shape[1]
    good = isinstance(runs, list) and all(type(run) is int and 0 <= run <= pixels for run in runs)
    if not good or sum(runs) != pixels:
        raise UsageError(f"a mask must be runs that fill {shape[0]}x{shape[1]} pixels, but these do not")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)


def to_runs(mask: np.ndarray) -> list[int]:
    """The mask that runs stand for: the inverse of `from_runs`."""
    flat = mask.astype(bool).ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends.tolist(), flat.size]).tolist()
    return [0, *runs] if flat.size and flat[0] else runs
