"""The checks at the border of every loss: what it is handed, in one type and shape, or an error that can be mended."""

import inspect
import warnings
from collections.abc import Callable, Collection
from difflib import get_close_matches
from numbers import Integral, Real

import torch
from torch import Tensor

PASSING = ("Clamp", "Slice", "Select", "View", "Unsafe", "Squeeze", "Unsqueeze", "ToCopy", "Clone", "Permute", "Expand")


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
    require_tensor("logits", logits)
    require_tensor("target", target)
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point numbers, but are {logits.dtype}")
    check_axes("logits", logits)
    check_shape("target", target, logits)
    values = values and looks_at_values()
    valid = None
    if mask is not None:
        valid = expanded_mask(mask, logits, values)
        logits, target = (
            torch.where(valid, x, torch.zeros((), dtype=x.dtype, device=x.device)) for x in (logits, target)
        )
    if values:
        check_prediction(logits, from_logits)
        if not known:
            check_truth(target, logits)
    dtype = logits.dtype if logits.dtype == torch.float64 else torch.float32
    return logits.to(dtype), target.detach().to(dtype), None if valid is None else valid.to(dtype)


def looks_at_values() -> bool:
    """Whether values can be looked at: not while a graph is being compiled."""
    return not torch.compiler.is_compiling()


def check_axes(name: str, value: Tensor) -> None:
    """Raise ValueError unless `value` is (B, C, H, W) or (B, C, D, H, W).

    Three axes are refused: they may be (B, H, W) images, (C, H, W) of one image, or signals (B, C, L).
    """
    if not 4 <= value.ndim <= 5 or value.numel() == 0:
        hint = ""
        if value.ndim in (2, 3):
            hint = f"; a channel axis comes from {name}.unsqueeze(1), a batch axis from {name}[None]"
        raise ValueError(
            f"{name} must have the shape (B, C, *spatial), that is (B, C, H, W) or (B, C, D, H, W), and no empty one, "
            f"but have {tuple(value.shape)}{hint}"
        )


def check_shape(name: str, value: Tensor, logits: Tensor) -> None:
    """Raise ValueError unless `value` has the shape of the logits."""
    if value.shape == logits.shape:
        return
    advice = "a target without channel axis wants target.unsqueeze(1)"
    without_classes = (logits.shape[:1] + logits.shape[2:], (*logits.shape[:1], 1, *logits.shape[2:]))
    if logits.shape[1] > 1 and value.shape in without_classes:
        advice = f"class indices want one channel per class (one-hot, MONAI's to_onehot_y), {logits.shape[1]} here"
    raise ValueError(
        f"{name} must have the shape of logits, {tuple(logits.shape)}, but has {tuple(value.shape)}; {advice}"
    )


def check_truth(target: Tensor, logits: Tensor | None = None) -> None:
    """Raise ValueError unless all values lie in [0, 1], with what to do about what came; NaN is refused too."""
    if target.dtype == torch.bool:
        return
    low, high = ends(target)
    if low != low or high != high:
        raise ValueError("target must lie in [0, 1], but holds NaN")
    if low < 0 or high > 1:
        raise ValueError(
            f"target must lie in [0, 1], but ranges from {low:g} to {high:g}; {advice_on_truth(target, logits)}"
        )


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


def check_prediction(logits: Tensor, from_logits: bool) -> None:
    """Raise ValueError for given probabilities outside [0, 1]; warn where logits come straight out of a sigmoid.

    What made them decides, not their values: a fresh network may well give logits that all lie in [0, 1].
    """
    if from_logits:
        if made_by(logits).startswith(("SigmoidBackward", "SoftmaxBackward")):
            warnings.warn(
                "logits come out of a sigmoid or softmax, so they are probabilities: make the loss with "
                "from_logits=False, or leave out the last activation of the network",
                stacklevel=4,
            )
        return
    low, high = ends(logits)
    if low != low or high != high:
        raise ValueError("values with from_logits=False must lie in [0, 1], but hold NaN")
    if low < 0 or high > 1:
        raise ValueError(
            f"values with from_logits=False must lie in [0, 1], but range from {low:g} to {high:g}; "
            "activate them first (sigmoid or softmax)"
        )


def made_by(x: Tensor) -> str:
    """The name of the step that made a tensor's values, before it was cut, reshaped, clamped or converted."""
    node = x.grad_fn
    while node is not None and type(node).__name__.startswith(PASSING):
        node = node.next_functions[0][0] if node.next_functions else None
    return type(node).__name__


def ends(x: Tensor) -> tuple[float, float]:
    """The smallest and the largest value."""
    low, high = torch.aminmax(x.detach())
    return float(low.item()), float(high.item())


def expanded_mask(mask: Tensor, logits: Tensor, values: bool = True) -> Tensor:
    """`mask` as bool in the shape of `logits`, or an error if it does not broadcast or holds anything but 0 and 1."""
    require_tensor("mask", mask)
    if mask.ndim != logits.ndim or any(m not in (1, s) for m, s in zip(mask.shape, logits.shape, strict=True)):
        advice = "; one image for the whole batch is mask[None, None]" if mask.ndim == logits.ndim - 2 else ""
        advice = "; a mask without channel axis wants mask.unsqueeze(1)" if mask.ndim == logits.ndim - 1 else advice
        raise ValueError(
            f"mask must broadcast to the shape of logits, {tuple(logits.shape)}, but has {tuple(mask.shape)}{advice}"
        )
    if values and not bool(((mask == 0) | (mask == 1)).all()):
        low, high = ends(mask)
        advice = "a mask of 0 and 255 wants `mask > 127`" if high == 255 else "weights of images go to sample_weight"
        raise ValueError(
            f"mask must hold 0 and 1 only (1 = the pixel counts), but ranges from {low:g} to {high:g}; {advice}"
        )
    return (mask > 0).expand_as(logits)


def check_instances(instances: Tensor, like: Tensor, values: bool = True) -> None:
    """Raise unless `instances` has the shape of `like` and holds whole numbers."""
    require_tensor("instances", instances)
    check_shape("instances", instances, like)
    if not values or instances.dtype == torch.bool:
        return
    if not bool(((instances >= 0) & (instances == torch.round(instances))).all()):
        raise ValueError("instances must hold whole numbers, 0 for background and one for each mass, but holds others")


def require_tensor(name: str, value: object) -> None:
    """Raise TypeError for anything but a tensor, with the way out of what is nearly one."""
    if not isinstance(value, Tensor):
        advice = f"; torch.as_tensor({name}) is one" if type(value).__name__ in ("ndarray", "list", "tuple") else ""
        raise TypeError(f"{name} must be a torch.Tensor, but is {article(value)}{advice}")


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
