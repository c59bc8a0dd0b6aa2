"""Rival losses that count masses one by one: blob loss, CC-DiceBCE, and one that also scores predicted pieces.

Instances are those handed over, or the 8-connected components of the truth (26 in 3-D); `facts` holds their labels.
"""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ..base import Facts, ImageLoss
from ..cores.base import Dice, require_number
from ..cores.mixed import DiceBCE, Hybrid
from .region import probabilities


def components(mask: np.ndarray) -> np.ndarray:
    """Labels 1..n of the pieces of a bool array that touch by faces, edges or corners."""
    labels, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return labels.astype(np.int64)


def instance_labels(target: Tensor, instances: Tensor | None) -> Tensor:
    """(B, C, *spatial) int64 labels, on the CPU: the instances given, or the components of the truth."""
    masks = (target.detach() > 0.5).cpu().numpy()
    if instances is not None:
        return torch.from_numpy(instances.detach().cpu().numpy().astype(np.int64) * masks)
    return torch.from_numpy(np.stack([np.stack([components(channel) for channel in image]) for image in masks]))


def territories(labels: np.ndarray) -> np.ndarray:
    """Which instance each pixel is nearest to (its Voronoi region); 0 without instances."""
    if not labels.any():
        return np.zeros_like(labels)
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return labels[tuple(nearest)]


class InstanceWise(ImageLoss):
    """A loss with a map of labels of the truth, which `facts` holds under `name`."""

    name = "labels"

    def facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """The map of each image, (C, *spatial) int64."""
        return [{self.name: each} for each in self.measured(target, instances)]

    def measured(self, target: Tensor, instances: Tensor | None) -> Tensor:
        """(B, C, *spatial) int64."""
        return instance_labels(target, instances)

    def map(self, target: Tensor, instances: Tensor | None, facts: Sequence[Facts] | None) -> Tensor:
        """(B, C, *spatial) from the facts, or measured now. ValueError for facts of another loss or size."""
        if facts is None:
            return self.measured(target, instances).to(target.device)
        if any(self.name not in fact or fact[self.name].shape != target.shape[1:] for fact in facts):
            raise ValueError(
                f"facts must hold {self.name!r} of {tuple(target.shape[1:])} of each image: use this loss's facts"
            )
        return torch.stack([fact[self.name] for fact in facts]).to(target.device)

    def core(self, logits: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
        """Dice + BCE over all axes of one channel of one image."""
        axes = tuple(range(-logits.ndim, 0))
        return DiceBCE()(logits, target, axes=axes, valid=valid, from_logits=self.from_logits)

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C): `one` for each channel of each image."""
        labels = self.map(target, instances, facts)
        rows = [
            torch.stack([self.one(x, y, m, v) for x, y, m, v in zip(*channels, strict=True)])
            for channels in zip(logits, target, labels, expanded(valid, logits), strict=True)
        ]
        return torch.stack(rows)

    @abstractmethod
    def one(self, logits: Tensor, target: Tensor, labels: Tensor, valid: Tensor | None) -> Tensor:
        """The loss of one channel of one image, all of (*spatial)."""


def expanded(valid: Tensor | None, like: Tensor) -> Sequence[Sequence[Tensor | None]]:
    """(B, C, *spatial) of what counts, or that many times None."""
    return [[None] * like.shape[1]] * like.shape[0] if valid is None else [list(v) for v in valid.expand_as(like)]


class BlobLoss(InstanceWise):
    """whole L(p, y) + each mean_k L(p, y_k) where the pixels of the other masses do not count (Kofler et al. 2022).

    L is Dice + BCE; weights 2 and 1 as in the authors' configurations. Pixels of other masses are left out of every
    sum; the authors' code multiplies the logits by 0 there, so that they count as p = 0.5. With one mass or none it
    is a multiple of L: (whole + each) L, or whole L.
    """

    def __init__(
        self, *, whole: float | int = 2.0, each: float | int = 1.0, reduction: str = "mean", from_logits: bool = True
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        for name, value in (("whole", whole), ("each", each)):
            require_number(name, value)
        self.whole, self.each = whole, each

    def one(self, logits: Tensor, target: Tensor, labels: Tensor, valid: Tensor | None) -> Tensor:
        """See the class."""
        total = self.whole * self.core(logits, target, valid)
        found = labels.unique()
        found = found[found > 0]
        own = [((labels == n) | (labels == 0)).to(logits) for n in found]
        if own:
            blobs = [self.core(logits, target, near if valid is None else near * valid) for near in own]
            total = total + self.each * torch.stack(blobs).mean()
        return total


class CCDiceBCE(InstanceWise):
    """Mean over the masses of Dice + BCE within each one's Voronoi region (CC-DiceCE, Bouteille et al. 2025).

    Every mass weighs the same, whatever its size, and answers for the false positives nearest to it. With one mass or
    none it is Dice + BCE of the image. The weights of the two terms could not be read: 1 and 1 are ours.
    """

    name = "territories"

    def measured(self, target: Tensor, instances: Tensor | None) -> Tensor:
        """(B, C, *spatial) int64: the nearest mass of each pixel."""
        labels = instance_labels(target, instances).numpy()
        return torch.from_numpy(np.stack([np.stack([territories(channel) for channel in image]) for image in labels]))

    def one(self, logits: Tensor, target: Tensor, labels: Tensor, valid: Tensor | None) -> Tensor:
        """See the class."""
        own = [(labels == n).to(logits) for n in labels.unique()]
        return torch.stack([self.core(logits, target, v if valid is None else v * valid) for v in own]).mean()


class InstanceLoss(InstanceWise):
    """L(p, y) + found mean_k Dice_k + false F: true masses one by one, and predicted pieces that hit none.

        Dice_k   Dice of mass k and the predicted pieces (p > 0.5) that touch it, smooth 1
        F        mean over the predicted pieces of the mean p of a piece, counting only those that touch no mass

    A reconstruction after the instance losses of Rachmadi et al. 2023 and 2024. Known: an instance-wise term over true
    and predicted components beside a pixel-wise one, and a rate of false instances. Ours: the equations above, L = half
    BCE and half Dice, and weights of 1. Labels carry no gradient; p within the pieces does, so that false pieces
    shrink and missed masses grow.
    """

    def __init__(
        self, *, found: float | int = 1.0, false: float | int = 1.0, reduction: str = "mean", from_logits: bool = True
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        for name, value in (("found", found), ("false", false)):
            require_number(name, value)
        self.found, self.false = found, false

    def one(self, logits: Tensor, target: Tensor, labels: Tensor, valid: Tensor | None) -> Tensor:
        """See the class."""
        axes = tuple(range(-logits.ndim, 0))
        total = Hybrid()(logits, target, axes=axes, valid=valid, from_logits=self.from_logits)
        p = probabilities(logits, self.from_logits)
        p = p if valid is None else p * valid
        pieces = torch.from_numpy(components((p.detach() > 0.5).cpu().numpy())).to(labels.device)
        masses = [n for n in labels.unique().tolist() if n > 0]
        if masses:
            total = total + self.found * torch.stack([self.hit(p, labels == n, labels, pieces) for n in masses]).mean()
        count = int(pieces.max())
        if count:
            zeros = p.new_zeros(count + 1)
            size = zeros.index_add(0, pieces.flatten(), torch.ones_like(p).flatten())
            mean = zeros.index_add(0, pieces.flatten(), p.flatten()) / size.clamp(min=1)
            false = torch.ones_like(mean)
            false[pieces[labels > 0].unique()] = 0  # pieces that touch a mass
            false[0] = 0  # what is no piece
            total = total + self.false * (mean * false).sum() / count
        return total

    def hit(self, p: Tensor, mass: Tensor, labels: Tensor, pieces: Tensor) -> Tensor:
        """Dice of one mass and what touches it; pixels of other masses do not count against it."""
        touching = pieces[mass].unique()
        region = mass | (torch.isin(pieces, touching[touching > 0]) & (labels == 0))
        axes = tuple(range(-p.ndim, 0))
        return Dice()(p, mass.to(p), axes=axes, valid=region.to(p), from_logits=False)
