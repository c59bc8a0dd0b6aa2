"""The network of a run: one of the catalogue, or a class of one's own, named module:Class."""

import inspect
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from massmatch.errors import RunError, UsageError
from massmatch.losses import LossSpec
from massmatch.losses.call import last_activation
from massmatch.losses.own import built, imported, refuse_unseen_weights
from massmatch.models import MODELS, Network
from massmatch.models.blocks import require_width
from massmatch.runs.checkpoint import fit_into
from massmatch.runs.precision import arranged

LOADED_APART = 1e-3  # in a probability; the order of additions changes it by a thousandth of that


def refuse_model(text: str, width: int | None = None, asked: bool = False) -> None:
    """Raise ValueError for an unknown network, a width that it cannot have, or a class of one's own that is none.

    Networks of the catalogue, which may be large, are not built for it; those of one's own once the width is known.
    `asked`: whether somebody asked for this width, which a network without one refuses.
    """
    spec = LossSpec.parse(text)
    if spec.is_own:
        if width is not None:
            make_model(text, width)
            kind = imported(spec.name)
            if asked and "width" not in arguments_of(kind, width):
                handed = any(each.kind is each.VAR_KEYWORD for each in inspect.signature(kind).parameters.values())
                raise UsageError(
                    f"width: {spec.name} has no argument of this name, so that {width} would change nothing: leave out "
                    "--width (or the recipe that sets it), or give the network this argument"
                    + (f" (what its **kwargs hand on is an option: {spec.name}:width={width})" if handed else "")
                )
    else:
        require_width(width or 0, network_of(text).width_step)


def make_model(text: str, width: int) -> nn.Module:
    """A network with one input channel and one logit per pixel.

    Args:
        text: a name of `MODELS`, or a class of one's own as module:Class or module:Class:option=value, which is called
            with what `arguments_of` says. It returns logits, or a list of them, the main one first.
        width: channels of the first level, of a network of one's own only where it has an argument of this name.

    Raises:
        ValueError: for an unknown name (with the nearest one), or a class that cannot be built.
    """
    spec = LossSpec.parse(text)
    if not spec.is_own:
        return network_of(text)(1, 1, width)
    kind = imported(spec.name)
    if not inspect.isclass(kind) or not issubclass(kind, nn.Module):
        raise UsageError(f"{spec.name} must be a class derived from torch.nn.Module, but is {kind!r}")
    asked = arguments_of(kind, width)
    if "width" in asked.keys() & spec.options.keys():
        raise UsageError(f"{text}: the width of a network is an option of its own: --width {spec.options['width']}")
    network: nn.Module = built(spec.name, kind, {**asked, **spec.options})
    _refuse_other_calls(spec.name, network)
    refuse_unseen_weights(spec.name, network)
    network.register_forward_hook(_require_logits)
    _look_outside_of_training(network)
    return network


def _refuse_other_calls(name: str, network: nn.Module) -> None:
    """Raise UsageError for a network that needs more than images, or an image before it knows its weights; for one
    without weights, and one with a state that is no tensor.
    """
    if lazy := next((part for part, value in network.state_dict(keep_vars=True).items() if is_lazy(value)), None):
        raise UsageError(
            f"{name} has weights without a size until it sees an image ({lazy}), which no optimiser can take: give its "
            "layers the number of channels that they read, as in nn.Conv2d in place of nn.LazyConv2d"
        )
    if not any(each.requires_grad for each in network.parameters()):
        raise UsageError(f"{name} has no weights that can be learned: give it layers, or let one learn (requires_grad)")
    if strange := [part for part, value in network.state_dict().items() if not isinstance(value, Tensor)]:
        raise UsageError(
            f"{name} keeps {strange[0]}, which is no tensor, so that no file of weights can hold it: keep it as a "
            "buffer (register_buffer), in the place of get_extra_state"
        )
    if isinstance(network, torch.jit.ScriptModule):  # its forward does not tell what it takes
        return
    try:
        inspect.signature(network.forward).bind("images")
    except TypeError as error:
        raise UsageError(
            f"{name} is called with the images alone: give what else its forward takes a default ({error})"
        ) from None


def arguments_of(kind: type[nn.Module], width: int) -> dict[str, int]:
    """What a network of one's own is called with beside its options: a channel in, one out, and the width, by name.

    Channels are `in_channels` and `out_channels`. A network that lacks one of them gets 1 for those of its first two
    arguments that have no default, whatever they are called, unless one is `width`. A class that hands on all that it
    gets (`*args`) is asked for the arguments of its base; one that has `**kwargs` alone is not, since it may set them
    itself, or take them and use none.
    """
    ways = (list(inspect.signature(each.__init__).parameters.values())[1:] for each in kind.__mro__)  # type: ignore[misc]
    own = next((way for way in ways if not any(each.kind is each.VAR_POSITIONAL for each in way)), [])
    names = {each.name for each in own}
    first = [each.name for each in own[:2] if each.kind is each.POSITIONAL_OR_KEYWORD and each.default is each.empty]
    if {"in_channels", "out_channels"} <= names or "width" in first:
        first = []
    known = {"in_channels": 1, "out_channels": 1, "width": width}
    return dict.fromkeys(first, 1) | {name: value for name, value in known.items() if name in names}


def _require_logits(network: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> Any:
    """What a network of one's own returned, several outputs as a list; outside of training, the main one alone.

    Raises RunError for anything but logits of its images, and in training for those from which nothing is learned.
    What went through a sigmoid is none: as a logit it is above 0, or below for a logarithm, whatever the image shows.
    """
    name, wanted = type(network).__name__, (inputs[0].shape[0], 1, *inputs[0].shape[2:])
    several = output if isinstance(output, (list, tuple)) else [output]
    for each in several or [output]:
        if not isinstance(each, Tensor) or each.shape != wanted:
            came = tuple(each.shape) if isinstance(each, Tensor) else f"a {type(each).__name__}"
            raise RunError(
                f"the network {name} must return logits of the shape {wanted}, or a list of such with the main one "
                f"first, but returned {came}: mend its forward"
            )
    if network.training and torch.is_grad_enabled() and not several[0].requires_grad:
        raise RunError(
            f"the output of the network {name} carries no gradient, so nothing can be learned: it must have weights, "
            "and its forward must not detach, round or compare"
        )
    if network.training:
        _refuse_activations(network, several)
    return list(several) if network.training and output is several else several[0]


def _look_outside_of_training(network: nn.Module) -> None:
    """Have the first step of a training look at what a network returns outside of it: many take a sigmoid there."""

    def look(network: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if network.training and torch.is_grad_enabled():
            handle.remove()
            network.eval()
            with torch.random.fork_rng():  # one that draws numbers here, too, shall not shift those of the training
                found = network.forward(inputs[0][:1])
            _refuse_activations(network, found)
            network.train()
            if isinstance(found, (list, tuple)) and len(found) > 1:
                warnings.warn(
                    f"the network {type(network).__name__} returns {len(found)} outputs outside of training, too, of "
                    "which the first is taken for its prediction: if the main one is another, return it first",
                    RuntimeWarning,
                    stacklevel=2,
                )

    handle = network.register_forward_hook(look)


def _refuse_activations(network: nn.Module, output: Any) -> None:
    """Raise RunError for an output that went through a sigmoid or its like, or a list in which one did."""
    several = output if isinstance(output, (list, tuple)) else [output]
    for activation in filter(None, (last_activation(each) for each in several if isinstance(each, Tensor))):
        when = "" if network.training else " outside of training"
        raise RunError(
            f"the network {type(network).__name__} ends in a {activation}{when}, but must return logits, of which "
            "loss, validation and prediction take the sigmoid themselves: leave out its last activation"
        )


def network_of(name: str) -> Network:
    """The entry of the catalogue. ValueError for an unknown name, with the nearest one."""
    try:
        return MODELS[name]
    except KeyError as error:
        raise UsageError(str(error)) from None


def refuse_lost_state(text: str, width: int, network: nn.Module, images: Tensor, memory: str = "contiguous") -> None:
    """Raise RunError for a network of one's own that finds something else once its weights are loaded anew.

    It keeps what it has learned outside of them: a number, a plain tensor, or a buffer with `persistent=False`. What
    it finds in `images` (B, 1, H, W), outside of training, is compared with what a new one finds with its weights, in
    the same layout in `memory`. What is no number is left to the validation.
    """
    network.eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(-1)  # no run has this seed: numbers that were drawn when it was built count as lost, too
        again = arranged(make_model(text, width).to(images.device).eval(), memory)
        if {id(each) for each in again.parameters()} & {id(each) for each in network.parameters()}:
            raise RunError(
                f"the network {text} takes layers that all networks of its class share, so that each training would "
                "begin where the last one ended: make them when it is built"
            )
        fit_into(again, network.state_dict(), text)
        found = []
        for each in (network, again):
            torch.manual_seed(0)  # one that draws numbers when it predicts, draws the same ones
            found.append(each(images).float().sigmoid())
    apart = float((found[0] - found[1]).abs().max())
    if found[0].isfinite().all() and not apart <= LOADED_APART:
        raise RunError(
            f"the network {text} finds something else once its weights are loaded anew (probabilities differ by up to "
            f"{apart:.2g}), so no file of weights could hold it: it changes a number or a tensor that its state_dict "
            "has not; keep it as a buffer (register_buffer)"
        )
