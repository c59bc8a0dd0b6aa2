"""Rival losses that know distances: boundary, Hausdorff, generalised surface, region-wise.

Distances are Euclidean, in pixels, from pixel centre to pixel centre, and depend on the truth alone (except for
Hausdorff's), so that the loader measures them (`facts`). With p the probability and y the truth:

    BoundaryLoss         (1 - a) Dice + a mean(phi p)                                      Kervadec et al. 2019
    HausdorffDT          Dice + l mean((p - y)^2 (d_p^2 + d_y^2))                          Karimi and Salcudean 2019
    GeneralisedSurface   a DiceBCE + (1 - a)(1 - sum (D (1 - y - p))^2 / sum D^2)          Celaya et al. 2023
    RegionWise           mean(p z_mass + (1 - p) z_rest)                                   Valverde and Tohka 2023
"""

from collections.abc import Callable, Sequence

import numpy as np
import scipy  # loads its parts when they are used
import torch
from torch import Tensor

from ..arrays import array
from ..base import ImageLoss
from ..call import Facts
from ..checks import require_epoch, require_number
from ..cores.base import BCE, Dice
from .region import probabilities

Measure = Callable[..., np.ndarray]  # of a bool array, and of the pixels that count where not all of them do


def distances(mask: np.ndarray, seen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    """From each pixel to the nearest one of mass, and to the nearest one of the rest; None where there is but one kind.

    A pixel that is not `seen` is of neither kind, so that a part of an image has the distances of that part alone.
    """
    mass, rest = (mask, ~mask) if seen is None else (mask & seen, ~mask & seen)
    if not mass.any() or not rest.any():
        return None
    return scipy.ndimage.distance_transform_edt(~mass), scipy.ndimage.distance_transform_edt(~rest)


def signed_distance(mask: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """Of a bool array: to the nearest mass outside of it, minus the depth inside, 0 on its inner edge; 0 without mass.

    Kervadec's definition (one_hot2dist of the authors).
    """
    if (found := distances(mask, seen)) is None:
        return np.full(mask.shape, -1.0 if mask.any() else 0.0, np.float32)  # nothing outside to measure from
    return (found[0] - (found[1] - 1) * mask).astype(np.float32)


def edge_distance(mask: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """Of a bool array: to the nearest pixel of the other class, on both sides; 0 where there is but one class."""
    found = distances(mask, seen)
    return np.zeros(mask.shape, np.float32) if found is None else (found[0] + found[1]).astype(np.float32)


def region_map(mask: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """Of a bool array, z_mass - z_rest: the cost of calling a pixel mass, from -2 deep inside to 2 far outside.

    Each class's z is 1 outside of it and minus its depth inside, relative to the deepest (RRW, the rectified map).
    """
    if (found := distances(mask, seen)) is None:
        return np.where(mask, -2.0, 2.0).astype(np.float32)
    counts = True if seen is None else seen
    outside, inside = (depth / (depth * counts).max() for depth in found)
    return np.where(mask, -inside - 1, 1 + outside).astype(np.float32)


def measured(target: Tensor, measure: Measure, valid: Tensor | None = None) -> Tensor:
    """(B, C, *spatial) with each channel of each image measured on the CPU, in the target's type and place."""
    masks, seen = array(target > 0.5), None if valid is None else array(valid.expand_as(target) > 0.5)
    maps = [
        np.stack([measure(channel, None if seen is None else seen[b, c]) for c, channel in enumerate(image)])
        for b, image in enumerate(masks)
    ]
    return torch.from_numpy(np.stack(maps)).to(target.device)


class MeasuredLoss(ImageLoss):
    """A loss with one map of the truth, which `facts` holds under `name`."""

    name: str
    measure: "staticmethod[..., np.ndarray]"

    def make_facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """The map of each image, (C, *spatial) float32."""
        return [{self.name: each} for each in measured(target, self.measure)]

    def map(self, target: Tensor, facts: Sequence[Facts] | None, valid: Tensor | None) -> Tensor:
        """(B, C, *spatial) from the facts, which know no mask, or measured now. ValueError for facts of another loss or
        size.
        """
        if facts is None or valid is not None:
            return measured(target, self.measure, valid).to(target)
        if any(self.name not in fact or fact[self.name].shape != target.shape[1:] for fact in facts):
            raise ValueError(
                f"facts must hold {self.name!r} of {tuple(target.shape[1:])} of each image: use this loss's facts"
            )
        return torch.stack([fact[self.name] for fact in facts]).to(target)

    def mean(self, pixels: Tensor, valid: Tensor | None) -> Tensor:
        """(B, C): over the pixels that count."""
        if valid is None:
            return pixels.flatten(2).mean(-1)
        return (pixels * valid).flatten(2).sum(-1) / valid.expand_as(pixels).flatten(2).sum(-1).clamp(min=1)

    def overlap(self, core: Callable[..., Tensor], logits: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
        """(B, C): a core loss over the whole image."""
        axes = tuple(range(2 - logits.ndim, 0))
        return core(logits, target, axes=axes, valid=valid, from_logits=self.from_logits)


class BoundaryLoss(MeasuredLoss):
    """(1 - a) Dice + a mean(phi p), phi the signed distance to the boundary; without mass phi is 0.

    a starts at `start` and grows by `step` each epoch up to 0.99: 0.01 and 0.01 as the authors rebalance, since the
    boundary term alone does not train a network from its first weights.

    Args:
        start: weight of the boundary term in the first epoch.
        step: what it grows by in each epoch, up to 0.99.
        smooth: that of Dice.
    """

    name, measure = "signed_distance", staticmethod(signed_distance)

    def __init__(
        self,
        *,
        start: float | int = 0.01,
        step: float | int = 0.01,
        smooth: float | int = 1.0,
        reduction: str = "mean",
        from_logits: bool = True,
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        for label, value in (("start", start), ("step", step)):
            require_number(label, value)
        self.start, self.step, self.smooth, self.dice = start, step, smooth, Dice(smooth)
        self.alpha = min(start, 0.99)

    def set_epoch(self, epoch: int, of: int) -> None:
        """The weight of the boundary term in this epoch, from 0."""
        require_epoch(epoch, of)
        self.alpha = min(self.start + self.step * epoch, 0.99)

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
        boundary = self.mean(self.map(target, facts, valid) * probabilities(logits, self.from_logits), valid)
        return (1 - self.alpha) * self.overlap(self.dice, logits, target, valid) + self.alpha * boundary


class HausdorffDT(MeasuredLoss):
    """Dice + l mean((p - y)^2 (d_p^2 + d_y^2)), d the distance to the boundary of prediction and truth.

    l makes both terms equal in value, as the authors do; they set it once per epoch, here it follows each image. The
    distances of the prediction (p > 0.5) are measured in every step, on the CPU, and carry no gradient.

    Args:
        smooth: that of Dice.
    """

    name, measure = "edge_distance", staticmethod(edge_distance)

    def __init__(self, *, smooth: float | int = 1.0, reduction: str = "mean", from_logits: bool = True) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        self.smooth, self.dice = smooth, Dice(smooth)

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
        dice = self.overlap(self.dice, logits, target, valid)
        hausdorff = self.mean(self.terms(logits, target, facts, valid), valid)
        balance = dice.detach() / hausdorff.detach().clamp(min=1e-6)
        return dice + balance * hausdorff

    def terms(
        self, logits: Tensor, target: Tensor, facts: Sequence[Facts] | None, valid: Tensor | None = None
    ) -> Tensor:
        """(B, C, *spatial): (p - y)^2 (d_p^2 + d_y^2), in px2."""
        p = probabilities(logits, self.from_logits)
        predicted = measured(p, edge_distance, valid).to(p)
        return (p - target) ** 2 * (predicted**2 + self.map(target, facts, valid) ** 2)


class GeneralisedSurface(MeasuredLoss):
    """a (Dice + BCE) + (1 - a) S, S = 1 - sum (D (1 - y - p))^2 / sum D^2 in [0, 1], D the signed distance.

    a falls from 1 to 0 over the training, in equal steps, as published; without mass, where D is 0, it is 1.

    Args:
        smooth: that of Dice.
    """

    name, measure = "signed_distance", staticmethod(signed_distance)

    def __init__(self, *, smooth: float | int = 1.0, reduction: str = "mean", from_logits: bool = True) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        self.smooth, self.dice, self.alpha = smooth, Dice(smooth), 1.0

    def set_epoch(self, epoch: int, of: int) -> None:
        """The weight of Dice + BCE in this epoch, from 0."""
        require_epoch(epoch, of)
        self.alpha = 1 - epoch / max(of - 1, 1)

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
        squares = self.map(target, facts, valid) ** 2
        if valid is not None:
            squares = squares * valid
        p = probabilities(logits, self.from_logits)
        total = squares.flatten(2).sum(-1)
        surface = 1 - (squares * (1 - target - p) ** 2).flatten(2).sum(-1) / total.clamp(min=1e-6)
        region = sum(self.overlap(core, logits, target, valid) for core in (self.dice, BCE()))
        alpha = torch.where(total > 0, self.alpha, 1.0)
        return alpha * region + (1 - alpha) * surface


class RegionWise(MeasuredLoss):
    """mean(p z_mass + (1 - p) z_rest): each pixel's cost grows towards the middle of its own class.

    z_mass is 1 off the mass and minus the relative depth on it, z_rest the same for what is no mass (rectified
    region-wise maps). Its least value is negative.
    """

    name, measure = "region_map", staticmethod(region_map)

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C), up to a constant of the truth: the mean of p (z_mass - z_rest)."""
        return self.mean(probabilities(logits, self.from_logits) * self.map(target, facts, valid), valid)
