"""Facts: what a loss knows of the truth alone. The loader makes them, the training step reads them.

    class Mammograms(torch.utils.data.Dataset):
        def __init__(self, images, masks, loss):
            self.images, self.masks, self.loss = images, masks, loss

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            image, mask = augmented(self.images[index], self.masks[index])  # (1, H, W) each
            (facts,) = self.loss.facts(mask[None])  # after any augmentation, for a batch of one
            return image, mask, facts

    for images, masks, facts in torch.utils.data.DataLoader(Mammograms(...), batch_size=4):
        loss(network(images), masks, facts=facts).backward()

The facts of all images of one size have one shape, so that PyTorch's own `default_collate` puts them together. A list
with one dict per image is taken as well. Two entries are in all facts: `made_for` holds a number for the options of the
loss, and the number of channels and sides of the image; `checksum` tells one truth from another.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from .checks import article

Facts = dict[str, Tensor]
P = ParamSpec("P")
T = TypeVar("T")
SIGNED = {"made_for": (torch.int64,), "checksum": (torch.float32, torch.float64)}  # what facts() gives


def outside_graphs(function: Callable[P, T]) -> Callable[P, T]:
    """A decorator for what NumPy and SciPy do: where a graph is being compiled, it is broken here.

    `torch.compiler.disable` would import the compiler with this package, which takes longer than all of torch.
    """

    @wraps(function)
    def called(*arguments: P.args, **options: P.kwargs) -> T:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*arguments, **options)
        return function(*arguments, **options)

    return called


def signed(facts: list[Facts], target: Tensor, options: object) -> list[Facts]:
    """The facts of (B, C, *spatial) images, each with `made_for` and `checksum`; those without any stay empty."""
    if not any(facts):
        return facts
    made_for = torch.tensor([code(options), *target.shape[1:]])
    return [{**fact, "made_for": made_for, "checksum": of} for fact, of in zip(facts, checksum(target), strict=True)]


def one_by_one(facts: Sequence[Facts] | Facts, images: int) -> Sequence[Facts]:
    """One dict per image, from what `facts()` gave or from what a loader has put together, (B, ...) each.

    Raises:
        ValueError: another number of images.
        TypeError: values that are no tensors.
    """
    if isinstance(facts, dict):
        require_tensors(facts, "facts")
        found = {len(value) if value.ndim else 0 for value in facts.values()}
        if len(found) > 1 or 0 in found:
            raise ValueError(
                "facts must hold (B, ...) tensors or one dict per image, but is the dict of one image: give [facts]"
            )
        # A loss that needs no facts makes empty dicts, which a loader puts together as one.
        facts = [{name: value[i] for name, value in facts.items()} for i in range(max(found, default=images))]
    if not isinstance(facts, list | tuple):
        raise TypeError(f"facts must be a list of one dict per image, as facts() gives it, but is {article(facts)}")
    if len(facts) != images:
        raise ValueError(f"facts must hold one dict per image, {images} here, but holds {len(facts)}")
    for i, fact in enumerate(facts):
        require_tensors(fact, f"facts[{i}]")
    return facts


def require_tensors(facts: Facts, name: str) -> None:
    """Raise TypeError for anything but a dict of tensors."""
    if not isinstance(facts, dict):
        raise TypeError(f"{name} must be a dict of tensors, as facts() gives it, but is {article(facts)}")
    for key, value in facts.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name}[{key!r}] must be a torch.Tensor, but is a {type(value).__name__}: hand over what facts() "
                "gave, or turn it back with torch.as_tensor"
            )


def check_made_for(facts: Sequence[Facts], target: Tensor, options: object) -> None:
    """Raise ValueError for facts of a loss with other options, or of images of another size; never asks a GPU."""
    made_by_this = code(options)
    for i, fact in enumerate(facts):
        if lacking := [name for name in SIGNED if name not in fact]:
            raise ValueError(f"facts[{i}] lacks {' and '.join(lacking)}: make it with the facts() of this loss")
        for name, types in SIGNED.items():
            if fact[name].dtype not in types:
                raise ValueError(
                    f"facts[{i}] was turned into other numbers ({name!r} into {fact[name].dtype}): hand facts over as "
                    "facts() gave them; only their device may change"
                )
        if fact["made_for"].device.type != "cpu":
            continue
        made_by, *of = fact["made_for"].tolist()
        if made_by != made_by_this:
            raise ValueError(f"facts[{i}] was made by a loss with other options: make it with the facts() of this loss")
        if of != list(target.shape[1:]):
            raise ValueError(f"facts[{i}] is of an image {tuple(of)}, but target's are {tuple(target.shape[1:])}")


def of_other_images(facts: Sequence[Facts], target: Tensor) -> list[int]:
    """The numbers of the images whose truth is not the one that the facts were made of."""
    made_of: list[Any] = [fact["checksum"].tolist() for fact in facts]
    pairs = zip(made_of, checksum(target).tolist(), strict=True)
    # sums of float32 depend on their order, and NaN is like nothing
    return [i for i, (then, now) in enumerate(pairs) if not math.isclose(then, now, rel_tol=1e-5, abs_tol=1e-3)]


def checksum(target: Tensor) -> Tensor:
    """(B,): the sum over the pixels of (B, C, *spatial), each with a weight of its own."""
    pixels = target.detach().flatten(1).to(torch.float64 if target.dtype == torch.float64 else torch.float32)
    return pixels @ weights(pixels.shape[1], pixels.dtype).to(pixels.device)


@lru_cache(maxsize=4)
def weights(count: int, dtype: torch.dtype) -> Tensor:
    """(count,): numbers from 0.5 to 1.5 in an order that no shift or flip repeats (multiples of the golden ratio)."""
    return (torch.arange(count, dtype=torch.float64) * 0.6180339887498949 % 1 + 0.5).to(dtype)


def code(options: object) -> int:
    """A number for all options of a loss on which its facts depend."""
    return zlib.crc32(repr(options).encode())
