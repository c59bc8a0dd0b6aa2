"""From a cohort's files to batches on the device."""

import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from massmatch.data import Cohort
from massmatch.data.augmentation import LEVELS, Level, draw_of
from massmatch.errors import DataError
from massmatch.losses import ImageLoss
from massmatch.training.distributed.share import ALONE, Share

SHARED = Path("/dev/shm")  # where Linux keeps what processes hand to each other


class Batch(NamedTuple):
    """Normalised images and masks of (B, 1, H, W), the loss's facts of the masks, and ids."""

    images: Tensor
    target: Tensor
    facts: list[dict[str, Tensor]]
    ids: list[str]
    weight: float = 1.0  # of its mean loss, where several processes share a batch; 0: a stand-in


Item = tuple[Tensor, Tensor, dict[str, Tensor], str]


def normalised(image: np.ndarray, how: str = "min-max") -> Tensor:
    """(1, H, W) float32 by the image's own grey levels ("normalised", section 4.1).

    "min-max": from 0 to 1. "z-score": mean 0 and deviation 1 over the whole image. An even image becomes 0.
    """
    pixels = torch.from_numpy(image.astype(np.float32))[None]
    if how == "z-score":
        return (pixels - pixels.mean()) / pixels.std(correction=0).clamp(min=1e-6)
    low, high = pixels.aminmax()
    return (pixels - low) / (high - low).clamp(min=least_range(high))


def least_range(high: Tensor) -> Tensor:
    """What counts as the range of an even image whose highest grey is `high`: less than 1 for greys of 8 and 16 bits.

    It is far above the rounding of an even image that was resized, and far below the range of any other.
    """
    return (1e-5 * high.abs()).clamp(min=1e-12)


class Samples(Dataset[Item]):
    """Some images of a cohort, kept in memory as they are on disk (8 or 16 bit).

    Without end: number `len(samples) * epoch + n` is image n as augmentation shows it in that epoch.

    Raises UsageError if they differ in size, since they are to share batches. Even images are warned of by name.
    """

    def __init__(
        self, cohort: Cohort, ids: Sequence[str], loss: ImageLoss, augment: Level = "none", seed: int = 0
    ) -> None:
        self.samples = [cohort.load(id) for id in ids]
        self.loss, self.normalise = loss, cohort.normalise
        self.augment, self.seed = augment, seed
        sizes = {sample.image.shape: sample.id for sample in self.samples}
        if len(sizes) > 1:
            raise DataError(f"images must have one size to share a batch, but have {sizes}: prepare them with one")
        if even := [sample.id for sample in self.samples if sample.image.min() == sample.image.max()]:
            warnings.warn(f"images of a single grey level, which a network sees as 0: {', '.join(even)}", stacklevel=2)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        epoch, number = divmod(index, len(self.samples))
        sample = self.samples[number]
        image = normalised(sample.image, self.normalise)
        instances = torch.from_numpy(sample.instances.astype(np.int64))[None]
        if self.augment != "none":
            image, instances = LEVELS[self.augment](image, instances, draw_of(self.seed, epoch, number))
        target = instances > 0
        density = None if sample.density is None else [sample.density]
        try:
            (facts,) = self.loss.facts(target[None], instances=instances[None], density=density)
        except ValueError as error:
            raise DataError(f"{sample.id}: {error}") from None
        return image, target, facts, sample.id


def collate(items: Sequence[Item]) -> Batch:
    """Samples to a batch; facts stay a list, since every image has its own grid."""
    images, targets, facts, ids = zip(*items, strict=True)
    return Batch(torch.stack(images), torch.stack(targets), list(facts), list(ids))


class Order(Sampler[list[int]]):
    """Which images make up which batch: it follows from seed and epoch alone, so that a resumed run repeats it.

    They are numbered as `Samples` numbers them, on from epoch to epoch; in `whole` within the epoch.

    A last batch of one image is left out: batch normalisation of a small network is unsteady on it. Where several
    processes train together, each has its share of every batch; one without a share gets an image that weighs nothing.
    """

    def __init__(self, images: int, batch_size: int, seed: int, share: Share = ALONE) -> None:
        self.images, self.batch_size, self.seed, self.share, self.epoch = images, batch_size, seed, share, 0

    def whole(self) -> list[list[int]]:
        """The batches of this epoch, as all processes together see them."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        torch.empty((), dtype=torch.int64).random_(generator=generator)  # PyTorch's loader drew one: old runs go on
        order = torch.randperm(self.images, generator=generator).tolist()
        sizes, start = batch_sizes(self.images, self.batch_size), 0
        batches = []
        for size in sizes:
            batches.append(order[start : start + size])
            start += size
        return batches

    def __len__(self) -> int:
        return sum(1 for _ in batch_sizes(self.images, self.batch_size))

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.whole():
            yield [self.images * self.epoch + place for place in self.share.part(batch) or batch[:1]]

    def weights(self) -> list[float]:
        """What the mean loss of this process's part counts, so that the mean over processes is that of the batch."""
        sizes = batch_sizes(self.images, self.batch_size)
        return [self.share.of * len(self.share.part(range(size))) / size for size in sizes]


class Loader:
    """The batches of each epoch. With `workers`, so many processes make them, which live until the end of the
    training.
    """

    def __init__(self, samples: Samples, batch_size: int, seed: int, *, share: Share = ALONE, workers: int = 0) -> None:
        self.order = Order(len(samples), batch_size, seed, share)
        self.loader = DataLoader(
            samples,
            batch_sampler=self.order,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # the loader's own draws leave those of the network alone
        )

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch, from 0."""
        self.order.epoch = number
        for batch, weight in zip(self.loader, self.order.weights(), strict=True):
            yield batch._replace(weight=weight)

    @property
    def lost(self) -> bool:
        """Whether a worker has died. It closes what it shares a moment before that: so wait for that long."""
        try:
            return bool(wait([worker.sentinel for worker in getattr(self._iterator, "_workers", ())], timeout=1))
        except RuntimeError:  # PyTorch raises it from a signal handler, wherever Python is
            return True

    def close(self) -> None:
        """End the workers: otherwise the death of one is raised wherever Python happens to be, even after the run.

        A death that PyTorch raises while it ends them is left out: it ends them all the same, and whoever still waited
        for a batch has been told already.
        """
        if hasattr(self._iterator, "_shutdown_workers"):
            with suppress(RuntimeError):
                self._iterator._shutdown_workers()

    @property
    def _iterator(self) -> Any:
        return getattr(self.loader, "_iterator", None)


def workers_that_fit(samples: Samples, batch_size: int, workers: int) -> int:
    """So many workers, or fewer where /dev/shm has no room for their batches, with a warning: Docker gives it 64 MB.

    Other kinds of sharing between processes use it as well. Each worker holds two batches ahead and the one in use.
    """
    if workers == 0 or not SHARED.is_dir():
        return workers
    image, target, facts, _ = samples[0]
    each = 3 * batch_size * sum(t.numel() * t.element_size() for t in (image, target, *facts.values()))
    free = shutil.disk_usage(SHARED).free
    if (fitting := free // each) < workers:
        warnings.warn(
            f"{SHARED} has {free / 1e6:.1f} MB, {workers} workers need {workers * each / 1e6:.1f}: going on with "
            f"{fitting}; docker run --shm-size gives more",
            stacklevel=2,
        )
    return min(workers, fitting)


def batch_sizes(images: int, batch_size: int) -> Iterator[int]:
    """Sizes of the batches of one epoch."""
    for start in range(0, images, batch_size):
        size = min(batch_size, images - start)
        if size > 1 or batch_size == 1 or images == 1:
            yield size
