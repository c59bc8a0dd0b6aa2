"""What is said of data that are not as they must be. A message begins with the file, relative to cohort or source."""

from collections.abc import Collection

from massmatch.errors import DataError

__all__ = ["DataError", "DataWarning", "named"]

NAMED = 5  # so many files are named in one message, the rest counted


class DataWarning(UserWarning):
    """Something about a file or an image that one should know; the text begins with its path or id."""


def named(names: Collection[str]) -> str:
    """The first few names in the order of the alphabet, and how many more there are."""
    first = ", ".join(sorted(names)[:NAMED])
    return first if len(names) <= NAMED else f"{first} and {len(names) - NAMED} more ({len(names)} in all)"
