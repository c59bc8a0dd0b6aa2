"""What is said of data that are not as they must be."""

from massmatch.errors import DataError


class CohortError(DataError):
    """The data are not as they must be; the message begins with the file, relative to the cohort or the source."""


class DataWarning(UserWarning):
    """Something about a file or an image that one should know; the text begins with its path or id."""
