"""The call that all losses share: what comes in is checked at the border, what goes out is reduced.

Facts are checked here too: whether this loss made them, and of this truth.
"""

import math
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from .arrays import refuse_mapped
from .checks import (
    ACTIVATIONS,
    HIDDEN,
    PASSING,
    advice_on_activation,
    advice_on_axes,
    advice_on_kind,
    advice_on_shape,
    article,
    check_truth,
    ends,
    expanded_mask,
    one_by_one,
    one_of,
    require_same_instances,
    require_switch,
    require_tensor,
    require_tensors,
)

Facts = dict[str, Tensor]
SIGNED = {"made_for": (torch.int64,), "checksum": (torch.float32, torch.float64)}  # what facts() gives
REDUCTIONS = ("mean", "sum", "none")
# What PyTorch itself has no smallest and largest value of, or no arithmetic at all.
UNREAD = {torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2}


class CheckedLoss(_Loss, ABC):
    """A module that is called with logits and target, checks them, and reduces one value for each image and channel.

    `reduction`: "mean" over images and channels, "sum", or "none" for the values themselves, (B, C).
    `from_logits=False` takes values in [0, 1] and never turns them back into logits.
    """

    decides_facts: Hashable  # the options on which the facts depend: those of a loss with others are refused
    reads_instances = False  # whether the facts depend on the instances: those of others are refused
    reads_densities = False  # whether a training reads the densities of its images, and so depends on them

    def __init__(self, *, reduction: str = "mean", from_logits: bool = True) -> None:
        super().__init__()
        self.reduction = one_of("reduction", reduction, REDUCTIONS)
        require_switch("from_logits", from_logits)
        self.from_logits = from_logits
        self.decides_facts = type(self).__name__

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
        """The loss of a batch, reduced as `reduction` says.

        Args:
            logits: (B, C, H, W) or (B, C, D, H, W); values in [0, 1] with `from_logits=False`.
            target: the same shape, 0/1, bool, or values in [0, 1].
            mask: 1 for the pixels that count, broadcast to that shape. What the others hold has no influence at all;
                that they are there has one where a grid is laid over the whole image (`sm-...`, `soft-sm`, `arsl`). An
                image of which none counts has the loss 0.
            sample_weight: (B,) or (B, C), multiplied with the loss of each image; "mean" divides by B C still.
            instances: whole numbers in the shape of `target`, 0 = background: masses that touch stay apart.
            facts: the result of `facts(target)`, made in the loader, as it is or put together to (B, ...) tensors; the
                value of the loss is the same.

        Returns:
            A scalar, or (B, C) with reduction "none".

        Raises:
            ValueError: a wrong shape or device, a target outside [0, 1] or NaN, facts of other options or images.
            TypeError: something that is no dense tensor of numbers, logits that are no floating point numbers, `vmap`
                over the truth.

        `torch.func.grad`, `jvp` and `hessian` work; `vmap` runs over logits, except with `hausdorff-dt` and `instance`.
        Values are not checked while a graph is compiled, nor on a GPU with facts, so that such a step never waits.
        """
        known = facts is not None and any(facts)  # most losses need none, and then have nothing to compare
        given, waits = target, not known or mask is not None or logits.device.type == "cpu"
        looks = waits and not torch.compiler.is_compiling()
        if looks and torch._C._functorch.peek_interpreter_stack() is not None:  # within torch.func
            refuse_mapped(target=target, mask=mask, instances=instances)
        logits, target, valid = checked(logits, target, mask, self.from_logits, values=looks, known=known)
        if instances is not None:
            check_instances(instances, logits, looks)
        labels = instances if self.reads_instances else None
        found = None if facts is None else compared(facts, target, given, labels, self.decides_facts, waits)
        if instances is not None and valid is not None:
            instances = torch.where(valid > 0, instances, 0)
        with torch.autocast(logits.device.type, enabled=False):
            loss = self.per_image(logits, target, valid=valid, instances=instances, facts=found)
            if loss.shape not in ((), (target.shape[0], 1), target.shape[:2]):  # (B,) would meet (B, 1) as (B, B)
                raise ValueError(f"{self._get_name()}.per_image must give (B, C) or (B, 1), not {tuple(loss.shape)}")
            if valid is not None:
                loss = torch.where(valid.flatten(2).any(-1), loss, 0)
            return reduced(loss, sample_weight, self.reduction, looks)


def checked(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None,
    from_logits: bool = True,
    *,
    values: bool = True,
    known: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits, target and mask in one floating point type of at least float32, or an error that says what is wrong.

    What lies behind the mask becomes 0 before anything looks at it, so that no value there, not even NaN, has an
    influence. `values=False` leaves out the checks that look at values, which would wait for a GPU; `known=True` those
    of the truth, which is compared with what it was when its facts were made.
    """
    if not isinstance(logits, Tensor) or not isinstance(target, Tensor):
        require_tensor("logits", logits)
        require_tensor("target", target)
    require_plain(logits, batch=True, logits=logits, target=target)
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point numbers, but are {logits.dtype}")
    if target.shape != logits.shape:
        raise ValueError(advice_on_shape("target", target, logits))
    if values and from_logits and (activation := last_activation(logits)):
        warnings.warn(advice_on_activation(activation), stacklevel=3)
    valid = None
    if mask is not None:
        require_tensor("mask", mask)
        require_plain(logits, mask=mask)
        valid = expanded_mask(mask, logits, values)
        logits, target = (
            torch.where(valid, x, torch.zeros((), dtype=x.dtype, device=x.device)) for x in (logits, target)
        )
    if values:
        if not from_logits:
            check_probabilities(logits)
        if not known:
            check_truth(target, logits)
    dtype = logits.dtype if logits.dtype == torch.float64 else torch.float32
    return logits.to(dtype), target.detach().to(dtype), None if valid is None else valid.to(dtype)


def require_plain(like: Tensor, *, batch: bool = False, **tensors: Tensor) -> None:
    """Raise unless tensors hold plain numbers that lie where those of `like` do, with what to call on them.

    TypeError for sparse, quantised, nested and complex ones, for those of a kind that PyTorch can hardly read, and for
    those of the meta device, which hold no numbers; ValueError for another device, and with `batch` unless the first
    is (B, C, H, W) or (B, C, D, H, W). Three axes are refused: they may be (B, H, W) images, (C, H, W) of one image,
    or signals (B, C, L). So is an image narrower than it has channels: it is (B, H, W, C).
    """
    for name, value in tensors.items():
        if value.layout is not torch.strided or value.is_quantized or value.is_nested or value.device.type == "meta":
            raise TypeError(f"{name} must be a dense tensor of numbers, but {advice_on_kind(name, value)}")
        if value.is_complex() or (value.dtype in UNREAD and name != "logits"):
            raise TypeError(
                f"{name} must be of bool, whole or floating point numbers that PyTorch computes with, but "
                f"is of {value.dtype}: {name}.{'real' if value.is_complex() else 'float()'}"
            )
        if value.device != like.device:
            raise ValueError(
                f"{name} is on {value.device}, but must be where the logits are: {name}.to({str(like.device)!r})"
            )
        images = 4 <= value.ndim <= 5 and value.numel() > 0 and value.shape[-1] >= value.shape[1]
        if batch and value is like and not images:
            raise ValueError(advice_on_axes(name, value))


def check_probabilities(values: Tensor) -> None:
    """Raise ValueError for a value outside [0, 1]."""
    low, high = ends(values)
    if not 0 <= low <= high <= 1:
        came = "hold NaN" if low != low or high != high else f"range from {low:g} to {high:g}"
        raise ValueError(
            f"values with from_logits=False must lie in [0, 1], but {came}; activate them first (sigmoid or softmax)"
        )


def last_activation(outputs: Tensor) -> str | None:
    """What a network ended in that makes probabilities, or their logarithms, of its logits; None where nothing did.

    What made them decides, not their values: a fresh network may well give logits that all lie in [0, 1].
    """
    node = outputs.grad_fn
    while node is not None and type(node).__name__.startswith(PASSING):
        node = node.next_functions[0][0] if node.next_functions else None
    return ACTIVATIONS.get(type(node).__name__.partition("Backward")[0])


def check_instances(instances: Tensor, like: Tensor, values: bool = True) -> None:
    """Raise unless `instances` has the shape of `like` and holds whole numbers."""
    require_tensor("instances", instances)
    require_plain(like, instances=instances)
    if instances.shape != like.shape:
        raise ValueError(advice_on_shape("instances", instances, like))
    if not values or instances.dtype == torch.bool:
        return
    if not bool(((instances >= 0) & (instances == torch.round(instances))).all()):
        raise ValueError("instances must hold whole numbers, 0 for background and one for each mass, but holds others")


def compared(
    facts: Sequence[Facts] | Facts,
    target: Tensor,
    given: Tensor,
    instances: Tensor | None,
    options: Hashable,
    waits: bool,
) -> Sequence[Facts] | None:
    """One dict per image, if the facts are of this truth; None if they are of one of which the mask hides a part.

    `target` is the truth with the mask, `given` without. Where `waits` is false the truth itself is not looked at,
    which would wait for a GPU. Raises ValueError for the facts of other options, sizes, images or instances, TypeError
    for what are no facts.
    """
    facts = one_by_one(facts, len(target)) if isinstance(facts, dict) else facts
    if not isinstance(facts, list | tuple):
        raise TypeError(f"facts must be a list of one dict per image, as facts() gives it, but is {article(facts)}")
    if len(facts) != len(target):
        raise ValueError(f"facts must hold one dict per image, {len(target)} here, but holds {len(facts)}")
    for i, fact in enumerate(facts):
        if not isinstance(fact, dict) or not all(isinstance(value, Tensor) for value in fact.values()):
            require_tensors(fact, f"facts[{i}]")
    if torch.compiler.is_compiling():
        if any(facts) and given is not target:  # a graph cannot measure anew
            torch._assert_async(~((given > 0) & (given <= 1) & (target == 0)).any(), HIDDEN)
        return facts
    if not any(facts):
        return facts
    made_for = [code(options), *target.shape[1:]]
    for i, fact in enumerate(facts):
        if lacking := [name for name in SIGNED if name not in fact]:
            raise ValueError(f"facts[{i}] lacks {' and '.join(lacking)}: make it with the facts() of this loss")
        for name, types in SIGNED.items():
            if fact[name].dtype not in types:
                raise ValueError(
                    f"facts[{i}] was turned into other numbers ({name!r} into {fact[name].dtype}): hand facts over as "
                    "facts() gave them; only their device may change"
                )
        of = fact["made_for"].tolist() if fact["made_for"].device.type == "cpu" else made_for  # a GPU is not asked
        if of != made_for:
            other = "was made by a loss with other options: make it with the facts() of this loss"
            size = f"is of an image {tuple(of[1:])}, but target's are {tuple(target.shape[1:])}"
            raise ValueError(f"facts[{i}] {other if of[0] != made_for[0] else size}")
    if not waits:
        return facts
    others = of_other_images(facts, target)
    if instances is not None or others:
        now = None if instances is None else labels_checksum(instances).tolist()
        require_same_instances([fact.get("instances") for fact in facts], now)
    if not others:
        return facts
    check_truth(target)
    if of_other_images(facts, given):
        raise ValueError(
            f"facts[{others[0]}] was made of another truth than target[{others[0]}]: make the facts after any "
            "augmentation, and keep them in the order of the batch"
        )
    return None


def labels_checksum(instances: Tensor) -> Tensor:
    """(B,): the `checksum` of numbers from 0 to 1 in place of the labels, so that large labels do not hide others."""
    return checksum(torch.frac(instances.double() * 0.6180339887498949))


def of_other_images(facts: Sequence[Facts], target: Tensor) -> list[int]:
    """The numbers of the images whose truth is not the one that the facts were made of."""
    made_of: list[Any] = [fact["checksum"].tolist() for fact in facts]
    pairs = zip(made_of, checksum(target).tolist(), strict=True)
    # sums of float32 depend on their order, by up to 2e-4 for eight million pixels; and NaN is like nothing
    return [i for i, (then, now) in enumerate(pairs) if not math.isclose(then, now, rel_tol=1e-6, abs_tol=1e-3)]


def checksum(target: Tensor) -> Tensor:
    """(B,): the sum over pixels of (B, C, *spatial), each with its weight; no matrix product, which autocast rounds."""
    pixels = target.detach().flatten(1).to(torch.float64 if target.dtype == torch.float64 else torch.float32)
    return (pixels * weights(pixels.shape[1], pixels.dtype).to(pixels.device)).sum(1)


@lru_cache(maxsize=4)
def weights(count: int, dtype: torch.dtype) -> Tensor:
    """(count,): numbers from -0.5 to 0.5 by chance, the same ones each time.

    Those of a regular order would add up to nearly the same over any large mass, wherever it lies.
    """
    return (torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5).to(dtype)


@lru_cache(maxsize=64)
def code(options: Hashable) -> int:
    """A number for all options of a loss on which its facts depend."""
    return zlib.crc32(repr(options).encode())


def reduced(loss: Tensor, sample_weight: Tensor | None, reduction: str, values: bool = True) -> Tensor:
    """(B, C) values times their weights, then mean, sum or as they are; one number of a whole batch has no other."""
    if loss.ndim == 0:
        if sample_weight is not None or reduction != "mean":
            raise ValueError("this loss is one number for the whole batch: it takes no sample_weight and only 'mean'")
        return loss
    if sample_weight is not None:
        allowed = (loss.shape[:1], loss.shape, (loss.shape[0], 1))
        require_tensor("sample_weight", sample_weight)
        require_plain(sample_weight, sample_weight=sample_weight)
        if sample_weight.shape not in allowed:
            raise ValueError(
                f"sample_weight must have the shape (B,) or (B, C), {tuple(loss.shape)} here, "
                f"but has {tuple(sample_weight.shape)}"
            )
        if values and not bool(torch.isfinite(sample_weight).all()):
            raise ValueError("sample_weight must hold finite numbers, but holds NaN or inf")
        if values and bool((sample_weight < 0).any()):
            raise ValueError(
                f"sample_weight must be at least 0, but holds {float(sample_weight.min()):g}: below 0 the loss of an "
                "image would be driven up"
            )
        loss = loss * sample_weight.to(loss).reshape(len(loss), -1)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()
