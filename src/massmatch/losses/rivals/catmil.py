"""CATMIL: a loss in which every mass weighs about the same, and in which each should be found somewhere."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..call import Facts
from ..checks import require_epoch, require_number
from ..cores.base import DiceBCE
from .instance import InstanceWise, Labels, mean_over

SMOOTH = 1e-5  # delta of the paper
LEAST = 1e-6  # epsilon of the paper: below it a probability counts as missed


class CATMIL(InstanceWise):
    """Dice + BCE, plus a Tversky loss balanced over the masses, plus a term for each mass that is not found.

        L = Dice + BCE + a(t) balance CAT + detection MIL,    a(t) = min(t / warm_up, 1) in epoch t
        CAT = 1 - (TP + s) / (TP + 0.3 FP + 0.7 FN + s)
        MIL = -mean_k log max(p over mass k)

    where in CAT a pixel of mass k weighs 1 / (n_k + offset), n_k its number of pixels, and any other `background`. Both
    terms are 0 without mass (Luu et al. 2026, arXiv 2604.08015; all constants are theirs). Ours: each image by
    itself, where they take the masses of a batch together; masses that touch by corners are one. Until `set_epoch` is
    called the weight of CAT is the full one.

    Args:
        balance: weight of CAT after the warm-up.
        detection: weight of MIL.
        warm_up: epochs over which CAT comes in; 0: at once.
        offset: pixels added to the size of each mass, so that a speck does not weigh too much.
        background: weight of a pixel outside of the masses.

    Example:
        CATMIL(warm_up=0)(logits, target)
    """

    def __init__(
        self,
        *,
        balance: float | int = 0.1,
        detection: float | int = 0.2,
        warm_up: float | int = 50,
        offset: float | int = 5,
        background: float | int = 0.01,
        reduction: str = "mean",
        from_logits: bool = True,
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        given = {"balance": balance, "detection": detection, "warm_up": warm_up, "offset": offset}
        for name, value in {**given, "background": background}.items():
            require_number(name, value)
        self.balance, self.detection, self.warm_up = balance, detection, warm_up
        self.offset, self.background, self.grown = offset, background, 1.0

    def set_epoch(self, epoch: int, of: int) -> None:
        """The share of CAT's weight in this epoch, from 0."""
        require_epoch(epoch, of)
        self.grown = min(epoch / self.warm_up, 1.0) if self.warm_up else 1.0

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """The loss of each image and channel, (B, C)."""
        labels = self.labels(target, instances, facts)
        pixels, *sums = self.dice_bce_sums(logits, target, labels, valid)
        whole = DiceBCE().from_sums(*(each.sum(1) for each in sums), pixels=pixels.sum(1))
        _, overlap, p, y = sums
        balanced = self.balanced(overlap[:, 1:], y[:, 1:], p[:, 0])
        missed = mean_over(self.missed(logits, labels, valid, there=y[:, 1:] > 0), y[:, 1:] > 0)
        return (whole + self.grown * self.balance * balanced + self.detection * missed).view(logits.shape[:2])

    def balanced(self, found: Tensor, size: Tensor, stray: Tensor) -> Tensor:
        """(N,), CAT: from the sums of p and of y over each mass, (N, masses), and of p outside of them, (N,)."""
        weight = 1 / (size + self.offset).clamp(min=1)
        tp, fn, fp = (weight * found).sum(1), (weight * (size - found)).sum(1), self.background * stray
        return (1 - (tp + SMOOTH) / (tp + 0.3 * fp + 0.7 * fn + SMOOTH)) * (size > 0).any(1)

    def missed(self, logits: Tensor, labels: Labels, valid: Tensor | None, there: Tensor) -> Tensor:
        """(N, masses): minus the logarithm of the largest p of each mass that is there."""
        shown = logits if valid is None else logits.masked_fill(valid == 0, -torch.inf)
        rows = shown.new_full((labels.index.shape[0] * labels.index.shape[1] * labels.count,), -torch.inf)
        of_masses = labels.index.flatten()[labels.others].long()
        rows = rows.scatter_reduce(0, of_masses, shown.flatten()[labels.others], "amax")
        most = rows.view(*labels.index.shape[:2], labels.count).amax(1)[:, 1:].masked_fill(~there, 0.5)
        if self.from_logits:
            return F.softplus(-most).clamp(max=-math.log(LEAST))
        return -most.clamp(min=LEAST).log()
