"""Thresholds that are chosen on the validation part: which are tried, which is the best, which lie at an end."""

import math
from collections.abc import Iterable

import numpy as np

from massmatch.metrics import Counts


def searched() -> np.ndarray:
    """The thresholds that are tried (T, ascending, 0.5 among them), from 0.0000076 to 0.9999924.

    In steps of 0.02 of the logit (0.005 of the probability at 0.5), since the probabilities of networks that are
    certain of everything differ near 0 and 1 alone. Each is moved halfway between two neighbouring values of the
    16-bit pictures in which predictions are stored (the ends lie half a step from 0 and 1), then down to a float32,
    the type that networks predict in: so a pixel is above it in the validation, in the measurement and in the
    picture, or in none of them.
    """
    wanted = 1 / (1 + np.exp(-0.02 * np.arange(-589, 590)))
    halfway = (np.unique(np.floor(wanted * 65535)) + 0.5) / 65535
    near = halfway.astype(np.float32)
    return np.where(near > halfway, np.nextafter(near, np.float32(0)), near).astype(float)


THRESHOLDS = searched()
ENDS = (float(THRESHOLDS[0]), 0.05, 0.95, float(THRESHOLDS[-1]))  # older runs were searched from 0.05 to 0.95


def searched_before(thresholds: Iterable[float]) -> bool:
    """Whether the thresholds that a run chose, epoch by epoch, all are of the older search: 0.05, 0.1, ..., 0.95.

    Not where all are 0.5, which both searches try, and which stands where none is better than another.
    """
    told = [each for each in thresholds if each != 0.5]
    return bool(told) and all(math.isclose(20 * each, round(20 * each), abs_tol=1e-6) for each in told)


def best_threshold(tried: np.ndarray, mass: np.ndarray, rest: np.ndarray) -> tuple[Counts, float]:
    """The threshold of `tried` (T, ascending) with the highest DSC, from pixels (T + 1) by how many they exceed.

    Of equally good ones the one nearest to 0.5.
    """
    tp, fp = (np.cumsum(of[::-1])[-2::-1] for of in (mass, rest))
    counts = [Counts(int(t), int(f), int(mass.sum() - t), int(rest.sum() - f)) for t, f in zip(tp, fp, strict=True)]
    best = max(range(len(tried)), key=lambda n: (counts[n].dice, -abs(tried[n] - 0.5)))
    return counts[best], float(tried[best])


def at_end(threshold: float) -> bool:
    """Whether a threshold that was chosen is the lowest or the highest of its search: a better one may lie beyond."""
    return any(math.isclose(threshold, end) for end in ENDS)


def as_stored(probability: np.ndarray) -> np.ndarray:
    """Probabilities as 16-bit numbers (65535 = 1), the nearest; halves go down, as "above 0.5" does not include 0.5."""
    return np.ceil(probability.astype(float) * 65535 - 0.5).astype(np.uint16)
