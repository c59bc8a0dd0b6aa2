"""What every loss of the catalogue shares beside its call: facts, schedules, and a text that makes it again."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass

import numpy as np
import torch
from torch import Tensor

from .call import CheckedLoss, Facts, check_instances, require_plain
from .checks import accepts, article, check_truth, require_tensor
from .facts import signed


class ImageLoss(CheckedLoss):
    """A loss with one value for each image and channel: `forward` checks, computes in float32 or more, and reduces.

    `reduction` and `from_logits`: see `CheckedLoss`.
    """

    def __repr__(self) -> str:
        """The call that makes this loss: every argument of its class, which an attribute of that name holds.

        What a loss has learned from a training part (`fit`) is no argument; `state_dict` has it.
        """
        return call_of(self, (name for name in inspect.signature(type(self)).parameters if hasattr(self, name)))

    def facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """What depends on the truth alone, one dict per image: made in the loader, handed to `forward`.

        Args:
            target: (B, C, *spatial), the truth after any augmentation; on the CPU, in the loader.
            instances: as in `forward`.
            density: ACR densities of the breasts, 1 to 4, one per image, for the losses that weigh by them.

        Returns:
            One dict of tensors per image; empty dicts for a loss that needs nothing. Images of one size have facts of
            one shape, which a loader can put together (docs/training.md).

        Raises:
            ValueError: a target that `forward` would refuse too, or what this loss needs and does not find.
        """
        require_tensor("target", target)
        require_plain(target, batch=True, target=target)
        check_truth(target)
        if instances is not None:
            check_instances(instances, target)
        with torch.autocast(target.device.type, enabled=False):  # as in `forward`
            made = self.make_facts(target, instances=instances, density=density)
        return signed(made, target, self.decides_facts, instances if self.reads_instances else None)

    def make_facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """The facts of checked images, for a loss that has any to overwrite."""
        del instances, density
        return [{} for _ in target]

    def fit(self, targets: Iterable[Tensor], densities: Sequence[int | None]) -> None:
        """Learn from the training part before the first step: masks of (C, *spatial) and ACR densities, one per image.

        What is learned is kept in buffers, so that a checkpoint holds it. Most losses learn nothing.
        """
        del targets, densities

    def set_epoch(self, epoch: int, of: int) -> None:
        """Told before each epoch, from 0, of how many: for losses whose weights follow a schedule."""
        del epoch, of


class WholeImageLoss(ImageLoss):
    """A core loss over the whole image (the paper's L_I alone)."""

    def __init__(self, core: Callable[..., Tensor], *, reduction: str = "mean", from_logits: bool = True) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        if isinstance(core, str):
            raise TypeError(
                f"core must be a core loss, such as Dice(), but is {core!r}; by its name: LOSSES[{core!r}]()"
            )
        self.core = checked_core(core)

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C): the core over all spatial axes."""
        del instances, facts
        axes = tuple(range(2 - logits.ndim, 0))
        return self.core(logits, target, axes=axes, valid=valid, from_logits=self.from_logits)


def call_of(thing: object, arguments: Iterable[str]) -> str:
    """The call that makes a thing, from the attributes that hold its arguments."""
    return f"{type(thing).__name__}({', '.join(f'{name}={written(getattr(thing, name))}' for name in arguments)})"


def written(value: object) -> str:
    """The text that makes a value again: `repr`, but a number of NumPy's is written as Python's own, in a core too."""
    if isinstance(value, np.generic):
        return repr(value.item())
    if is_dataclass(value) and not isinstance(value, type):
        return call_of(value, (field.name for field in fields(value)))
    return repr(value)


def checked_core(core: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The core itself. TypeError, with the way out, for what cannot be called as one."""
    if isinstance(core, type):
        raise TypeError(f"core must be a core loss, but is the class {core.__name__}: make one, {core.__name__}(...)")
    if isinstance(core, ImageLoss):
        raise TypeError(
            f"core must be a core loss, which reduces the axes it is told, but is {type(core).__name__}, a loss of "
            "images; the cores are Dice() and its like, and any core(logits, target, *, axes, valid=None)"
        )
    if not callable(core):
        raise TypeError(f"core must be a core loss, such as Dice(), but is {article(core)}")
    if not accepts(core, "axes"):
        name = getattr(core, "__name__", type(core).__name__)
        raise TypeError(
            f"core must be called as core(logits, target, axes=...) and reduce these axes only, but {name} takes no "
            "argument 'axes': wrap it in a function that does; as a loss of whole images: AdaptedLoss(core)"
        )
    return core
