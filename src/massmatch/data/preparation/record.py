"""What cohort.json says of single files, without the names that their DICOM headers give the patients."""

import json
from pathlib import Path
from typing import Any

from massmatch.data.dicom import is_dicom, read_header
from massmatch.data.dicom_patient import id_without_name
from massmatch.data.errors import DataError
from massmatch.data.readers.listing import Listing


def without_names(told: dict[str, Any], listing: Listing) -> dict[str, Any]:
    """Texts about files of a dataset, with twelve digits in place of each part of a path that names its patient.

    The screen names the files, since somebody has to find them; a cohort, which is handed on, does not.
    """
    text = json.dumps(told, ensure_ascii=False)
    images = {file: item.files[0] for item in listing.items for file in item.files}
    images |= {file: file for file in (*listing.faults, *listing.skipped, *listing.left_out)}
    for file in sorted(images, key=len, reverse=True):  # a.dcm may be the end of another one's path
        if (spelt := json.dumps(file, ensure_ascii=False)[1:-1]) in text:
            text = text.replace(spelt, json.dumps(_path(listing.root, file, images[file]), ensure_ascii=False)[1:-1])
    return dict(json.loads(text))


def _path(root: Path, file: str, image: str) -> str:
    """The path of a file, which belongs to an image. A header that cannot be read tells no name to look for."""
    try:
        header = read_header(root, image, pixels=False) if is_dicom(root / image) else None
    except (OSError, DataError):
        return file
    return file if header is None else "/".join(id_without_name(header, part) for part in file.split("/"))
