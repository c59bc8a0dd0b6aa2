"""Rival losses that count masses one by one: blob loss, CC-DiceBCE, and one that also scores predicted pieces.

Instances are those handed over, or the 8-connected components of the truth (26 in 3-D); `facts` holds their labels.
The pixels of a batch are added up label by label: nothing loops over masses or images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy  # loads its parts when they are used
import torch
from torch import Tensor

from ..arrays import array
from ..base import ImageLoss
from ..call import Facts
from ..checks import require_labelled, require_number, require_some
from ..cores.base import Dice, DiceBCE, Hybrid
from ..facts import outside_graphs
from .region import pixel_entropy, probabilities


def components(mask: np.ndarray) -> np.ndarray:
    """Labels 1..n of the pieces of a bool array that touch by faces, edges or corners."""
    labels, _ = scipy.ndimage.label(mask, np.ones((3,) * mask.ndim))
    return labels.astype(np.int64)


def instance_labels(target: Tensor, instances: Tensor | None) -> Tensor:
    """(B, C, *spatial) int64 labels, on the CPU: the instances given, or the components of the truth.

    ValueError for true mass without an instance.
    """
    masks = array(target > 0.5)
    if instances is not None:
        labels = array(instances).astype(np.int64)
        require_labelled(masks, labels)
        return torch.from_numpy(labels * masks)
    return torch.from_numpy(np.stack([np.stack([components(channel) for channel in image]) for image in masks]))


def territories(labels: np.ndarray) -> np.ndarray:
    """Which instance each pixel is nearest to (its Voronoi region); 0 without instances."""
    if not labels.any():
        return np.zeros_like(labels)
    nearest = scipy.ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return labels[tuple(nearest)]


def numbered(labels: np.ndarray) -> np.ndarray:
    """Labels of the masses of one image as 1 to n, in the same order; looks at the pixels of the masses alone."""
    inside = labels != 0
    labels = labels.copy()
    labels[inside] = np.unique(labels[inside], return_inverse=True)[1].reshape(-1) + 1
    return labels


@dataclass(frozen=True)
class Labels:
    """Which label each pixel of a batch has, for N = B C images of one channel.

    One label is common, such as that of the background. Its pixels, which are nearly all, are not visited one by one:
    its sums are what the others leave of those of the image.
    """

    index: Tensor  # (N, rows, pixels of a row) int32: the label, plus the number of the row times `count`
    count: int  # of labels, with 0: the largest of the batch
    common: int  # the label of most pixels
    others: Tensor | slice  # (pixels,) which pixels of the batch have another one, numbered through; or all of them
    pixels: Tensor  # (N, count): how many pixels of the image have each label

    @classmethod
    def of(cls, labels: Tensor, count: int, dtype: torch.dtype, common: int = 0) -> "Labels":
        """The index of (N, *spatial) labels below `count`."""
        others: Tensor | slice = slice(None)
        if torch.compiler.is_compiling():  # no shape of a graph follows from values: all are visited
            common = -1
        else:
            others = (labels.flatten() != common).nonzero().squeeze(1)
        found = cls(indexed(labels, count), count, common, others, torch.empty(0))
        (pixels,) = found.sums(torch.ones((), dtype=dtype, device=labels.device).expand(labels.shape))
        return replace(found, pixels=pixels)

    def sums(self, *pixels: Tensor) -> tuple[Tensor, ...]:
        """(N, count) for each (B, C, *spatial): the sum over the pixels of each label.

        Row by row, and then over the rows: one sum over all pixels of an image would round more.
        """
        images, rows = self.index.shape[:2]
        places = self.index.flatten()[self.others]
        is_common = torch.arange(self.count, device=places.device) == self.common
        found = []
        for each in pixels:
            lines = each.new_zeros(images * rows * self.count).index_add(0, places, each.flatten()[self.others])
            sums = lines.view(images, rows, self.count).sum(1)
            left = each.reshape(images, -1).sum(1) - sums.sum(1)
            found.append(torch.where(is_common, left[:, None], sums))
        return tuple(found)


def indexed(labels: Tensor, count: int) -> Tensor:
    """(N, rows, pixels of a row) int32 from (N, *spatial) labels: where each row adds up the pixels of each label."""
    lines = labels.flatten(2) if labels.ndim > 2 else labels[..., None]
    start = torch.arange(lines.shape[0] * lines.shape[1], dtype=torch.int32, device=labels.device) * count
    return lines.to(torch.int32) + start.view(*lines.shape[:2], 1)


class InstanceWise(ImageLoss):
    """A loss with a map of labels of the truth, which `facts` holds under `name`."""

    reads_instances = True
    name = "labels"
    common = 0  # the label of most pixels

    def make_facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """The map of each image, (C, *spatial) int32, and "count", (C,): the largest label of each channel."""
        labels = self.measured(target, instances)
        return [{self.name: each.to(torch.int32), "count": each.flatten(1).amax(1)} for each in labels]

    def measured(self, target: Tensor, instances: Tensor | None) -> Tensor:
        """(B, C, *spatial) int64: labels 1 to n of each image and channel, on the CPU."""
        labels = array(instance_labels(target, instances))
        return torch.from_numpy(np.stack([np.stack([numbered(channel) for channel in image]) for image in labels]))

    def labels(self, target: Tensor, instances: Tensor | None, facts: Sequence[Facts] | None) -> Labels:
        """The labels of a batch, from the facts, or measured now. ValueError for facts of another loss or size."""
        facts = self.make_facts(target, instances=instances) if facts is None else facts
        if any(self.name not in fact or fact[self.name].shape != target.shape[1:] for fact in facts):
            raise ValueError(
                f"facts must hold {self.name!r} of {tuple(target.shape[1:])} of each image: use this loss's facts"
            )
        count = int(torch.stack([fact["count"] for fact in facts]).max()) + 1
        labels = torch.cat([fact[self.name] for fact in facts]).to(target.device)
        return Labels.of(labels, count, target.dtype, self.common)

    def dice_bce_sums(self, logits: Tensor, target: Tensor, labels: Labels, valid: Tensor | None) -> tuple[Tensor, ...]:
        """(N, labels) each: the number of pixels of each label, and the sums that Dice + BCE follow from."""
        entropy, p, y = pixel_entropy(logits, target, self.from_logits), probabilities(logits, self.from_logits), target
        if valid is None:
            return labels.pixels, *labels.sums(entropy, p * y, p, y)
        return labels.sums(valid.expand_as(p), entropy * valid, p * y * valid, p * valid, y * valid)


def mean_over(values: Tensor, there: Tensor) -> Tensor:
    """(N,): the mean of (N, n) over those that are there; 0 where none is."""
    return (values * there).sum(1) / there.sum(1).clamp(min=1)


class BlobLoss(InstanceWise):
    """whole L(p, y) + each mean_k L(p, y_k) where the pixels of the other masses do not count (Kofler et al. 2022).

    L is Dice + BCE; weights 2 and 1 as in the authors' configurations. Pixels of other masses are left out of every
    sum; the authors' code multiplies the logits by 0 there, so that they count as p = 0.5. With one mass or none it
    is a multiple of L: (whole + each) L, or whole L.

    Args:
        whole: weight of the image as a whole.
        each: weight of the mean over the masses.
    """

    def __init__(
        self, *, whole: float | int = 2.0, each: float | int = 1.0, reduction: str = "mean", from_logits: bool = True
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        for name, value in (("whole", whole), ("each", each)):
            require_number(name, value)
        self.whole, self.each = whole, each
        require_some(self, "whole", "each")

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C): the sums of the image are those of all labels, those of a mass and what is no mass of two labels."""
        labels = self.labels(target, instances, facts)
        pixels, *sums = self.dice_bce_sums(logits, target, labels, valid)
        whole = DiceBCE().from_sums(*(each.sum(1) for each in sums), pixels=pixels.sum(1))
        blobs = DiceBCE().from_sums(*(each[:, 1:] + each[:, :1] for each in sums), pixels=pixels[:, 1:] + pixels[:, :1])
        loss = self.whole * whole + self.each * mean_over(blobs, labels.pixels[:, 1:] > 0)
        return loss.view(logits.shape[:2])


class CCDiceBCE(InstanceWise):
    """Mean over the masses of Dice + BCE within each one's Voronoi region (CC-DiceCE, Bouteille et al. 2025).

    Every mass weighs the same, whatever its size, and answers for the false positives nearest to it. With one mass or
    none it is Dice + BCE of the image. The weights of the two terms could not be read: 1 and 1 are ours.
    """

    name, common = "territories", 1

    def measured(self, target: Tensor, instances: Tensor | None) -> Tensor:
        """(B, C, *spatial) int64: the nearest mass of each pixel, from 1; 0 without masses."""
        labels = array(super().measured(target, instances))
        return torch.from_numpy(np.stack([np.stack([territories(channel) for channel in image]) for image in labels]))

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
        regions = DiceBCE().from_sums(*sums, pixels=pixels)
        return mean_over(regions, labels.pixels > 0).view(logits.shape[:2])


class InstanceLoss(InstanceWise):
    """L(p, y) + found mean_k Dice_k + false F: true masses one by one, and predicted pieces that hit none.

        Dice_k   Dice of mass k and the predicted pieces (p > 0.5) that touch it, smooth 1
        F        mean over the predicted pieces of the mean p of a piece, counting only those that touch no mass

    A reconstruction after the instance losses of Rachmadi et al. 2023 and 2024. Known: an instance-wise term over true
    and predicted components beside a pixel-wise one, and a rate of false instances. Ours: the equations above, L = half
    BCE and half Dice, and weights of 1. Labels carry no gradient; p within the pieces does, so that false pieces
    shrink and missed masses grow.

    Args:
        found: weight of the mean over the true masses.
        false: weight of the predicted pieces that hit none.
    """

    def __init__(
        self, *, found: float | int = 1.0, false: float | int = 1.0, reduction: str = "mean", from_logits: bool = True
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        for name, value in (("found", found), ("false", false)):
            require_number(name, value)
        self.found, self.false = found, false

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C). The pieces of the prediction are labelled on the CPU, in every step."""
        axes = tuple(range(2 - logits.ndim, 0))
        whole = Hybrid()(logits, target, axes=axes, valid=valid, from_logits=self.from_logits)
        labels = self.labels(target, instances, facts)
        p = probabilities(logits, self.from_logits)
        p = p if valid is None else p * valid
        pieces = pieces_of(p)
        touch = touching(labels, pieces)
        terms = self.found * self.masses(p, labels, pieces, touch) + self.false * self.false_pieces(p, pieces, touch)
        return whole + terms.view(logits.shape[:2])

    def masses(self, p: Tensor, labels: Labels, pieces: Labels, touch: Tensor) -> Tensor:
        """(N,): mean over the true masses of the Dice of each and what touches it, without pixels of other masses."""
        outside = p * (own_labels(labels) == 0).view_as(p)
        (of_mass,), (of_piece,) = labels.sums(p), pieces.sums(outside)
        near = (touch * of_piece[..., None])[:, 1:].sum(1)  # what each mass's pieces hold besides it
        dice = Dice().from_sums(of_mass, of_mass + near, labels.pixels)[:, 1:]
        return mean_over(dice, labels.pixels[:, 1:] > 0)

    def false_pieces(self, p: Tensor, pieces: Labels, touch: Tensor) -> Tensor:
        """(N,): the sum over the pieces that touch no mass of their mean p, divided by the number of all pieces."""
        (total,) = pieces.sums(p)
        mean = (total / pieces.pixels.clamp(min=1))[:, 1:]
        there = pieces.pixels[:, 1:] > 0
        alone = there & ~touch[:, 1:, 1:].any(-1)
        return (mean * alone).sum(1) / there.sum(1).clamp(min=1)


@outside_graphs
def pieces_of(p: Tensor) -> Labels:
    """The predicted pieces of each image, the components of p > 0.5, labelled on the CPU."""
    masks = array(p.flatten(0, 1) > 0.5)
    found = torch.from_numpy(np.stack([components(mask) for mask in masks]))
    return Labels.of(found.to(p.device), int(found.max()) + 1, p.dtype)


def own_labels(labels: Labels) -> Tensor:
    """(N, rows, pixels of a row): the label of each pixel by itself."""
    return labels.index % labels.count


def touching(labels: Labels, pieces: Labels) -> Tensor:
    """(N, pieces, labels) bool: whether each piece has a pixel of each label."""
    both = own_labels(pieces) * labels.count + own_labels(labels)
    images = torch.arange(len(both), device=both.device)[:, None, None] * (pieces.count * labels.count)
    found = torch.bincount((both + images).flatten(), minlength=len(both) * pieces.count * labels.count)
    return found.view(len(both), pieces.count, labels.count) > 0
