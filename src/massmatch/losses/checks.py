"""What errors say of what a loss is handed, so that it can be mended, and the checks of options."""

import inspect
from collections.abc import Callable, Collection
from difflib import get_close_matches
from numbers import Integral, Real

import torch
from torch import Tensor


def advice_on_axes(name: str, value: Tensor) -> str:
    """Why a tensor is no batch of images, and what makes it one."""
    hint = ""
    if value.ndim in (2, 3):
        hint = f"; a channel axis comes from {name}.unsqueeze(1), a batch axis from {name}[None]"
    return (
        f"{name} must have the shape (B, C, *spatial), that is (B, C, H, W) or (B, C, D, H, W), and no empty one, "
        f"but have {tuple(value.shape)}{hint}"
    )


def advice_on_shape(name: str, value: Tensor, logits: Tensor) -> str:
    """What a tensor wants that has not the shape of the logits."""
    advice = "a target without channel axis wants target.unsqueeze(1)"
    without_classes = (logits.shape[:1] + logits.shape[2:], (*logits.shape[:1], 1, *logits.shape[2:]))
    if logits.shape[1] > 1 and value.shape in without_classes:
        advice = f"class indices want one channel per class (one-hot, MONAI's to_onehot_y), {logits.shape[1]} here"
    return f"{name} must have the shape of logits, {tuple(logits.shape)}, but has {tuple(value.shape)}; {advice}"


def advice_on_truth(target: Tensor, logits: Tensor | None) -> str:
    """What to do about a truth outside [0, 1], by the values that it holds."""
    low, high = ends(target)
    if low < 0:
        if logits is not None and ends(logits)[0] >= 0 and ends(logits)[1] <= 1:
            return "logits lie in [0, 1], so the two may be swapped: loss(logits, target)"
        if low == -1 and bool(((target == -1) | (target == 0) | (target == 1)).all()):
            return "a truth of -1 and 1 wants `target > 0`; pixels marked -1 to be ignored go behind `mask`"
        return "truth is 0 without mass and 1 with mass; these look like logits or a normalised image"
    found = target.unique()
    if not bool((found == found.round()).all()):
        return "divide by the largest value, if it stands for mass"
    if target.shape[1] > 1 and high < target.shape[1]:
        return f"class indices want one channel per class (one-hot, MONAI's to_onehot_y), {target.shape[1]} here"
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
    near = get_close_matches(str(value), [str(a) for a in allowed], 1)
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


def require_switch(name: str, value: object) -> None:
    """Raise ValueError unless `value` is True or False: a text such as "false" would be true."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, but is {value!r}")


def accepts(function: Callable[..., object], argument: str) -> bool:
    """Whether a callable takes this keyword argument."""
    try:
        called = function.forward if isinstance(function, torch.nn.Module) else function
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return False
    return any(p.name == argument or p.kind is p.VAR_KEYWORD for p in parameters)
