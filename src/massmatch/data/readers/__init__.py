"""Readers: each lists the images of a dataset as it is on disk, before any pixel is read."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any

from massmatch.data.readers.cbis_ddsm.reader import cbis_ddsm
from massmatch.data.readers.folder import folder
from massmatch.data.readers.inbreast.reader import inbreast
from massmatch.data.readers.listing import Listing
from massmatch.data.readers.monai import monai
from massmatch.data.readers.nnunet import nnunet
from massmatch.errors import UsageError

# What `massmatch prepare` reads, by name; each has options of its own. Phantoms are made, not read: `phantoms`.
READERS: dict[str, Callable[..., Listing]] = {
    "inbreast": inbreast,
    "cbis-ddsm": cbis_ddsm,
    "folder": folder,
    "nnunet": nnunet,
    "monai": monai,
}


def reader_named(name: str) -> Callable[..., Listing]:
    """The reader of that name. Raises UsageError, which says the nearest name, for one that is not there."""
    if name in READERS:
        return READERS[name]
    near = get_close_matches(name, READERS, 1)
    raise UsageError(
        f"unknown reader {name!r}{f', did you mean {near[0]}?' if near else ''}; there are {', '.join(READERS)}"
    )


def every_option() -> set[str]:
    """The names of the options that some reader has."""
    return {name for read in READERS.values() for name in [*signature(read).parameters][1:]}


def accepted_options(reader: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, each of which this reader has. Raises UsageError, which names it, for another."""
    for name in options:
        if name not in signature(READERS[reader]).parameters:
            raise UsageError(f"--{name.replace('_', '-')}: the reader {reader} has no such option: leave it out")
    return dict(options)
