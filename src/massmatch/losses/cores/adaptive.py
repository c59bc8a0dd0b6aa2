"""The Tversky loss whose weights follow from the errors of its own region, as a core for any grid.

Chen et al., "Adaptive Region-Specific Loss for Improved Medical Image Segmentation", IEEE TPAMI 2023: the kind of error
that prevails in a region costs more there,

    1 - (TP + s) / (TP + a FP + b FN + s),   a = low + (high - low) FP / (FP + FN),   b the same with FN above the bar

`rivals/adaptive_region.py` has their loss, the mean of this one over a fixed grid.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..checks import require_number, require_some
from .base import SumCore
from .sums import Sums, pixel_sums, ratio


@dataclass(frozen=True)
class AdaptiveTversky(SumCore):
    """Tversky whose weights of false positives and of misses follow from their shares in the region's errors.

    Between `low` = 0.3 and `high` = 0.7, the paper's A and A + B; with these the two weights add up to 1. They carry a
    gradient, as in public code of the loss, which also smooths the shares (not here). `smooth` = 1: see `Tversky`.

        AdaptiveTversky()(logits, target, axes=(-2, -1))

    Args:
        low: weight of a kind of error that does not occur.
        high: weight of the only kind of error that occurs.
        smooth: added above and below the bar, so that a region without mass has a loss and a gradient.
    """

    low: float | int = 0.3
    high: float | int = 0.7
    smooth: float | int = 1.0

    def __post_init__(self) -> None:
        for name in ("low", "high", "smooth"):
            require_number(f"AdaptiveTversky({name})", getattr(self, name))
        require_some(self, "high")
        if self.low > self.high:
            raise ValueError(
                f"AdaptiveTversky(low) must be at most high, {self.high!r}, but is {self.low!r}: "
                "the kind of error that prevails would cost less"
            )

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """TP, the sum of p and the sum of y."""
        return pixel_sums(logits, target, axes, valid, from_logits, overlap=True)

    def from_sums(self, *sums: Tensor, pixels: Tensor | None = None) -> Tensor:
        """One minus the Tversky index T, whose weights follow the errors."""
        tp, p, y = sums
        fn, fp = (y - tp).clamp(min=0), (p - tp).clamp(min=0)  # rounding may leave less than 0, and shares outside 0..1
        share = ratio(fp, fp + fn)  # without errors it is 0 and weighs nothing
        more = self.high - self.low
        errors = (self.low + more * share) * fp + (self.low + more * (1 - share)) * fn
        return 1 - ratio(tp + self.smooth, tp + errors + self.smooth)
