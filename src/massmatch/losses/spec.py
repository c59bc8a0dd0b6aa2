"""A loss written in one line of text, as on the command line and in plans: name:option=value,option=value.

    make_loss("sm-tversky-s-a:cell_statistic=mean,smooth=0.1")  # a loss of the catalogue
    make_loss("my_module:MyLoss:gamma=2,probabilities=true")    # one's own: see `own.py`

Values are true, false, null, numbers, words, and pairs of sizes such as 8x16.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .base import ImageLoss
from .catalogue import LOSSES
from .checks import article
from .own import own_loss

WORDS = {"true": True, "false": False, "null": None}
LONGEST = 1e15  # up to here a float holds every whole number, and is printed with all its digits


@dataclass(frozen=True)
class LossSpec:
    """What such a text says: the name of a loss, or module:attribute of one's own, and its options.

    Printing it gives the text again, so that `LossSpec.parse(str(spec)) == spec`.

        LossSpec.parse("soft-sm:random_phase=true").options  # {"random_phase": True}
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "LossSpec":
        """The specification that a text holds. Whether there is such a loss is not asked here.

        Raises:
            ValueError: for what is not of the form of this module.
            TypeError: for anything but a text.
        """
        if not isinstance(text, str):
            raise TypeError(
                "a loss or network is named by a text, such as 'focal:gamma=3' or 'my_module:MyNet', but not by "
                f"{article(text)}"
            )
        name, _, options = text.partition(":")
        attribute, _, rest = options.partition(":")
        if name not in LOSSES and attribute and "=" not in attribute:
            name, options = f"{name}:{attribute}", rest
        pairs = [_option(part, text) for part in options.split(",") if part]
        if len(twice := [name for name, _ in pairs]) != len(set(twice)):
            raise ValueError(f"{text!r} gives an option twice: {', '.join(twice)}")
        return cls(name, dict(pairs))

    def __str__(self) -> str:
        return f"{self.name}:{self.option_text}" if self.options else self.name

    @property
    def option_text(self) -> str:
        """The options alone, as a=1,b=2."""
        return ",".join(f"{name}={text_of(value)}" for name, value in self.options.items())

    @property
    def is_own(self) -> bool:
        """Whether it names a loss of one's own, by module and attribute, and none of the catalogue."""
        return ":" in self.name

    def canonical(self) -> "LossSpec":
        """The same in the one spelling by which runs are named: options by name, numbers short, no value twice.

        Of a loss of the catalogue, options at their default are left out, and 1.0 is 1. One's own may tell 1 from 1.0,
        and its defaults may change without a word, so that its options are put in order only.

            LossSpec.parse("focal:gamma=3.0,alpha=0.25").canonical()  # LossSpec("focal", {"gamma": 3})
        """
        ordered = dict(sorted(self.options.items()))
        if self.is_own or self.name not in LOSSES:
            return LossSpec(self.name, ordered)
        defaults = {option.name: _short(option.default) for option in LOSSES[self.name].options()}
        short = {name: _short(value) for name, value in ordered.items()}
        return LossSpec(self.name, {k: v for k, v in short.items() if k not in defaults or not _same(v, defaults[k])})

    def make(self, **more: Any) -> ImageLoss:
        """The loss; `more` are arguments besides, such as `reduction`.

        Raises:
            ValueError: for an unknown name (with the nearest one), an option that the loss does not have, or a value
                that it refuses.
        """
        if twice := sorted(self.options.keys() & more.keys()):
            raise ValueError(f"{str(self)!r} gives {', '.join(twice)}, which must not be given beside it once more")
        if self.is_own:
            return own_loss(self.name, dict(self.options), **more)
        entry = LOSSES[self.name]
        words = {option.name for option in entry.options() if isinstance(option.default, str)}
        said = {k: text_of(v) for k, v in self.options.items() if k in words and isinstance(v, bool)}  # the word "true"
        return entry(**{**self.options, **said}, **more)


def in_one_spelling(text: str) -> str:
    """A text that names a loss, or a network, in the one spelling that all texts of the same meaning share.

        in_one_spelling("soft-sm:random_phase=TRUE,stray=0.50")  # "soft-sm:random_phase=true"

    Raises ValueError for what cannot be read.
    """
    return str(LossSpec.parse(text).canonical())


def make_loss(text: str, **more: Any) -> ImageLoss:
    """The loss of a text such as "soft-sm:random_phase=true", ready for `loss(logits, target)`.

    Args:
        text: name:option=value,option=value; the names are the keys of `LOSSES`.
        more: arguments besides, such as `reduction` and `from_logits`.

    Raises:
        ValueError: for an unknown name (with the nearest one), an option that the loss does not have, or a value that
            it refuses.

    Example:
        loss = make_loss("sm-tversky-s-a:cell_statistic=mean,cell_size=8x8", reduction="none")
    """
    return LossSpec.parse(text).make(**more)


def _option(part: str, text: str) -> tuple[str, Any]:
    name, equals, value = part.partition("=")
    if not equals:
        raise ValueError(
            f"options are written name:option=value,option=value; {text!r} has {part!r}; a module of one's "
            "own that is called like a loss must get another name"
        )
    if set(value) & set("[](){}'\""):
        raise ValueError(
            f"{text!r}: option {name}={value} cannot be read; a pair of sizes is written 8x16, without brackets; for a "
            "list, or a text in quotes, derive a class of your own that sets it"
        )
    return name, _read(value)


def _read(text: str) -> Any:
    """The value that a text stands for."""
    if text == "None":  # as Python has it; "none" is a word, as in reduction=none
        return None
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if re.fullmatch(r"\d+(x\d+)+", text):
        return tuple(int(side) for side in text.split("x"))
    for kind in (int, float):
        try:
            return text if "_" in text else kind(text)  # Python would read 0_5 as 5
        except ValueError:
            continue
    return text


def _short(value: Any) -> Any:
    """A number without fraction as an int, and equal sides as one, as they are written shortest; others as they are."""
    if isinstance(value, list | tuple) and len({*value}) == 1:
        return value[0]  # 8x8 is 8 of both axes
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < LONGEST else value


def _same(one: Any, other: Any) -> bool:
    """Whether two values mean the same in a text: there, true is not 1, and the word true is a word too."""
    return text_of(one) == text_of(other)


def text_of(value: Any) -> str:
    """The text that stands for a value."""
    value = value.item() if isinstance(value, np.generic) else value
    for word, meant in WORDS.items():
        if value is meant:
            return word
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
