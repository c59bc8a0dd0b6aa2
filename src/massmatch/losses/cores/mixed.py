"""The hybrid core: a weighted sum of BCE and Dice, with which the paper's baselines AU-Net and ARF-Net are trained."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..checks import require_number
from .base import BCE, Dice, SumCore
from .sums import Sums


@dataclass(frozen=True)
class Hybrid(SumCore):
    """bce_weight BCE + dice_weight Dice. The paper gives no weights: a half each, as in public code of the field.

    Args:
        bce_weight: weight of cross-entropy.
        dice_weight: weight of Dice.
        smooth: that of Dice.
    """

    bce_weight: float | int = 0.5
    dice_weight: float | int = 0.5
    smooth: float | int = 1.0

    def __post_init__(self) -> None:
        for name in ("bce_weight", "dice_weight"):
            require_number(f"Hybrid({name})", getattr(self, name))
        Dice(self.smooth)  # checks smooth

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """The sums of BCE, then those of Dice."""
        bce = BCE().sums(logits, target, axes=axes, valid=valid, from_logits=from_logits)
        return *bce, *Dice(self.smooth).sums(logits, target, axes=axes, valid=valid, from_logits=from_logits)

    def from_sums(self, *sums: Tensor) -> Tensor:
        """The weighted sum of the two losses."""
        return self.bce_weight * BCE().from_sums(*sums[:2]) + self.dice_weight * Dice(self.smooth).from_sums(*sums[2:])


@dataclass(frozen=True)
class DiceBCE(Hybrid):
    """BCE + Dice: Hybrid with weights of 1, as nnU-Net and MONAI's DiceCELoss have it ("Dice + CE")."""

    bce_weight: float | int = 1.0
    dice_weight: float | int = 1.0
