"""Readers: each lists the images of a dataset as it is on disk, before any pixel is read."""

from collections.abc import Callable

from massmatch.data.readers.cbis_ddsm.reader import cbis_ddsm
from massmatch.data.readers.folder import folder
from massmatch.data.readers.inbreast.reader import inbreast
from massmatch.data.readers.listing import Listing
from massmatch.data.readers.monai import monai
from massmatch.data.readers.nnunet import nnunet

# What `massmatch prepare` reads, by name; each has options of its own. Phantoms are made, not read: `phantoms`.
READERS: dict[str, Callable[..., Listing]] = {
    "inbreast": inbreast,
    "cbis-ddsm": cbis_ddsm,
    "folder": folder,
    "nnunet": nnunet,
    "monai": monai,
}
