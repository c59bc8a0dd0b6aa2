"""The adaptive region-specific loss.

Chen et al., "Adaptive Region-Specific Loss for Improved Medical Image Segmentation", IEEE TPAMI 2023: a Tversky loss in
each region of a fixed regular grid, where the kind of error that prevails in a region costs more there
(`cores/adaptive.py`).

It is the closest relative of the Spatial Matching loss: a grid too, but one that follows from the image's size and not
from its masses, and weights that follow from each region's own errors and not from its distance to a mass.
"""

from collections.abc import Sequence

from torch import Tensor

from ..base import ImageLoss
from ..call import Facts
from ..checks import require_whole
from ..cores.adaptive import AdaptiveTversky
from ..cores.sums import region_sum
from ..grid.geometry import cell_axes, cut
from ..grid.loss import valid_pixels


class AdaptiveRegionLoss(ImageLoss):
    """The mean of `AdaptiveTversky` over a fixed grid of `regions` regions along each axis.

    Regions are equal, of ceil(side / regions) pixels; where that does not divide a side, the last ones are cut off or
    missing. `regions` = 16, `low` and `high` and `smooth` = 1e-5, which is added to means over the region and not to
    sums, are those of public code of others (PyMIC; WltyBY/Adaptive-Region-Specific-Loss): the paper's own method
    section could not be read. Ours: every image by itself, the mass alone without the background as a second class, and
    the mean over the regions, where one of these codes takes the sum. A region without a pixel that counts is left out.
    The regions divide the whole image, the pixels behind a mask too: a part of an image that is cut out has others.

        AdaptiveRegionLoss(regions=8)(logits, target)  # (B, C, H, W) each; also 1-D and 3-D

    Args:
        regions: how many regions there are along each axis.
        low: weight of a kind of error that does not occur in a region.
        high: weight of the only kind of error that occurs in it.
        smooth: added above and below the bar, to means over the region.

    Raises ValueError for a number of regions below 1 and for weights that `AdaptiveTversky` refuses.
    """

    def __init__(
        self,
        *,
        regions: int = 16,
        low: float | int = 0.3,
        high: float | int = 0.7,
        smooth: float | int = 1e-5,
        reduction: str = "mean",
        from_logits: bool = True,
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        self.regions = require_whole("regions", regions, 1)
        self.core = AdaptiveTversky(low, high, smooth)
        self.low, self.high, self.smooth = low, high, smooth

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C): the mean over the regions that hold a pixel that counts."""
        x, y = logits.flatten(0, 1), target.flatten(0, 1)
        cell = tuple(-(-side // self.regions) for side in x.shape[1:])
        axes = cell_axes(len(cell))
        inside = valid_pixels(y, None if valid is None else valid.flatten(0, 1), cell)
        x, y = cut(x, cell), cut(y, cell)
        sums = self.core.sums(x, y, axes=axes, valid=inside, from_logits=self.from_logits)
        pixels = region_sum((y.new_ones(1) if inside is None else inside).expand_as(y), axes)
        losses = self.core.from_sums(*(each / pixels.clamp(min=1) for each in sums))
        seen = pixels > 0
        mean = (losses * seen).flatten(1).sum(1) / seen.flatten(1).sum(1).clamp(min=1)
        return mean.reshape(logits.shape[:2])
