"""The errors that a user can mend: the command line shows them in one line. Any other is a fault of massmatch.

Each message names the file or argument, what was expected, what came, and what to do.

    >>> from massmatch.errors import DataError
    >>> raise DataError("masks/a.png: must be grey, but is in colour: convert it")
    Traceback (most recent call last):
    massmatch.errors.DataError: masks/a.png: must be grey, but is in colour: convert it
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar


class MassmatchError(Exception):
    """Any error that a user can mend. `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 1


class UsageError(MassmatchError, ValueError):
    """An argument or an option is wrong: an unknown name, an impossible value, a folder that is not what was asked for.

    It is a ValueError too, which callers in Python expect of a wrong argument.
    """

    exit_code = 2


class DataError(MassmatchError, ValueError):
    """The data are not as they must be; the message begins with the file. It is a ValueError too."""

    exit_code = 3


class RunError(MassmatchError, RuntimeError):
    """A training, prediction or report could not be finished, although it was asked for correctly."""

    exit_code = 1


@contextmanager
def refusals_as_usage() -> Iterator[None]:
    """Turn the ValueError or TypeError with which something refuses a user's word into a UsageError.

    `massmatch.losses` can be lifted out and knows no errors of ours: this stands around what is made of a user's words,
    such as `make_loss(text)`. Of pydantic's ValidationError each mistake becomes a line.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        mistakes = [_line(each) for each in error.errors()] if hasattr(error, "errors") else [str(error)]
        raise UsageError("\n".join(mistakes)) from error


def _line(mistake: dict[str, Any]) -> str:
    """One mistake of a ValidationError: the field, what was expected, what came; or what is wrong with all fields."""
    expected = mistake["msg"].removeprefix("Value error, ")
    return f"{mistake['loc'][0]}: {expected}, but is {mistake['input']!r}" if mistake["loc"] else expected
