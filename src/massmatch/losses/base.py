"""What every loss of the catalogue shares: its call, the checks at the border, and how images become one number."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from .checks import (
    accepts,
    article,
    check_axes,
    check_instances,
    check_truth,
    checked,
    looks_at_values,
    one_of,
    require_switch,
    require_tensor,
)
from .facts import Facts, check_made_for, of_other_images, one_by_one, signed

REDUCTIONS = ("mean", "sum", "none")


class ImageLoss(_Loss, ABC):
    """A loss with one value for each image and channel: `forward` checks, computes in float32 or more, and reduces.

    `reduction`: "mean" over images and channels, "sum", or "none" for the values themselves, (B, C).
    `from_logits=False` takes values in [0, 1] and never turns them back into logits.
    """

    def __init__(self, *, reduction: str = "mean", from_logits: bool = True) -> None:
        super().__init__()
        self.reduction = one_of("reduction", reduction, REDUCTIONS)
        require_switch("from_logits", from_logits)
        self.from_logits = from_logits

    def __repr__(self) -> str:
        """The call that makes this loss: every argument of its class, which an attribute of that name holds.

        What a loss has learned from a training part (`fit`) is no argument; `state_dict` has it.
        """
        kind = type(self)
        held = [name for name in inspect.signature(kind).parameters if hasattr(self, name)]
        return f"{kind.__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in held)})"

    @abstractmethod
    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C): the loss of each image and channel, from checked (B, C, *spatial) tensors of one dtype."""

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
            one shape, which a loader can put together: `facts.py` has an example.

        Raises:
            ValueError: a target that `forward` would refuse too, or what this loss needs and does not find.
        """
        require_tensor("target", target)
        check_axes("target", target)
        check_truth(target)
        if instances is not None:
            check_instances(instances, target)
        return signed(self.make_facts(target, instances=instances, density=density), target, self.decides_facts)

    def make_facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """The facts of checked images, for a loss that has any to overwrite."""
        del instances, density
        return [{} for _ in target]

    @property
    def decides_facts(self) -> object:
        """The options on which the facts depend: those of a loss with others are refused."""
        return type(self).__name__

    def fit(self, targets: Iterable[Tensor], densities: Sequence[int | None]) -> None:
        """Learn from the training part before the first step: masks of (C, *spatial) and ACR densities, one per image.

        What is learned is kept in buffers, so that a checkpoint holds it. Most losses learn nothing.
        """
        del targets, densities

    def set_epoch(self, epoch: int, of: int) -> None:
        """Told before each epoch, from 0, of how many: for losses whose weights follow a schedule."""
        del epoch, of

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        mask: Tensor | None = None,
        sample_weight: Tensor | None = None,
        instances: Tensor | None = None,
        facts: Sequence[Facts] | Facts | None = None,
    ) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (B, C, H, W) or (B, C, D, H, W); values in [0, 1] with `from_logits=False`.
            target: the same shape, 0/1, bool, or values in [0, 1].
            mask: 1 for the pixels that count, broadcast to that shape. The others have no influence at all.
            sample_weight: (B,) or (B, C), multiplied with the loss of each image; "mean" divides by B C still.
            instances: whole numbers in the shape of `target`, 0 = background: masses that touch stay apart.
            facts: the result of `facts(target)`, made in the loader, as it is or put together to (B, ...) tensors; the
                value of the loss is the same.

        Returns:
            A scalar, or (B, C) with reduction "none".

        Raises:
            ValueError: a wrong shape, a target outside [0, 1] or NaN, facts of other options or images.
            TypeError: something that is no tensor, or logits that are no floating point numbers.

        Checks that look at values are skipped while a graph is being compiled, and on a GPU with facts, which were
        checked in the loader: so that a step with facts and without a mask never waits for the GPU.
        """
        known = facts is not None and any(facts)  # most losses need none, and then have nothing to compare
        given, waits = target, not known or mask is not None or logits.device.type == "cpu"
        logits, target, valid = checked(logits, target, mask, self.from_logits, values=waits, known=known)
        if instances is not None:
            check_instances(instances, logits, waits and looks_at_values())
            instances = instances if valid is None else torch.where(valid > 0, instances, 0)
        found = None if facts is None else self.known(one_by_one(facts, len(target)), target, given, waits)
        with torch.autocast(logits.device.type, enabled=False):
            loss = self.per_image(logits, target, valid=valid, instances=instances, facts=found)
            return reduced(loss, sample_weight, self.reduction, waits and looks_at_values())

    def known(self, facts: Sequence[Facts], target: Tensor, given: Tensor, waits: bool) -> Sequence[Facts] | None:
        """The facts, if they are of this truth; None if they are of one of which the mask hides a part.

        Raises ValueError for the facts of other options, sizes or images.
        """
        if not any(facts) or not looks_at_values():
            return facts
        check_made_for(facts, target, self.decides_facts)
        if not waits or not (others := of_other_images(facts, target)):
            return facts
        check_truth(target)
        if of_other_images(facts, given):
            raise ValueError(
                f"facts[{others[0]}] was made of another truth than target[{others[0]}]: make the facts after any "
                "augmentation, and keep them in the order of the batch"
            )
        return None


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


def reduced(loss: Tensor, sample_weight: Tensor | None, reduction: str, values: bool = True) -> Tensor:
    """(B, C) values times their weights, then mean, sum or as they are; one number of a whole batch has no other."""
    if loss.ndim == 0:
        if sample_weight is not None or reduction != "mean":
            raise ValueError("this loss is one number for the whole batch: it takes no sample_weight and only 'mean'")
        return loss
    if sample_weight is not None:
        allowed = (loss.shape[:1], loss.shape, (loss.shape[0], 1))
        require_tensor("sample_weight", sample_weight)
        if sample_weight.shape not in allowed:
            raise ValueError(
                f"sample_weight must have the shape (B,) or (B, C), {tuple(loss.shape)} here, "
                f"but has {tuple(sample_weight.shape)}"
            )
        if values and not bool(torch.isfinite(sample_weight).all()):
            raise ValueError("sample_weight must hold finite numbers, but holds NaN or inf")
        loss = loss * sample_weight.to(loss).reshape(len(loss), -1)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()
