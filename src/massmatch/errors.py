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
        if not hasattr(error, "errors"):
            raise UsageError(str(error)) from error
        lines = (f"{field}: {said}" if field else said for field, said in mistakes(error))
        raise UsageError("\n".join(lines)) from error


def mistakes(error: Any) -> list[tuple[str, str]]:
    """Of pydantic's ValidationError each field with what was expected and what came, in the words of our messages.

    What is wrong with several fields together has an empty name. A field that may be of several kinds, and is of none,
    has a mistake for each of them there, and one here.
    """
    expected: dict[tuple[str, str], list[str]] = {}
    for each in error.errors():
        field = str(each["loc"][0]) if each["loc"] else ""
        said = each["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
        came = f", but is {each['input']!r}" if field else ""
        expected.setdefault((field, came), []).append(said.replace("Input should be", "must be"))
    return [
        (field, " or ".join([said[0], *(each.removeprefix("must be ") for each in said[1:])]) + came)
        for (field, came), said in expected.items()
    ]
