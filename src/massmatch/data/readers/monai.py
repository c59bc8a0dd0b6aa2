"""The reader "monai": a datalist in the form of the Medical Segmentation Decathlon, as MONAI takes it."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from massmatch.data.errors import CohortError
from massmatch.data.folder import licence_of
from massmatch.data.readers.folder import DICOM, NO_PATIENTS, read_pair
from massmatch.data.readers.listing import Item, Listing, inside, relative
from massmatch.errors import UsageError

PARTS = {"training": "train", "validation": "validation", "test": "test"}
PATIENT = ("patient", "patient_id")


def monai(source: Path, *, allow_outside_root: bool = False, allow_for_processing: bool = False) -> Listing:
    """The images of `training`, `validation` and `test` that have a label; paths are relative to the JSON's folder.

    `fold` becomes the column `monai_fold`, and where images of `test` have labels, the part the column `split`. An
    entry may say `patient` (or `patient_id`).

    Raises FileNotFoundError for a missing source, CohortError for what is no datalist.
    """
    path = _json(source)
    root = path.parent
    content = _content(path)
    listed = [(part, entry) for part in PARTS for entry in content.get(part, [])]
    has_test = any(part == "test" and isinstance(entry, dict) and "label" in entry for part, entry in listed)
    items, faults, left_out = [], dict[str, str](), dict[str, str]()
    for number, (part, entry) in enumerate(listed):
        name = entry if isinstance(entry, str) else entry.get("image") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            key = f"{path.name}: entry {number + 1} of {part}"
            faults[key] = f"{key}: must name an image, but is {str(entry)[:60]!r}: mend it"
            continue
        if isinstance(entry, str) or "label" not in entry:
            left_out[name] = "has no label"
            continue
        try:
            items.append(_item(root, part, entry, has_test, allow_outside_root, allow_for_processing))
        except CohortError as error:
            faults[name] = str(error)
    remarks = [NO_PATIENTS] if any(item.patient == item.id for item in items) else []
    summary = f"{len(items)} images with labels, {len(left_out)} without"
    return Listing(root, items, _licence(content, root), faults, left_out, remarks, summary)


def _json(source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise UsageError(f"no such file or folder: {source}")
    found = sorted(source.glob("*.json"))
    if len(found) != 1:
        raise CohortError(
            f"{source.name}: must hold one datalist, but has {len(found)} json files: name the file itself"
        )
    return found[0]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise CohortError(f"{path.name}: cannot be read as JSON ({error}): mend it") from None
    lists = content if isinstance(content, dict) else {}
    if not any(part in lists for part in PARTS) or not all(isinstance(lists.get(part, []), list) for part in PARTS):
        raise CohortError(f"{path.name}: must be a datalist with a list `training`, but is none: see docs/data.md")
    return lists


def _item(
    root: Path, part: str, entry: dict[str, Any], has_test: bool, allow_outside: bool, allow_for_processing: bool
) -> Item:
    image, mask = (
        relative(root, inside(root, entry[name], allow_outside=allow_outside)) for name in ("image", "label")
    )
    for file in (image, mask):
        if file.lower().endswith((".nii", ".nii.gz")):
            raise CohortError(f"{file}: must be PNG, TIFF, JPEG or DICOM, but is NIfTI: convert it")
        if not (root / file).is_file():
            raise CohortError(f"{file}: no such file: add it, or remove the entry")
    id = Path(image).stem
    patient = next((str(entry[name]) for name in PATIENT if entry.get(name)), None)
    known: dict[str, Any] = {"split": PARTS[part]} if has_test else {}
    if "fold" in entry:
        known["monai_fold"] = int(entry["fold"])
    if patient is None and image.lower().endswith(DICOM):
        from massmatch.data.dicom import patient_key, read_header

        patient = patient_key(read_header(root, image, pixels=False))
    read = partial(read_pair, root, id, patient or id, image, [mask], known, allow_for_processing)
    return Item(id, patient or id, (image, mask), read)


def _licence(content: dict[str, Any], root: Path) -> str:
    return str(content.get("licence") or content.get("license") or licence_of(root))
