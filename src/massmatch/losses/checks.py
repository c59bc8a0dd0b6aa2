"""What a loss is handed, checked: truth, mask, options, facts; and what errors say of it, so that it can be mended."""

import inspect
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from math import isclose
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

HIDDEN = (  # in a compiled graph, where RuntimeError says it
    "the mask hides mass, of which a compiled graph cannot take the facts again: hand over target * mask, and the "
    "facts of that"
)
PASSING = (  # what only moves, cuts or enlarges what went in, and the logarithm
    *("Clamp", "Slice", "Select", "View", "Unsafe", "Squeeze", "Unsqueeze", "ToCopy", "Clone", "Permute", "Expand"),
    *("Upsample", "Cat", "ConstantPad", "ReplicationPad", "ReflectionPad", "LogBackward"),
    *("Split", "Index", "Unbind", "Stack", "Transpose"),
)
ACTIVATIONS = {  # what makes probabilities, or their logarithms, of logits
    **{"Sigmoid": "sigmoid", "Softmax": "softmax", "Hardsigmoid": "hard sigmoid"},
    **{"LogSigmoid": "log-sigmoid", "LogSoftmax": "log-softmax"},
}


def advice_on_activation(activation: str) -> str:
    """What logits are that come out of a sigmoid or its like, and what to do about it."""
    logarithms = activation.startswith("log")
    advice = "" if logarithms else ", or, in a training of your own, make the loss with from_logits=False"
    return (
        f"logits come out of a {activation}, so they are {'logarithms of ' if logarithms else ''}probabilities: leave "
        f"out the last activation of the network{advice}"
    )


def advice_on_axes(name: str, value: Tensor) -> str:
    """Why a tensor is no batch of images, and what makes it one."""
    hint = ""
    if value.ndim in (2, 3):
        hint = f"; a channel axis comes from {name}.unsqueeze(1), a batch axis from {name}[None]"
    elif value.ndim in (4, 5) and value.shape[-1] < value.shape[1]:
        hint = f"; channels that come last are brought to their place by {name}.movedim(-1, 1)"
    return (
        f"{name} must have the shape (B, C, *spatial), that is (B, C, H, W) or (B, C, D, H, W), and no empty one, "
        f"but have {tuple(value.shape)}{hint}"
    )


def advice_on_shape(name: str, value: Tensor, logits: Tensor) -> str:
    """What a tensor wants that has not the shape of the logits."""
    images, classes, *spatial = logits.shape
    advice = f"{name} and logits must be of the same images, with a channel for each class"
    if classes > 1 and value.shape in ((images, *spatial), (images, 1, *spatial)):
        advice = f"class indices want one channel per class (one-hot, MONAI's to_onehot_y), {classes} here"
    elif value.shape == (images, *spatial):
        advice = f"a {name} without channel axis wants {name}.unsqueeze(1)"
    elif value.ndim == logits.ndim and value.shape[2:] == tuple(reversed(spatial)) != logits.shape[2:]:
        advice = "its spatial axes come in another order"
    elif value.ndim == logits.ndim and value.shape[:2] == logits.shape[:2]:
        advice = f"bring logits to the size of {name} (interpolate them), or prepare both alike"
    return f"{name} must have the shape of logits, {tuple(logits.shape)}, but has {tuple(value.shape)}; {advice}"


def advice_on_size_of_mask(mask: Tensor, logits: Tensor) -> str:
    """What a mask wants that does not broadcast to the shape of the logits."""
    advice = "; one image for the whole batch is mask[None, None]" if mask.ndim == logits.ndim - 2 else ""
    advice = "; a mask without channel axis wants mask.unsqueeze(1)" if mask.ndim == logits.ndim - 1 else advice
    return f"mask must broadcast to the shape of logits, {tuple(logits.shape)}, but has {tuple(mask.shape)}{advice}"


def advice_on_mask(mask: Tensor) -> str:
    """What a mask wants that holds other values than 0 and 1."""
    low, high = ends(mask)
    came = "holds NaN" if low != low else f"ranges from {low:g} to {high:g}"
    advice = "a mask of 0 and 255 wants `mask > 127`" if high == 255 else "weights of images go to sample_weight"
    return f"mask must hold 0 and 1 only (1 = the pixel counts), but {came}; {advice}"


def advice_on_truth(target: Tensor, logits: Tensor | None) -> str:
    """What a truth outside [0, 1] holds instead, and what to do about it."""
    low, high = ends(target)
    if low != low or high != high:
        return "holds NaN"
    return f"ranges from {low:g} to {high:g}; {_advice_on_values(target, logits, low, high)}"


def _advice_on_values(target: Tensor, logits: Tensor | None, low: float, high: float) -> str:
    found = target.unique()
    strange = found[(found != 0) & (found != 1)]
    ignored = f"pixels marked {strange[0]:g} to be ignored go behind `mask`"
    if low < 0:
        if logits is not None and ends(logits)[0] >= 0 and ends(logits)[1] <= 1:
            return "logits lie in [0, 1], so the two may be swapped: loss(logits, target)"
        if len(strange) == 1:
            return ignored if low != -1 or 0 in found else "a truth of -1 and 1 wants `target > 0`"
        return "truth is 0 without mass and 1 with mass; these look like logits or a normalised image"
    if not bool((found == found.round()).all()):
        return "divide by the largest value, if it stands for mass"
    if target.shape[1] > 1 and high < target.shape[1]:
        return f"class indices want one channel per class (one-hot, MONAI's to_onehot_y), {target.shape[1]} here"
    if high == 255 and len(strange) == 1 and 1 in found:
        return ignored
    if high == 255:
        return "a mask of 0 and 255 wants `mask > 127`"
    if len(found) == 2:
        return f"a mask of {found[0]:g} and {found[1]:g} wants `mask > {found[0]:g}`"
    return "labels of masses want `labels > 0` as the target and the labels as `instances`"


def ends(x: Tensor) -> tuple[float, float]:
    """The smallest and the largest value."""
    low, high = torch.aminmax(x.detach())
    return float(low.item()), float(high.item())


def require_epoch(epoch: int, of: int) -> None:
    """Raise ValueError for an epoch that is none of `of` ones, counted from 0."""
    if not 0 <= epoch < of:
        raise ValueError(f"epoch must be from 0 to below their number, {of}, but is {epoch}")


def require_tensor(name: str, value: object) -> None:
    """Raise TypeError for anything but a tensor, with the way out of what is nearly one."""
    if not isinstance(value, Tensor):
        advice = f"; torch.as_tensor({name}) is one" if type(value).__name__ in ("ndarray", "list", "tuple") else ""
        if isinstance(value, list | tuple) and any(isinstance(each, Tensor) for each in value):
            advice = f"; of several outputs (deep supervision) take one, {name}[0], or average the loss of each"
        raise TypeError(f"{name} must be a torch.Tensor, but is {article(value)}{advice}")


def advice_on_kind(name: str, value: Tensor) -> str:
    """What a tensor is that is not dense, and what makes it so."""
    if value.device.type == "meta":
        return "is on the meta device, which keeps shapes alone: move its module or data to a real one (to_empty, cpu)"
    if value.is_quantized:
        return f"is quantised ({value.dtype}): {name}.dequantize()"
    if value.is_nested:
        return f"is nested: {name}.to_padded_tensor(0), with a mask for the padding"
    return f"is of the layout {value.layout}: {name}.to_dense()"


def one_by_one(facts: dict[str, Tensor], images: int) -> list[dict[str, Tensor]]:
    """One dict per image, from what a loader has put together, (B, ...) each. ValueError for the facts of one image.

    A loss that needs no facts makes empty dicts, which a loader puts together as one.
    """
    require_tensors(facts, "facts")
    found = {len(value) if value.ndim else 0 for value in facts.values()}
    if len(found) > 1 or 0 in found:
        raise ValueError(
            "facts must hold (B, ...) tensors or one dict per image, but is the dict of one image: give [facts]"
        )
    return [{name: value[i] for name, value in facts.items()} for i in range(max(found, default=images))]


def require_tensors(facts: dict[str, Tensor], name: str) -> None:
    """Raise TypeError for anything but a dict of tensors."""
    if not isinstance(facts, dict):
        raise TypeError(f"{name} must be a dict of tensors, as facts() gives it, but is {article(facts)}")
    for key, value in facts.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name}[{key!r}] must be a torch.Tensor, but is a {type(value).__name__}: hand over what facts() "
                "gave, or turn it back with torch.as_tensor"
            )


def article(value: object) -> str:
    """The type of a value as a sentence has it: "None", "a list", "an int"."""
    name = type(value).__name__
    return "None" if value is None else f"an {name}" if name[0] in "aeiou" else f"a {name}"


def one_of(name: str, value: str, allowed: Collection[str]) -> str:
    """`value` if it is allowed, otherwise a ValueError that lists what is, nearest first."""
    if value in allowed:
        return value
    near = get_close_matches(str(value).lower(), [str(a) for a in allowed], 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, but is {value!r}{hint}")


def require_whole(name: str, value: object, least: int, most: int | None = None, *, unit: str = "") -> int:
    """`value` as an int. ValueError unless it is a whole number in these bounds; NumPy's are whole numbers too."""
    whole = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else least - 1
    if whole < least or (most is not None and whole > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be a whole number {f'of {unit} ' if unit else ''}{bounds}, but is {value!r}")
    return whole


def require_number(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < float("inf"):
        raise ValueError(f"{name} must be a finite number of at least 0, but is {value!r}")


def require_some(of: object, *names: str) -> None:
    """Raise ValueError where all of these attributes are 0: such a loss is one number whatever the network says."""
    if not any(getattr(of, name) for name in names):
        one = f"one of {' and '.join(names)}" if len(names) > 1 else names[0]
        raise ValueError(f"{type(of).__name__}: {one} must be above 0, or nothing is learned: there is no gradient")


def require_switch(name: str, value: object) -> None:
    """Raise ValueError unless `value` is True or False: a text such as "false" would be true."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, but is {value!r}")


def require_same_instances(known: Sequence[Tensor | None], now: Sequence[float] | None) -> None:
    """Raise ValueError for facts that were made with other instances than those of the call, or without.

    `known` and `now` are checksums by image. Where the call has none, its truth is measured again without those that
    the facts know, since its mask hides a part.
    """
    if now is None:
        if any(of is not None for of in known):
            raise ValueError(
                "the mask hides a part of masses whose facts were made with instances: hand over these instances, too"
            )
        return
    for i, (then, checksum) in enumerate(zip(known, now, strict=True)):
        if then is None or not isclose(float(then), checksum, rel_tol=1e-6, abs_tol=1e-3):
            how = "without instances" if then is None else "with other instances"
            raise ValueError(f"facts[{i}] was made {how}: make it with facts(target, instances=...), those of the call")


def require_labelled(mass: np.ndarray, labels: np.ndarray) -> None:
    """Raise ValueError where a pixel of true mass has no label: it would count as background in silence."""
    if (mass & (labels == 0)).any():
        raise ValueError("instances must label every pixel of true mass, but some are 0 (background)")


def accepts(function: Callable[..., object], argument: str) -> bool:
    """Whether a callable takes this keyword argument."""
    try:
        called = function.forward if isinstance(function, torch.nn.Module) else function
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return False
    return any(p.name == argument or p.kind is p.VAR_KEYWORD for p in parameters)


def check_truth(target: Tensor, logits: Tensor | None = None) -> None:
    """Raise ValueError unless all values lie in [0, 1], with what to do about what came; NaN is refused too."""
    if target.dtype == torch.bool:
        return
    low, high = ends(target)
    if not 0 <= low <= high <= 1:
        raise ValueError(f"target must lie in [0, 1], but {advice_on_truth(target, logits)}")


def expanded_mask(mask: Tensor, logits: Tensor, values: bool = True) -> Tensor:
    """`mask` as bool in the shape of `logits`, or an error if it does not broadcast or holds anything but 0 and 1."""
    if mask.ndim != logits.ndim or any(m not in (1, s) for m, s in zip(mask.shape, logits.shape, strict=True)):
        raise ValueError(advice_on_size_of_mask(mask, logits))
    if values and not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(advice_on_mask(mask))
    return (mask > 0).expand_as(logits)
