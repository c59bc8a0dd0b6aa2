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
loss, and the number of channels and sides of the image; `checksum` tells one truth from another. Where they were made
with instances, `instances` tells those from others.
"""

from collections.abc import Callable, Hashable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from .call import Facts, checksum, code, labels_checksum

P = ParamSpec("P")
T = TypeVar("T")


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


def signed(facts: list[Facts], target: Tensor, options: Hashable, instances: Tensor | None) -> list[Facts]:
    """The facts of (B, C, *spatial) images, each with what tells them from others; those without any stay empty."""
    if not any(facts):
        return facts
    made_for = torch.tensor([code(options), *target.shape[1:]])
    found = [{**fact, "made_for": made_for, "checksum": of} for fact, of in zip(facts, checksum(target), strict=True)]
    if instances is None:
        return found
    return [{**fact, "instances": of} for fact, of in zip(found, labels_checksum(instances), strict=True)]
