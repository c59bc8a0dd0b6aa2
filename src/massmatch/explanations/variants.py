"""The losses that one image can be seen through: the one that was asked for, with other switches and other cores."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NamedTuple

from torch import Tensor

from massmatch.errors import UsageError, refusals_as_usage
from massmatch.losses import (
    CORES,
    ImageLoss,
    LossSpec,
    SoftMatchingLoss,
    SpatialMatchingLoss,
    VariantName,
    WholeImageLoss,
)

WEIGHTINGS = {"b": (False, False), "s": (True, False), "d": (False, True), "sd": (True, True)}  # scale, distance
AGGREGATIONS = {"a": False, "nz": True}
OF_GRID = ("cell_size", "cell_statistic", "cell_rounding", "min_cell", "distance_unit")
SHOWN_CORES = ("bce", "tversky", "dice", "hybrid")  # the paper's, and that of its baselines


class Variant(NamedTuple):
    """One of the losses that the same image can be seen through; `weighting` "none" is the core alone, "soft" its
    soft form."""

    core: str
    weighting: str = "none"
    aggregation: str = "a"

    @property
    def name(self) -> str:
        """The name of the loss, as `massmatch losses` lists it."""
        if self.weighting == "soft":
            return "soft-sm" if self.core == "hybrid" else f"soft-sm:core={self.core}"
        return self.core if self.weighting == "none" else VariantName(*self).text


@dataclass(frozen=True)
class Family:
    """A loss that was asked for, and its variants: the same options with other switches and cores."""

    spec: str
    asked: Variant
    cores: dict[str, Callable[..., Tensor]]
    options: dict[str, Any]  # of the grid
    soft: dict[str, Any]  # of the soft form, beside those of the grid that it has too

    def variants(self) -> Iterator[Variant]:
        """All of them: each core alone, then with every pair of switches."""
        for core in self.cores:
            yield Variant(core)
            yield from (Variant(core, weighting, to) for weighting in WEIGHTINGS for to in AGGREGATIONS)
            yield Variant(core, "soft")

    def loss(self, variant: Variant) -> SpatialMatchingLoss | SoftMatchingLoss:
        """The loss of a variant, for probabilities. The core alone has a grid that weighs nothing."""
        core = self.cores[variant.core]
        if variant.weighting == "soft":
            of_grid = {name: value for name, value in self.options.items() if name in OF_GRID}
            return SoftMatchingLoss(core, **of_grid, **self.soft, from_logits=False).eval()
        if variant.weighting == "none":
            return SpatialMatchingLoss(core, **{**self.options, "grid_weight": 0.0}, from_logits=False)
        switches: dict[str, Any] = {**VariantName(*variant).switches, **self.options}
        return SpatialMatchingLoss(core, **switches, from_logits=False)


def family(spec: str) -> Family:
    """The loss of a specification such as "sm-tversky-s-a:cell_statistic=mean", with its variants.

    Raises UsageError for an unknown name or option, and for a loss that can neither be cut into cells nor be the core
    of one that can.
    """
    with refusals_as_usage():
        asked = LossSpec.parse(spec).canonical()
        loss, options = asked.make(), dict(asked.options)
    core, switches = _core_and_switches(loss, spec)
    if asked.is_own:  # its text need not say what it was made with
        options = _made_with(loss, spec)
        of_core = {name: getattr(core, name) for name in _options(type(core))}
    else:
        of_core = {name: options.pop(name) for name in _options(type(core)) & options.keys()}
    cores: dict[str, Callable[..., Tensor]] = {name: _core(name, of_core) for name in SHOWN_CORES}
    own = next(name for name, make in CORES.items() if make is type(core))
    soft = {}
    if isinstance(loss, SoftMatchingLoss):
        soft = {name: options.pop(name) for name in list(options) if name not in OF_GRID and name != "core"}
        options.pop("core", None)
    return Family(spec, Variant(own, *switches), {**cores, own: core}, options, soft)


def _core_and_switches(loss: ImageLoss, spec: str) -> tuple[Any, tuple[str, str] | tuple[str] | tuple[()]]:
    if isinstance(loss, SpatialMatchingLoss | SoftMatchingLoss) and type(loss.core) not in CORES.values():
        raise UsageError(
            f"the core of {spec} is none of {', '.join(CORES)}, so its cells cannot be shown beside theirs"
        )
    if isinstance(loss, SpatialMatchingLoss):
        weighting = next(name for name, pair in WEIGHTINGS.items() if pair == (loss.scale, loss.distance))
        return loss.core, (weighting, "nz" if loss.nonzero else "a")
    if isinstance(loss, SoftMatchingLoss):
        return loss.core, ("soft",)
    if isinstance(loss, WholeImageLoss) and type(loss.core) in CORES.values():
        return loss.core, ()
    raise UsageError(
        f"loss {spec} has no cells: only the sm-... losses and soft-sm have, and {', '.join(CORES)}, which can be "
        "their core, can be shown on their grid; give one of them with --loss, such as --loss sm-tversky-s-a"
    )


def _made_with(loss: ImageLoss, spec: str) -> dict[str, Any]:
    """The arguments of a loss of one's own that is one of ours, but for its core and its switches.

    Raises UsageError for a class that changes what ours computes: the ledger would be that of ours.
    """
    kind = next(each for each in (SpatialMatchingLoss, SoftMatchingLoss, WholeImageLoss) if isinstance(loss, each))
    above = type(loss).__mro__[: type(loss).__mro__.index(kind)]
    names = {name for each in above for name in vars(each) if hasattr(kind, name)} - {"_abc_impl"}  # of every class
    if changed := sorted(name for name in names if name == "__call__" or not name.startswith("__")):
        raise UsageError(
            f"{spec} has a {' and a '.join(changed)} of its own, and what is shown would be that of {kind.__name__}: "
            "give a loss of the catalogue with --loss"
        )
    switches = {"scale", "distance", "nonzero"} if kind is SpatialMatchingLoss else set()
    apart = {"core", "reduction", "from_logits"} | switches
    return {name: getattr(loss, name) for name in inspect.signature(kind).parameters if name not in apart}


def _options(core: Any) -> set[str]:
    return {field.name for field in fields(core)} if is_dataclass(core) else set()


def _core(name: str, options: dict[str, Any]) -> Callable[..., Tensor]:
    """A core, with those of the options that it has."""
    return CORES[name](**{key: value for key, value in options.items() if key in _options(CORES[name])})
