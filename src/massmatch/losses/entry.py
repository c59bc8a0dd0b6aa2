"""What the catalogue says of a loss: how it is built, where it comes from, and how much of it is published."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from .base import ImageLoss, WholeImageLoss

COMMON = ("reduction", "from_logits")  # arguments of every loss, which no specification on the command line holds
FIDELITIES = ("exact", "adapted", "reconstruction", "ours")


class VariantName(NamedTuple):
    """What the name of one of the paper's 24 losses says: its core, and its switches in the letters of Tables 1 and 3.

    `weighting` is "b", "s", "d" or "sd" (basic, scale, distance, both), `aggregation` "a" or "nz" (the mean over all
    cells, or over those with predicted or true mass).

        VariantName("tversky", "s", "a").text  # "sm-tversky-s-a"
    """

    core: str
    weighting: str
    aggregation: str

    @property
    def text(self) -> str:
        """The name itself: sm-<core>-<weighting>-<aggregation>."""
        return f"sm-{self.core}-{self.weighting}-{self.aggregation}"

    @property
    def switches(self) -> dict[str, bool]:
        """The arguments of `SpatialMatchingLoss` that these letters stand for."""
        weighting = self.weighting
        return {"scale": "s" in weighting, "distance": "d" in weighting, "nonzero": self.aggregation == "nz"}


class Option(NamedTuple):
    """An option of a loss: its name, its default, and its meaning in a few words."""

    name: str
    default: Any
    meaning: str


@dataclass(frozen=True)
class Entry:
    """A loss of the catalogue. Called with options, it builds the loss; those of loss and core may be mixed.

    Args:
        name: in the catalogue and on the command line.
        build: the class of the loss.
        source: the paper or system that it comes from.
        fidelity: how close it is to its source; begins with one of `FIDELITIES`.
        line: what it is, in one line.
        core: the class of the core loss that it is built around, where the name says which.
        fixed: the arguments that the name decides.
        variant: what the name of one of the paper's 24 losses says.

    Raises:
        UnknownOptionError: for an option that the loss does not have, with the nearest one and all that it has.

    Example:
        LOSSES["focal"](gamma=3)
    """

    name: str
    build: Callable[..., ImageLoss]
    source: str
    fidelity: str
    line: str
    core: type | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    variant: VariantName | None = None

    def __call__(self, **options: Any) -> ImageLoss:
        """The loss with these options."""
        allowed = [option.name for option in self.options()]
        for name in options:
            if name not in (*allowed, *COMMON):
                has = f"{nearest(name, allowed)} It has {', '.join(allowed)}" if allowed else "; it has none"
                raise UnknownOptionError(f"loss {self.name} has no option {name!r}{has}")
        if self.core is None:
            return self.build(**self.fixed, **options)
        of_core = {name: options.pop(name) for name in inspect.signature(self.core).parameters if name in options}
        return self.build(self.core(**of_core), **self.fixed, **options)

    @property
    def is_core(self) -> bool:
        """Whether it can stand in the cells of the Spatial Matching loss."""
        return self.build is WholeImageLoss

    @property
    def is_reconstruction(self) -> bool:
        """Whether its details could not be read anywhere, so that a result says nothing about its authors' system."""
        return self.fidelity.startswith("reconstruction")

    @property
    def description(self) -> str:
        """What the docstring of the loss, or of its core where it is that alone, says before its list of arguments."""
        about = self.core if self.is_core else self.build
        return re.split(r"\n\n(?:Args|Raises|Example):", inspect.getdoc(about) or "")[0]

    def options(self) -> list[Option]:
        """The options that its name does not decide, in alphabetical order."""
        decided = {*self.fixed, *COMMON, *(["core"] if self.core else [])}
        classes = [self.build, *([self.core] if self.core else [])]
        found = [option for each in classes for option in options_of_class(each) if option.name not in decided]
        return sorted(found)


def options_of_class(cls: Any) -> Iterator[Option]:
    """The arguments of a class with their defaults, and their meaning where the "Args:" of its docstring have it."""
    said = meanings(cls)
    for name, parameter in inspect.signature(cls).parameters.items():
        yield Option(name, parameter.default, said.get(name, ""))


def meanings(cls: type) -> dict[str, str]:
    """What the "Args:" of the docstrings of a class and of those it inherits from say of each argument."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        _, _, args = inspect.cleandoc(each.__dict__.get("__doc__") or "").partition("Args:\n")
        block = re.split(r"\n(?=\S)", args, maxsplit=1)[0]
        for names, text in re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {5,}.*)*)", block, re.M):
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found


class UnknownOptionError(TypeError, ValueError):
    """An option that a loss does not have: a TypeError as for any call, and a ValueError as for any wrong setting."""


class UnknownNameError(KeyError, ValueError):
    """A name that the catalogue does not have."""

    def __str__(self) -> str:
        """The message without the quotes that KeyError puts around it."""
        return str(self.args[0])


class Catalogue(dict[str, Entry]):
    """The losses by name. A name that is not there raises UnknownNameError, which says the nearest one."""

    def __missing__(self, name: object) -> Entry:
        raise UnknownNameError(
            f"unknown loss {name!r}{nearest(str(name), self)} `massmatch losses` lists all {len(self)}"
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """What follows a name that is not known: a question that gives the nearest of those that are, or a full stop."""
    near = get_close_matches(name.lower(), list(known), 1, cutoff=0.4)  # below it, alpha would be taken for fp_weight
    return f"; did you mean {near[0]!r}?" if near else "."
