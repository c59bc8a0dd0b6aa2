"""What every loss of the catalogue shares: its call, the checks at the border, and how images become one number."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import get_close_matches

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

Facts = dict[str, Tensor]
REDUCTIONS = ("mean", "sum", "none")


class ImageLoss(_Loss, ABC):
    """A loss with one value for each image and channel: `forward` checks, computes in float32 or more, and reduces.

    `reduction`: "mean" over images and channels, "sum", or "none" for the values themselves, (B, C).
    `from_logits=False` takes values in [0, 1] and never turns them back into logits.
    """

    def __init__(self, *, reduction: str = "mean", from_logits: bool = True) -> None:
        super().__init__()
        self.reduction = one_of("reduction", reduction, REDUCTIONS)
        self.from_logits = from_logits

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
        """What depends on the truth alone, one dict per image: computed in the loader, handed to `forward`."""
        del instances, density  # for the losses that need them
        return [{} for _ in target]

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
        facts: Sequence[Facts] | None = None,
    ) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (B, C, *spatial), 1 to 3 spatial axes; values in [0, 1] with `from_logits=False`.
            target: the same shape, 0/1, bool, or values in [0, 1].
            mask: 1 for the pixels that count, broadcast to that shape. The others have no influence at all.
            sample_weight: (B,) or (B, C), multiplied with the loss of each image; "mean" divides by B C still.
            instances: whole numbers in the shape of `target`, 0 = background: masses that touch stay apart.
            facts: the result of `facts(target)`, made in the loader; the value of the loss is the same.

        Returns:
            A scalar, or (B, C) with reduction "none".

        Raises:
            ValueError: a wrong shape, a target outside [0, 1] or NaN, facts of other options or images.
            TypeError: something that is no tensor, or logits that are no floating point numbers.

        Checks that look at values are skipped while a graph is being compiled.
        """
        logits, target, valid = checked(logits, target, mask, self.from_logits)
        if instances is not None:
            check_shape("instances", instances, target.shape)
        if facts is not None and len(facts) != len(target):
            raise ValueError(f"facts must hold one dict per image, {len(target)} here, but holds {len(facts)}")
        with torch.autocast(logits.device.type, enabled=False):
            loss = self.per_image(logits, target, valid=valid, instances=instances, facts=facts)
            return reduced(loss, sample_weight, self.reduction)


class WholeImageLoss(ImageLoss):
    """A core loss over the whole image (the paper's L_I alone)."""

    def __init__(self, core: Callable[..., Tensor], *, reduction: str = "mean", from_logits: bool = True) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        self.core = core

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

    def extra_repr(self) -> str:
        """Shown by `repr`."""
        return f"{self.core}, reduction={self.reduction!r}"


def checked(
    logits: Tensor, target: Tensor, mask: Tensor | None, from_logits: bool = True
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits, target and mask in one floating point type of at least float32, or an error that says what is wrong."""
    for name, value in (("logits", logits), ("target", target), ("mask", mask)):
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, but is a {type(value).__name__}")
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point numbers, but are {logits.dtype}")
    if not 3 <= logits.ndim <= 5 or logits.numel() == 0:
        raise ValueError(
            f"logits must have the shape (B, C, *spatial) with 1 to 3 spatial axes and no empty one, "
            f"but have {tuple(logits.shape)}"
        )
    check_shape("target", target, logits.shape)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    if not torch.compiler.is_compiling():
        check_unit_interval("target", target)
        if not from_logits:
            check_unit_interval("values with from_logits=False", logits, "activate them first (sigmoid or softmax)")
    if mask is not None:
        mask = expanded_mask(mask, logits)
    return logits.to(dtype), target.detach().to(dtype), None if mask is None else mask.to(dtype)


def check_shape(name: str, value: Tensor, shape: torch.Size) -> None:
    """Raise ValueError unless `value` has the shape of the logits."""
    if value.shape != shape:
        raise ValueError(
            f"{name} must have the shape of logits, {tuple(shape)}, but has {tuple(value.shape)}; "
            "a target without channel axis wants target.unsqueeze(1)"
        )


def check_unit_interval(name: str, value: Tensor, advice: str = "a mask of 0 and 255 wants `mask > 127`") -> None:
    """Raise ValueError, which ends in the advice, unless all values lie in [0, 1]; NaN is refused too."""
    if value.dtype == torch.bool:
        return
    low, high = (float(end) for end in torch.aminmax(value.detach()))
    if low != low or high != high:
        raise ValueError(f"{name} must lie in [0, 1], but holds NaN")
    if low < 0 or high > 1:
        raise ValueError(f"{name} must lie in [0, 1], but ranges from {low:g} to {high:g}; {advice}")


def expanded_mask(mask: Tensor, logits: Tensor) -> Tensor:
    """`mask` in the shape of `logits`, or an error if it does not broadcast or holds anything but 0 and 1."""
    if mask.ndim != logits.ndim or any(m not in (1, s) for m, s in zip(mask.shape, logits.shape, strict=True)):
        raise ValueError(
            f"mask must broadcast to the shape of logits, {tuple(logits.shape)}, but has {tuple(mask.shape)}"
        )
    if not torch.compiler.is_compiling() and not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("mask must hold 0 and 1 only (1 = the pixel counts); weights of images go to sample_weight")
    return mask.expand_as(logits)


def reduced(loss: Tensor, sample_weight: Tensor | None, reduction: str) -> Tensor:
    """(B, C) values times their weights, then mean, sum or as they are; one number of a whole batch has no other."""
    if loss.ndim == 0:
        if sample_weight is not None or reduction != "mean":
            raise ValueError("this loss is one number for the whole batch: it takes no sample_weight and only 'mean'")
        return loss
    if sample_weight is not None:
        allowed = (loss.shape[:1], loss.shape, (loss.shape[0], 1))
        if sample_weight.shape not in allowed:
            raise ValueError(
                f"sample_weight must have the shape (B,) or (B, C), {tuple(loss.shape)} here, "
                f"but has {tuple(sample_weight.shape)}"
            )
        loss = loss * sample_weight.to(loss).reshape(len(loss), -1)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def one_of(name: str, value: str, allowed: Collection[str]) -> str:
    """`value` if it is allowed, otherwise a ValueError that lists what is, nearest first."""
    if value in allowed:
        return value
    near = get_close_matches(str(value), [str(a) for a in allowed], 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, but is {value!r}{hint}")


def accepts(function: Callable[..., object], argument: str) -> bool:
    """Whether a callable takes this keyword argument."""
    import inspect

    try:
        called = function.forward if isinstance(function, torch.nn.Module) else function
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return False
    return any(p.name == argument or p.kind is p.VAR_KEYWORD for p in parameters)
