"""From a cohort's files to batches on the device."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from massmatch.data import Cohort
from massmatch.losses import ImageLoss


class Batch(NamedTuple):
    """Normalised images and masks of (B, 1, H, W), the loss's facts of the masks, and ids."""

    images: Tensor
    target: Tensor
    facts: list[dict[str, Tensor]]
    ids: list[str]


def normalised(image: np.ndarray, how: str = "min-max") -> Tensor:
    """(1, H, W) float32 by the image's own grey levels ("normalised", section 4.1).

    "min-max": from 0 to 1. "z-score": mean 0 and deviation 1 over the whole image. An even image becomes 0.
    """
    pixels = torch.from_numpy(image.astype(np.float32))[None]
    if how == "z-score":
        return (pixels - pixels.mean()) / pixels.std(correction=0).clamp(min=1e-6)
    low, high = pixels.aminmax()
    return (pixels - low) / (high - low).clamp(min=1)


class Samples(Dataset[tuple[Tensor, Tensor, dict[str, Tensor], str]]):
    """Some images of a cohort, kept in memory as they are on disk (8 or 16 bit).

    Raises ValueError if they differ in size, since they are to share batches.
    """

    def __init__(self, cohort: Cohort, ids: Sequence[str], loss: ImageLoss) -> None:
        self.samples = [cohort.load(id) for id in ids]
        self.loss, self.normalise = loss, cohort.normalise
        sizes = {sample.image.shape: sample.id for sample in self.samples}
        if len(sizes) > 1:
            raise ValueError(f"images must have one size to share a batch, but have {sizes}: prepare them with one")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, dict[str, Tensor], str]:
        sample = self.samples[index]
        target = torch.from_numpy(sample.mask)[None]
        instances = torch.from_numpy(sample.instances.astype(np.int64))[None]
        density = None if sample.density is None else [sample.density]
        try:
            (facts,) = self.loss.facts(target[None], instances=instances[None], density=density)
        except ValueError as error:
            raise ValueError(f"{sample.id}: {error}") from None
        return normalised(sample.image, self.normalise), target, facts, sample.id


def collate(items: Sequence[tuple[Tensor, Tensor, dict[str, Tensor], str]]) -> Batch:
    """Samples to a batch; facts stay a list, since every image has its own grid."""
    images, targets, facts, ids = zip(*items, strict=True)
    return Batch(torch.stack(images), torch.stack(targets), list(facts), list(ids))


def shuffled(samples: Samples, batch_size: int, seed: int, epoch: int) -> Iterator[Batch]:
    """The batches of one epoch, in an order that follows from seed and epoch alone, so that a resumed run repeats it.

    A last batch of one image is left out: batch normalisation of a small network is unsteady on it.
    """
    order = torch.Generator().manual_seed(seed * 100_003 + epoch)
    left_over = len(samples) % batch_size == 1 and len(samples) > 1
    yield from DataLoader(
        samples,
        batch_size,
        shuffle=True,
        generator=order,
        collate_fn=collate,
        drop_last=left_over and batch_size > 1,
    )


def batch_sizes(images: int, batch_size: int) -> Iterator[int]:
    """Sizes of the batches of one epoch, as `shuffled` makes them."""
    for start in range(0, images, batch_size):
        size = min(batch_size, images - start)
        if size > 1 or batch_size == 1 or images == 1:
            yield size
