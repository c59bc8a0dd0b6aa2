"""What a run tells whoever watches it."""

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """What a run tells whoever watches it, after every batch."""

    phase: str  # "train" or "test"
    done: int  # batches of the whole training, or images
    of: int
    epoch: int
    epochs: int
    loss: float
    dsc: float  # pooled, on the validation part, the best so far; NaN before the first


Watch = Callable[[Progress], None]
