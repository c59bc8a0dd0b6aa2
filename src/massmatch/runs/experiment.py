"""What is trained, on what, how: one value that names its own folder."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from massmatch.data import Cohort, Split, split
from massmatch.errors import RunError, UsageError, refusals_as_usage
from massmatch.losses import LossSpec, in_one_spelling, make_loss
from massmatch.losses.call import last_activation
from massmatch.losses.origin import origin
from massmatch.losses.own import built, imported, refuse_unseen_weights
from massmatch.models import MODELS, Network
from massmatch.models.blocks import require_width
from massmatch.runs.options import TrainingOptions
from massmatch.runs.start import settled

MAX_NAME = 240  # bytes; file systems take 255
PEAK = {"constant": 1e-4, "one-cycle": 2e-3}  # section 4.1; what a width-8 AU-Net learned fastest with
# The fields of version 0.1: all of them count in a run's name. A later option counts where it is not at its default, so
# that runs keep their names when an option is added.
# fmt: off
FIRST = {
    "cohort", "fingerprint", "loss", "model", "width", "scheme", "folds", "seed", "epochs", "batch_size", "optimizer",
    "schedule", "learning_rate", "precision", "memory", "threads", "threshold",
}
# fmt: on


class Experiment(BaseModel, TrainingOptions):
    """One network trained with one loss; with a fold, one run. Further fields and their defaults: `TrainingOptions`.

    Raises pydantic's ValidationError for a value that cannot be; `experiment_on` says the same in our words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cohort: str  # folder name
    fingerprint: str  # of the cohort's images and masks
    start_sha256: str | None = None  # of the file of weights that `start` names
    own_code: str | None = None  # version and source digest of a loss or network of one's own, module:attribute

    @model_validator(mode="before")
    @classmethod
    def fill_in(cls, fields: Any) -> Any:
        """Add what follows from others: the learning rate from the schedule, `own_code`, and the digest of `start`."""
        if not isinstance(fields, dict):
            return fields
        known = {name: of.default for name, of in cls.model_fields.items()} | fields
        rate = {"learning_rate": PEAK.get(known["schedule"])} if "learning_rate" not in fields else {}
        code = {"own_code": own_code(known["loss"], known["model"])} if "own_code" not in fields else {}
        start = settled(known["start"]) if "start" in fields and "start_sha256" not in fields else {}
        return {**fields, **{name: value for name, value in (rate | code | start).items() if value is not None}}

    @field_validator("loss", "model")
    @classmethod
    def spelt_in_one_way(cls, text: str) -> str:
        """One loss, or network, makes one run, however its options are ordered and spelt."""
        return in_one_spelling(text)

    @field_validator("patience")
    @classmethod
    def not_with_one_cycle(cls, patience: int, info: ValidationInfo) -> int:
        """Refuse to end a training early whose last epochs, at a falling learning rate, gain most."""
        if patience and info.data.get("schedule") == "one-cycle":
            raise ValueError("must be 0 with schedule one-cycle, whose last epochs gain most")
        return patience

    @property
    def digest(self) -> str:
        """8 hex digits over all fields that matter. One that is not in FIRST counts where it is used."""
        first = FIRST | {name for name, of in type(self).model_fields.items() if getattr(self, name) != of.default}
        fields = self.model_dump(include=first)
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]

    def folder(self, runs: Path, fold: int) -> Path:
        """Where the run of one fold lives. It is never hidden, even if its cohort is: nothing would find it."""
        loss, model = (text.replace(":", "+").replace("/", "-") for text in (self.loss, self.model))
        before, after = f"{self.cohort.lstrip('.')}_{model}-w{self.width}_{loss}", f"_seed{self.seed}_{self.digest}"
        kept = before.encode()[: MAX_NAME - len(after)].decode(errors="ignore")  # the digest tells the cut ones apart
        return runs / (kept + after) / f"fold{fold}"


def experiment_on(cohort: Cohort, **options: Any) -> Experiment:
    """The experiment on a cohort with the options of `TrainingOptions` that are given.

    Raises UsageError, with a line for each mistake, for an unknown option, loss or network, or a value that cannot be.
    """
    if unknown := sorted(options.keys() - TrainingOptions.__annotations__.keys()):
        near = get_close_matches(unknown[0], TrainingOptions.__annotations__, 1, cutoff=0.0)[0]
        raise UsageError(f"unknown option {unknown[0]!r}; did you mean {near!r}?")
    refuse_unused_folds(options)
    with refusals_as_usage():
        refuse_probabilities(make_loss(options.get("loss", TrainingOptions.loss)))
        refuse_model(options.get("model", TrainingOptions.model))
        experiment = Experiment(cohort=cohort.name, fingerprint=cohort.fingerprint, **options)
        refuse_model(experiment.model, experiment.width, "width" in options)
    return experiment


def refuse_unused_folds(options: Mapping[str, Any]) -> None:
    """Raise UsageError for a number of folds beside a scheme that divides the patients once."""
    if "folds" in options and (scheme := options.get("scheme")) in ("split", "official"):
        raise UsageError(
            f"folds: scheme {scheme} divides the patients once, so that a number of folds says nothing: leave it out"
        )


def own_code(loss: str, model: str) -> str | None:
    """Where a loss and a network of one's own come from, or None where both are of the catalogue.

    Raises ValueError for what cannot be imported.
    """
    names = [spec.name for spec in (LossSpec.parse(str(loss)), LossSpec.parse(str(model))) if spec.is_own]
    return "; ".join(f"{name} of {origin(name)}" for name in names) or None


def refuse_probabilities(loss: nn.Module) -> None:
    """Raise UsageError for a loss with `from_logits=False`: networks are trained, measured and used by their logits."""
    if not getattr(loss, "from_logits", True):
        raise UsageError(
            "loss: from_logits must be true here, since networks return logits, of which validation and prediction "
            "take the sigmoid: leave from_logits out, and the last activation of a network of your own, too"
        )


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
    """Raise UsageError for a network that needs more than images, or an image before it knows its weights."""
    if lazy := next((part for part, value in network.state_dict(keep_vars=True).items() if is_lazy(value)), None):
        raise UsageError(
            f"{name} has weights without a size until it sees an image ({lazy}), which no optimiser can take: give its "
            "layers the number of channels that they read, as in nn.Conv2d in place of nn.LazyConv2d"
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
            _refuse_activations(network, network.forward(inputs[0][:1]))
            network.train()

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


def parts_of(experiment: Experiment, cohort: Cohort, fold: int) -> Split:
    """Which images train, choose and are measured in this run."""
    scheme, folds, seed = experiment.scheme, experiment.folds, experiment.seed
    return split(cohort.table, cohort.mass_fraction, scheme=scheme, fold=fold, folds=folds, seed=seed)
