"""A loss and a core of one's own, compared with others in a sweep.

massmatch phantom cohort --patients 20 --size 64
massmatch losses check own_loss:LogCosh
massmatch sweep cohort --losses own_loss:LogCosh own_loss:cell_by_cell hybrid --width 4 --epochs 2 --folds 0
"""

import torch
from torch import Tensor, nn

from massmatch.losses import Dice, SpatialMatchingLoss


class LogCosh(nn.Module):
    """The logarithm of the hyperbolic cosine of Dice (Jadon 2020): flat near a perfect match."""

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        self.dice = Dice(smooth=smooth)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The mean over images of (B, 1, H, W)."""
        return torch.log(torch.cosh(self.dice(logits, target, axes=(-2, -1)))).mean()


def squared_error(
    logits: Tensor,
    target: Tensor,
    *,
    axes: tuple[int, ...],
    valid: Tensor | None = None,
    from_logits: bool = True,
) -> Tensor:
    """A core: the mean squared error of a region, which reduces `axes` and keeps every other axis."""
    error = ((logits.sigmoid() if from_logits else logits) - target) ** 2
    if valid is None:
        return error.mean(axes)
    return (error * valid).sum(axes) / valid.sum(axes).clamp(min=1)


# The Spatial Matching loss around that core, over the image and over the cells of the masses' grid: ready-made.
cell_by_cell = SpatialMatchingLoss(core=squared_error, distance=True, nonzero=True)
