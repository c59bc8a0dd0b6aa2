"""Rival core losses: cross-entropies with weights, focal losses, and mixtures with overlap.

All are core losses (`core.py`): they reduce the pixel axes of a region, so each can also stand in the cells of the
Spatial Matching loss. With p the probability, y the truth, and means over the pixels of the region:

    WeightedBCE   -mean(w y log p + (1 - y) log(1 - p))                                     Pihur et al. 2007
    BalancedBCE   -mean(b y log p + (1 - b)(1 - y) log(1 - p)), b = share without mass      HED, Xie and Tu 2015
    Focal         -mean(a_t (1 - p_t)^g log p_t)                                            Lin et al. 2017
    Combo         a BCE_b - (1 - a) Dice                                                    Taghanaki et al. 2019
    FocalTversky  (1 - T)^g                                                                 Abraham and Khan 2019
    UnifiedFocal  l F + (1 - l) FT, asymmetric                                              Yeung et al. 2022
    TopKBCE       mean of the hardest share of the pixels' cross-entropies                  Wu et al. 2016
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..checks import require_number, require_some
from .base import SumCore, axes_of
from .sums import Sums, pixel_sums, ratio, region_sum

LEAST = 1e-7  # below a root or a power smaller than 1, whose slope at 0 has no end


def logarithms(logits: Tensor, from_logits: bool) -> tuple[Tensor, Tensor]:
    """log p and log(1 - p); of given probabilities at least -100, as PyTorch has it, with gradient 0 where it is less.

    A clamp behind the logarithm would hand 0 times infinity back, which is NaN, where p is 0 or 1.
    """
    if from_logits:
        return F.logsigmoid(logits), F.logsigmoid(-logits)
    some, rest = logits > math.exp(-100), logits < 1
    log_p, log_q = torch.where(some, logits, 1.0).log(), torch.log1p(-torch.where(rest, logits, 0.0))
    return torch.where(some, log_p, -100.0), torch.where(rest, log_q, -100.0)


def entropy_sums(
    logits: Tensor, target: Tensor, axes: tuple[int, ...], valid: Tensor | None, from_logits: bool
) -> Sums:
    """Sums of -y log p and of -(1 - y) log(1 - p)."""
    log_p, log_q = logarithms(logits, from_logits)
    missed, false = -target * log_p, -(1 - target) * log_q
    if valid is not None:
        missed, false = missed * valid, false * valid
    return region_sum(missed, axes), region_sum(false, axes)


@dataclass(frozen=True)
class WeightedBCE(SumCore):
    """Cross-entropy with a weight on mass: above 1 it avoids misses, below 1 false positives.

    `mass_weight` = 10: no paper of the field states one; masses cover about 1 % of a mammogram, and the square root of
    the ratio of the classes is a usual compromise.

    Args:
        mass_weight: weight of the pixels of mass; all others weigh 1.
    """

    mass_weight: float | int = 10.0

    def __post_init__(self) -> None:
        require_number("WeightedBCE(mass_weight)", self.mass_weight)

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """The sums over pixels that the loss is made of, as `entropy_sums` gives them."""
        return entropy_sums(logits, target, axes, valid, from_logits)

    def from_sums(self, *sums: Tensor, pixels: Tensor) -> Tensor:
        """The mean cross-entropy with the mass weighted by `mass_weight`."""
        positive, negative = sums
        return (self.mass_weight * positive + negative) / pixels.clamp(min=1)


@dataclass(frozen=True)
class BalancedBCE(SumCore):
    """Cross-entropy in which both classes of a region weigh the same, whatever their sizes.

    The weight of mass is the share of the region without mass, and the other way round. In a region of one class that
    would be weight 0 on everything (the published code returns 0): there it is the plain cross-entropy.
    """

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """Those of `entropy_sums`, and the mass in pixels."""
        mass = region_sum(target if valid is None else target * valid, axes)
        return *entropy_sums(logits, target, axes, valid, from_logits), mass

    def from_sums(self, *sums: Tensor, pixels: Tensor) -> Tensor:
        """The cross-entropy with mass and rest weighted by the share of the other."""
        positive, negative, mass = sums
        count = pixels.clamp(min=1)
        of_mass = 1 - mass / count
        mixed = (mass > 0) & (mass < count)
        plain = torch.ones_like(mass)
        return (
            torch.where(mixed, of_mass, plain) * positive + torch.where(mixed, 1 - of_mass, plain) * negative
        ) / count


@dataclass(frozen=True)
class Focal(SumCore):
    """Cross-entropy that fades on pixels that are right already. gamma 2 and alpha 0.25 (on mass) are the paper's.

    Args:
        gamma: how fast the loss fades on pixels that are right; 0 is cross-entropy.
        alpha: weight of mass, and 1 - alpha of the rest; None weighs both the same.
    """

    gamma: float | int = 2.0
    alpha: float | int | None = 0.25

    def __post_init__(self) -> None:
        require_number("Focal(gamma)", self.gamma)
        if self.alpha is not None:
            require_number("Focal(alpha)", self.alpha)
            if self.alpha > 1:
                raise ValueError(f"Focal(alpha) must be at most 1, but is {self.alpha!r}")

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """The sum of the pixels' losses."""
        log_p, log_q = logarithms(logits, from_logits)
        # (1 - p)^gamma as exp(gamma log(1 - p)): its slope stays finite where p underflows
        missed, false = -target * (self.gamma * log_q).exp() * log_p, -(1 - target) * (self.gamma * log_p).exp() * log_q
        pixels = missed + false if self.alpha is None else self.alpha * missed + (1 - self.alpha) * false
        return (region_sum(pixels if valid is None else pixels * valid, axes),)

    def from_sums(self, *sums: Tensor, pixels: Tensor) -> Tensor:
        """The mean of the focal terms of all pixels."""
        (total,) = sums
        return total / pixels.clamp(min=1)


@dataclass(frozen=True)
class Combo(SumCore):
    """alpha BCE_beta - (1 - alpha) Dice, with beta on mass and 1 - beta on the rest; alpha = beta = 0.5 as published.

    The authors' code adds the term of the background with the wrong sign, so that it rewards false positives; this is
    the paper's formula. The value may be negative: the best one is -(1 - alpha).

    Args:
        alpha: weight of cross-entropy, and 1 - alpha of Dice.
        beta: weight of mass within the cross-entropy, and 1 - beta of the rest.
        smooth: that of Dice.
    """

    alpha: float | int = 0.5
    beta: float | int = 0.5
    smooth: float | int = 1.0

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "smooth"):
            require_number(f"Combo({name})", getattr(self, name))
        for name in ("alpha", "beta"):
            if getattr(self, name) > 1:
                raise ValueError(f"Combo({name}) must be at most 1, but is {getattr(self, name)!r}")

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """Those of `entropy_sums`, then those of the overlap."""
        entropies = entropy_sums(logits, target, axes, valid, from_logits)
        return *entropies, *pixel_sums(logits, target, axes, valid, from_logits, overlap=True)

    def from_sums(self, *sums: Tensor, pixels: Tensor) -> Tensor:
        """The weighted cross-entropy minus the weighted Dice coefficient."""
        positive, negative, tp, p, y = sums
        bce = (self.beta * positive + (1 - self.beta) * negative) / pixels.clamp(min=1)
        return self.alpha * bce - (1 - self.alpha) * ratio(2 * tp + self.smooth, p + y + self.smooth)


@dataclass(frozen=True)
class FocalTversky(SumCore):
    """(1 - T)^gamma: below 1 the exponent keeps the slope up when a mass is nearly right.

    gamma 3/4 (4/3 in its inverse) and 0.7 on misses are the paper's; `smooth`: see `Tversky`.

    Args:
        gamma: the exponent.
        fn_weight: weight of the missed mass.
        fp_weight: weight of the false positives.
        smooth: added above and below the bar, so that a region without mass has a loss and a gradient.
    """

    gamma: float | int = 0.75
    fn_weight: float | int = 0.7
    fp_weight: float | int = 0.3
    smooth: float | int = 1.0

    def __post_init__(self) -> None:
        for name in ("gamma", "fn_weight", "fp_weight", "smooth"):
            require_number(f"FocalTversky({name})", getattr(self, name))
        require_some(self, "gamma")
        require_some(self, "fn_weight", "fp_weight")

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
        """The power (1 - T)^gamma of the Tversky loss."""
        tp, p, y = sums
        index = ratio(tp + self.smooth, tp + self.fn_weight * (y - tp) + self.fp_weight * (p - tp) + self.smooth)
        return (1 - index).clamp(min=LEAST) ** self.gamma


@dataclass(frozen=True)
class UnifiedFocal(SumCore):
    """The asymmetric unified focal loss: weight F + (1 - weight) FT.

    F is cross-entropy with delta on mass, and 1 - delta and a focus p^gamma on the rest; FT the mean of 1 - T of the
    background and (1 - T)^(1 - gamma) of the mass, T with delta on what each class misses. 0.5, 0.6 and 0.5 are the
    authors'. MONAI's class of this name wants probabilities, against its own documentation.

    Args:
        weight: weight of the focal cross-entropy, and 1 - weight of the focal Tversky loss.
        delta: weight of mass against the rest, in both.
        gamma: how fast the background fades, and how much rare mass is stressed.
        smooth: added above and below the bar, so that a region without mass has a loss and a gradient.
    """

    weight: float | int = 0.5
    delta: float | int = 0.6
    gamma: float | int = 0.5
    smooth: float | int = 1e-6

    def __post_init__(self) -> None:
        for name in ("weight", "delta", "gamma", "smooth"):
            require_number(f"UnifiedFocal({name})", getattr(self, name))
        for name in ("weight", "delta", "gamma"):
            if getattr(self, name) > 1:
                raise ValueError(f"UnifiedFocal({name}) must be at most 1, but is {getattr(self, name)!r}")

    def sums(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...],
        valid: Tensor | None = None,
        from_logits: bool = True,
    ) -> Sums:
        """Sum of the pixels' focal terms, then TP, the sum of p and the sum of y."""
        log_p, log_q = logarithms(logits, from_logits)
        missed, false = -target * log_p, -(1 - target) * (self.gamma * log_p).exp() * log_q
        pixels = self.delta * missed + (1 - self.delta) * false
        total = region_sum(pixels if valid is None else pixels * valid, axes)
        overlap = pixel_sums(logits, target, axes, valid, from_logits, overlap=True)
        return total, *overlap

    def from_sums(self, *sums: Tensor, pixels: Tensor) -> Tensor:
        """The weighted sum of the focal and the focal Tversky term."""
        total, tp, p, y = sums
        missed, false = y - tp, p - tp
        s, delta = self.smooth, self.delta
        mass = ratio(tp + s, tp + delta * missed + (1 - delta) * false + s)
        right = pixels - tp - missed - false
        rest = ratio(right + s, right + delta * false + (1 - delta) * missed + s)
        focal_tversky = ((1 - rest) + (1 - mass).clamp(min=LEAST) ** (1 - self.gamma)) / 2
        return self.weight * total / pixels.clamp(min=1) + (1 - self.weight) * focal_tversky


@dataclass(frozen=True)
class TopKBCE:
    """Mean of the hardest pixels' cross-entropies: of the `share` with the largest, region by region.

    The 10 % are nnU-Net's, which takes them of all pixels of a batch together and rounds down; here they are of each
    region, rounded up.

    At least one pixel of each region counts. A general core: it sorts, so it is slow in a grid.

    Args:
        share: of the pixels, the hardest of which count.
    """

    share: float | int = 0.1

    def __post_init__(self) -> None:
        require_number("TopKBCE(share)", self.share)
        if not 0 < self.share <= 1:
            raise ValueError(f"TopKBCE(share) must lie above 0 and be at most 1, but is {self.share!r}")

    def __call__(
        self,
        logits: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        axes: tuple[int, ...] | None = None,
        valid: Tensor | None = None,
        from_logits: bool = True,
        **others: object,
    ) -> Float[Tensor, "..."]:
        """The loss of each region: `logits` and `target` reduced over `axes`, every other axis kept.

        TypeError as in `SumCore`.
        """
        axes = axes_of(self, axes, others)
        log_p, log_q = logarithms(logits, from_logits)
        pixels = -target * log_p - (1 - target) * log_q
        if valid is not None:
            pixels = torch.where(valid.expand_as(pixels) > 0, pixels, -1.0)  # sorted behind all that count
        pixels = pixels.movedim(axes, tuple(range(-len(axes), 0))).flatten(-len(axes))
        count = (pixels >= 0).sum(-1, keepdim=True)
        hardest = (count * self.share).ceil().clamp(min=1)
        ordered = pixels.sort(dim=-1, descending=True).values
        rank = torch.arange(pixels.shape[-1], device=pixels.device)
        taken = (rank < hardest) & (ordered >= 0)
        return (ordered * taken).sum(-1) / taken.sum(-1).clamp(min=1)
