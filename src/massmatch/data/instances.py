"""From single masses to a map of labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def labelled(masks: Sequence[NDArray[np.bool_]], shape: tuple[int, ...]) -> NDArray[np.uint16] | NDArray[np.uint8]:
    """(H, W) with 1..n for the masks of (H, W) in their order; where they overlap, the smaller is on top."""
    labels = np.zeros(shape, np.uint8 if len(masks) < 256 else np.uint16)
    for n in sorted(range(len(masks)), key=lambda n: -int(masks[n].sum())):
        labels[masks[n]] = n + 1
    return labels
