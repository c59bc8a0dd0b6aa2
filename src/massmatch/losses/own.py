"""A loss of one's own, named module:attribute, under the call that all losses of the catalogue have.

    make_loss("monai.losses:DiceLoss:sigmoid=true")(logits, target)

The attribute may be a class, whose instances are called with (logits, target); a function of (logits, target), whose
further arguments are its options; or a module that is ready-made, of which a copy is taken, so that no training begins
where another one ended. With the option `probabilities=true` it is handed sigmoid(logits) instead of logits, unless it
has an option of this name itself. A class derived from `ImageLoss`, or one of its instances, is used as it is. Modules
are looked for where Python looks, and in the current directory, as with `python -m`.
"""

import copy
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .base import ImageLoss
from .call import Facts
from .checks import article
from .entry import UnknownOptionError, nearest

_TRUTHS = {"y_true", "true", "target", "targets", "label", "labels", "gt", "truth", "ground_truth", "mask"}
_PREDICTIONS = re.compile(r"(y_?)?(pred|hat|prob|logit|output|score)|.*_(pred|hat)$")  # how such a name looks
_NAMED: dict[str, list[str]] = {}  # each file of what was asked for by module:attribute, and the names asked for


class OwnLossError(ValueError):
    """A loss of one's own does not answer as a loss does, or cannot do what is asked of every loss."""


class Called(nn.Module):
    """Any callable of (logits, target), as a module of logits.

    Args:
        function: called with (logits, target), both (B, C, *spatial).
        probabilities: whether it is handed sigmoid(logits) instead of logits.
    """

    def __init__(self, function: Callable[..., Any], probabilities: bool = False) -> None:
        super().__init__()
        self.function, self.probabilities = function, probabilities

    def forward(self, logits: Tensor, target: Tensor) -> Any:
        """What the callable returns for these logits, or for their probabilities."""
        return self.function(logits.sigmoid() if self.probabilities else logits, target)

    def set_epoch(self, epoch: int, of: int) -> None:
        """Pass the epoch on to a callable that has a schedule of its own."""
        tell_epoch(self.function, epoch, of)


class AdaptedLoss(ImageLoss):
    """Somebody else's loss under the common call: checked inputs in float32 or more, and one number.

    Where the callable has a `set_epoch(epoch, of)`, it is told of each epoch as any loss is.

    Args:
        function: a callable of (logits, target), both (B, C, *spatial), that returns a scalar, or a tensor whose first
            axis is the batch, which is averaged image by image.
        reduction: see `ImageLoss`. All but "mean" need values by image, and so does a `sample_weight`.

    Raises:
        ValueError: when called with a mask, or when the callable returns something else.

    Example:
        AdaptedLoss(torch.nn.BCEWithLogitsLoss())(logits, target)
    """

    def __init__(self, function: Callable[..., Any], *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if isinstance(function, type) or not callable(function):
            what = f"the class {function.__name__}: make one" if isinstance(function, type) else article(function)
            raise TypeError(f"function must be a callable of (logits, target), but is {what}")
        refuse_truth_first(getattr(function, "__name__", type(function).__name__), function)
        self.function = function

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """The scalar that the callable returns, or (B, 1): the mean of what it returns for each image."""
        del instances, facts
        if valid is not None:
            raise OwnLossError("a loss of one's own takes no mask: crop the images, or derive the loss from ImageLoss")
        value = self.function(logits, target.clone())  # what it changes in place stays the truth of all others
        if not isinstance(value, Tensor) or (value.ndim > 0 and len(value) != len(target)):
            what = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise OwnLossError(
                f"a loss must return a scalar tensor, or one value or map per image, but returned {what}"
            )
        return value if value.ndim == 0 else value.reshape(len(value), -1).mean(1, keepdim=True)

    def set_epoch(self, epoch: int, of: int) -> None:
        """Pass the epoch on to a callable that has a schedule of its own."""
        tell_epoch(self.function, epoch, of)


def tell_epoch(function: Callable[..., Any], epoch: int, of: int) -> None:
    """Call `function.set_epoch(epoch, of)` where it has one. OwnLossError for one that takes other arguments."""
    told = getattr(function, "set_epoch", None)
    if not callable(told):
        return
    try:
        inspect.signature(told).bind(epoch, of)
    except TypeError:
        name = type(function).__name__
        raise OwnLossError(
            f"{name}.set_epoch must take (epoch, of): the epoch, from 0, and how many there are"
        ) from None
    told(epoch, of)


def imported(name: str) -> Any:
    """The attribute of a module, from "module:attribute".

    Raises:
        ValueError: for a module that cannot be imported, or has no such attribute (with the nearest one).
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError(f"{name!r} must be written module:attribute, as in my_module:MyLoss")
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):  # the installed command has its own folder there instead
        sys.path.insert(0, here)
    try:
        with torch.random.fork_rng(devices=[]):  # weights that are drawn while it is imported are the same each time
            torch.default_generator.manual_seed(0)  # the CPU alone: that of a GPU would not be put back
            found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported, such as end the program
        raise ValueError(
            f"{name}: no such loss or network ({in_one_line(error)}); write module:attribute, of a module "
            f"that Python finds from {here}"
        ) from None
    if (file := source_file(found)) is not None:
        names = _NAMED.setdefault(str(file), [])
        names += [name] * (name not in names)
    return found


def copied(name: str) -> Any:
    """What `imported` finds; of a thing that is ready-made a copy, since what one training changes in it is no start of
    the next. Errors: as `imported`, and ValueError for what cannot be copied.
    """
    found = imported(name)
    try:
        return found if inspect.isclass(found) or inspect.isroutine(found) else copy.deepcopy(found)
    except Exception as error:
        raise ValueError(
            f"{name} is ready-made and cannot be copied ({in_one_line(error)}), so that each training would begin "
            "where the last one ended: name its class instead, or a function that calls it"
        ) from None


def source_file(thing: Any) -> Path | None:
    """The file in which a class or function is written, or the class of anything else; None where there is no text."""
    kind = thing if inspect.isclass(thing) or inspect.isroutine(thing) else type(thing)
    try:
        return Path(inspect.getsourcefile(kind) or "")
    except TypeError:
        return None


def blamed(error: BaseException) -> str | None:
    """In one line, where code of one's own raised an error; None for an error that was not raised there."""
    for frame in reversed(own_part(error)):
        if frame.filename in _NAMED:
            where = f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"
            return f"{' or '.join(_NAMED[frame.filename])} raised {in_one_line(error)} ({where})"
    return str(error) if isinstance(error, OwnLossError) else None


def own_part(error: BaseException) -> list[traceback.FrameSummary]:
    """The traceback of an error from the first line on that stands in code of one's own."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((n for n, frame in enumerate(frames) if frame.filename in _NAMED), len(frames))
    return frames[first:]


def callable_loss(name: str, options: dict[str, Any]) -> nn.Module:
    """The loss named module:attribute as a module of (logits, target), with these options and nothing else around it.

    Raises:
        ValueError: for what cannot be imported, is no loss, or cannot be built with these options.
    """
    options = dict(options)
    probabilities = not takes(name, "probabilities") and options.pop("probabilities", False)
    if not isinstance(probabilities, bool):
        raise ValueError(f"{name}: probabilities must be true or false, but is {probabilities!r}")
    found = copied(name)
    if inspect.isclass(found):
        found = built(name, found, options)
    elif inspect.isroutine(found) or isinstance(found, partial):
        check_options(name, found, options)
        found = partial(found, **options)
    elif callable(found) and options:
        raise ValueError(f"{name} is ready-made and takes no options, but has {', '.join(options)}")
    if not callable(found):
        raise ValueError(f"{name} is no loss: it must be a class, a function or a module, called with (logits, target)")
    check_call(name, found)
    refuse_unseen_weights(name, found)
    return found if isinstance(found, nn.Module) and not probabilities else Called(found, probabilities)


def check_call(name: str, loss: Callable[..., Any]) -> None:
    """Raise ValueError for a loss that cannot be called with (logits, target) alone, or takes the truth first."""
    signature = signature_of(loss)
    try:
        signature.bind("logits", "target")
    except TypeError as error:
        made = "; of a function that makes a loss, name the class instead" if "too many" in str(error) else ""
        raise ValueError(
            f"{name} must be called with (logits, target), with its other arguments as options, as in "
            f"{name}:option=value (the images are not handed over): {error}{made}"
        ) from None
    refuse_truth_first(name, loss)


def signature_of(loss: Callable[..., Any]) -> inspect.Signature:
    """What a loss is called with; any two arguments, where that is not known: some that are written in C do not say."""
    try:
        return inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss)
    except (TypeError, ValueError):
        return inspect.signature(lambda logits, target: None)


def refuse_truth_first(name: str, loss: Callable[..., Any]) -> None:
    """Raise ValueError for a loss whose first argument is the truth by its name, as in Keras: both would be swapped."""
    wanted = [each.name.lower() for each in signature_of(loss).parameters.values() if each.default is each.empty]
    first, second, *_ = [*wanted, "", ""]
    if first in _TRUTHS or (_PREDICTIONS.match(second) and not _PREDICTIONS.match(first)):
        raise ValueError(
            f"{name} is called with (logits, target), but its first argument is {first}: wrap it in a function of "
            "(logits, target)"
        )


def refuse_unseen_weights(name: str, loss: Any) -> None:
    """Raise ValueError for weights in a plain object, or in a list or dictionary: no optimiser would be told of them,
    and no checkpoint would hold them.
    """
    parts = loss.modules() if isinstance(loss, nn.Module) else [loss]
    known = {id(each) for each in loss.parameters()} if isinstance(loss, nn.Module) else set()
    for attribute, value in ((name, value) for part in parts for name, value in getattr(part, "__dict__", {}).items()):
        if attribute.startswith("_"):  # where PyTorch keeps what it knows of
            continue
        held = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        tensors = [t for each in held for t in (each.parameters() if isinstance(each, nn.Module) else [each])]
        if any(
            isinstance(each, Tensor) and each.is_leaf and each.requires_grad and id(each) not in known
            for each in tensors
        ):
            raise ValueError(
                f"{name} keeps weights in {attribute} where PyTorch does not see them, so they would not be trained: "
                "derive it from torch.nn.Module, with lists as nn.ParameterList or nn.ModuleList, or freeze them "
                "(requires_grad_(False))"
            )


def own_loss(name: str, options: dict[str, Any], *, reduction: str = "mean", from_logits: bool = True) -> ImageLoss:
    """The loss named module:attribute under the common call. Errors: as `callable_loss`.

    All `options` are those of the attribute itself, one of the name `reduction` or `from_logits` too.
    """
    kind = copied(name)
    if inspect.isclass(kind) and issubclass(kind, ImageLoss):
        common = {"reduction": (reduction, "mean"), "from_logits": (from_logits, True)}
        named = inspect.signature(kind).parameters  # what it hands on as **options has these defaults, too
        asked = {key: value for key, (value, default) in common.items() if key in named or value != default}
        return built(name, kind, {**asked, **options})
    if isinstance(kind, ImageLoss) and not options and (kind.reduction, kind.from_logits) == (reduction, from_logits):
        return kind  # with its facts, what it learns from the training part, and its schedule
    if not from_logits:
        raise ValueError(f"{name} is a loss of one's own and is called with logits: from_logits must be True")
    return AdaptedLoss(callable_loss(name, options), reduction=reduction)


def built(name: str, kind: Callable[..., Any], options: dict[str, Any]) -> Any:
    """What a class or function makes of these options, or a ValueError in one line."""
    check_options(name, kind, options)
    try:
        return kind(**options)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{name} cannot be built with these options: {in_one_line(error)}") from None


def takes(name: str, option: str) -> bool:
    """Whether the loss named module:attribute has this option by name, beside what it is called with."""
    found = imported(name)
    try:
        return option in [*inspect.signature(found).parameters][0 if inspect.isclass(found) else 2 :]
    except (TypeError, ValueError):
        return False


def check_options(name: str, kind: Callable[..., Any], options: dict[str, Any]) -> None:
    """Raise ValueError for an option that the callable does not take, with the nearest one that it does."""
    try:
        parameters = inspect.signature(kind).parameters
    except (TypeError, ValueError):  # some that are written in C have no signature
        return
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    for option in options:
        if option not in parameters:
            has = f"{nearest(option, parameters)} It has {', '.join(parameters)}" if parameters else "; it has none"
            raise UnknownOptionError(f"{name} has no option {option!r}{has}")


def in_one_line(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), 'no message')}"
