"""A loss written in one line of text, as on the command line and in plans: name:option=value,option=value.

    make_loss("sm-tversky-s-a:cell_statistic=mean,smooth=0.1")  # a loss of the catalogue
    make_loss("my_module:MyLoss:gamma=2,probabilities=true")    # one's own: see `own.py`

Values are true, false, null, numbers, words, and pairs of sizes such as 8x16.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .base import ImageLoss
from .catalogue import LOSSES
from .own import own_loss

WORDS = {"true": True, "false": False, "null": None}


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
        """
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
        """Whether it names a loss of one's own, module:attribute, and none of the catalogue."""
        return ":" in self.name

    def make(self, **more: Any) -> ImageLoss:
        """The loss; `more` are arguments besides, such as `reduction`.

        Raises:
            ValueError: for an unknown name (with the nearest one), an option that the loss does not have, or a value
                that it refuses.
        """
        if self.is_own:
            return own_loss(self.name, **self.options, **more)
        return LOSSES[self.name](**self.options, **more)


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
        raise ValueError(f"options of a loss are written name:option=value,option=value; {text!r} has {part!r}")
    if set(value) & set("[](){}'\""):
        raise ValueError(
            f"loss {text!r}: option {name}={value} cannot be read; a pair of sizes is written 8x16, without brackets"
        )
    return name, _read(value)


def _read(text: str) -> Any:
    """The value that a text stands for."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if re.fullmatch(r"\d+(x\d+)+", text):
        return tuple(int(side) for side in text.split("x"))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def text_of(value: Any) -> str:
    """The text that stands for a value."""
    for word, meant in WORDS.items():
        if value is meant:
            return word
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
