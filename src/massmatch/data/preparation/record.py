"""What cohort.json says of single files, without the names that DICOM headers give the patients."""

import json
from pathlib import Path
from typing import Any

from massmatch.data.dicom import is_dicom, read_header
from massmatch.data.dicom_patient import names_of, stands_in
from massmatch.data.errors import DataError
from massmatch.data.readers.listing import Listing


def without_names(told: dict[str, Any], listing: Listing) -> dict[str, Any]:
    """Texts about files of a dataset, without each part of a path that names a patient of it.

    The image's id, or patient-1, patient-2, ..., stands in its place. The screen names the files, since somebody has to
    find them; a cohort, which is handed on, does not. Readers that keep names (`Listing.names` is None) keep them here.
    """
    if listing.names is None:
        return told
    text = json.dumps(told, ensure_ascii=False)
    ids = {file: item.id for item in listing.items for file in item.files}
    others = sorted({*listing.faults, *listing.skipped, *listing.left_out} - ids.keys())
    names = listing.names.union(*(_names(listing.root / file) for file in others))
    put = ids | {file: f"patient-{number}" for number, file in enumerate(others, 1)}
    for file in sorted(put, key=len, reverse=True):  # a.dcm may be the end of another one's path
        if (spelt := _in_json(file)) in text:
            parts = [put[file] if stands_in(names, part) else part for part in file.split("/")]
            text = text.replace(spelt, _in_json("/".join(parts)))
    return dict(json.loads(text))


def _names(file: Path) -> frozenset[str]:
    """What names the patient of a file that is no image of the dataset; a header that cannot be read tells none."""
    try:
        if file.is_file() and is_dicom(file):
            return names_of(read_header(file.parent, file.name, pixels=False))
    except (OSError, DataError):
        pass
    return frozenset()


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
