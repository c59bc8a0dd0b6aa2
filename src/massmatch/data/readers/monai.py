"""The reader "monai": a datalist in the form of the Medical Segmentation Decathlon, as MONAI takes it."""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from massmatch.data.dicom import read_header, refuse_modality_without_dicom
from massmatch.data.dicom_patient import Patients, id_without_name
from massmatch.data.errors import DataError, named
from massmatch.data.images import DICOM_ENDINGS
from massmatch.data.masks import to_instances
from massmatch.data.open import licence_of
from massmatch.data.readers.folder import NO_PATIENTS
from massmatch.data.readers.listing import Item, Listing, forward, inside, relative
from massmatch.data.readers.nnunet import mass_value, masses_of
from massmatch.data.readers.pair import Take, read_pair
from massmatch.data.table import NOBODY, our_name, spelt_in_several_ways, whole
from massmatch.errors import UsageError

PARTS = {"training": "train", "validation": "validation", "test": "test"}
PATIENT = ("patient", "patient_id")
READ = ("image", "label", "fold", *PATIENT)  # of an entry


def monai(
    source: Path,
    *,
    label: str | None = None,
    allow_outside_root: bool = False,
    allow_for_processing: bool = False,
    modality: str = "MG",
    keep_names: bool = False,
) -> Listing:
    """List the images of `training`, `validation` and `test` that have a label; paths are relative to the JSON.

    `fold` becomes the column `monai_fold`, and where images of `test` have labels, the part the column `split`. An
    entry may say `patient` (or `patient_id`). Where the datalist has `labels` (names by number, as the Decathlon has
    them), one of them is the mass; otherwise a mask has one value, or numbers its masses 1, 2, ...

    Args:
        source: the datalist, or the folder that holds it alone.
        label: the name of the label that is the mass; not needed if there is one, or one called mass.
        allow_outside_root, allow_for_processing, modality: see `inside` and `read_dicom`.
        keep_names: keep names of DICOM files that hold the patient's name; else such an image is named by a hash.

    Raises UsageError for a missing source, DataError for what is no datalist.
    """
    path = _json(source)
    root = path.parent
    content = _content(path)
    take = _take(content, label, path.name)
    listed = [(part, entry) for part in PARTS for entry in content.get(part, [])]
    has_test = any(part == "test" and isinstance(entry, dict) and entry.get("label") for part, entry in listed)
    how = {"allow_for_processing": allow_for_processing, "modality": modality}
    items, faults, left_out, patients = [], dict[str, str](), dict[str, str](), Patients()
    for number, (part, entry) in enumerate(listed):
        name = entry if isinstance(entry, str) else entry.get("image") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            key = f"{path.name}: entry {number + 1} of {part}"
            faults[key] = f"{key}: must name an image, but is {str(entry)[:60]!r}: mend it"
            continue
        if isinstance(entry, str) or entry.get("label") is None:
            left_out[name] = "has no label"
            continue
        known = {"split": PARTS[part]} if has_test else {}
        try:
            item = _item(root, entry, known, allow_outside_root, how, take, keep_names, patients)
            items.append(replace(item, files=(*item.files, path.name)))
        except DataError as error:
            faults[name] = str(error)
    refuse_modality_without_dicom(modality, [file for item in items for file in item.files])
    _refuse_spellings(items, path.name)
    pictures = [item for item in items if item.patient == item.id and not item.files[0].lower().endswith(DICOM_ENDINGS)]
    unread = {
        str(key) for _, entry in listed if isinstance(entry, dict) for key in entry if our_name(str(key)) not in READ
    }
    remarks = [f"{path.name}: entries hold what is not read: {named(unread)}"] if unread else []
    if others := [key for key, value in content.items() if isinstance(value, list) and value and key not in PARTS]:
        remarks.append(f"{path.name}: lists that are not read: {named(others)} (read are {', '.join(PARTS)})")
    remarks += [*([NO_PATIENTS.format("entries without `patient`")] if pictures else []), *patients.remarks()]
    summary = f"{len(items)} images with labels, {len(left_out)} without"
    licence = str(content.get("licence") or content.get("license") or licence_of(root))
    names = None if keep_names else frozenset(patients.names)
    return Listing(
        root, items, licence, faults=faults, left_out=left_out, remarks=remarks, summary=summary, names=names
    )


def _refuse_spellings(items: list[Item], file: str) -> None:
    """DataError where entries name one patient in several ways, who might stand in training and test at once."""
    patients = pd.Series({item.files[0]: item.patient for item in items if item.patient != item.id}, dtype=object)
    several = patients[spelt_in_several_ways(patients)] if len(patients) else patients
    if len(several):
        raise DataError(
            f"{file}: patient must be spelt in one way (entries differ in zeros in front, in .0 behind, in "
            f"capitals, or in forms of Unicode), but is {several.iloc[0]!r} for {named(several.index.tolist())}: "
            "mend these entries"
        )


def _json(source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise UsageError(f"no such file or folder: {source}")
    found = sorted(source.glob("*.json"))
    if len(found) != 1:
        raise DataError(f"{source.name}: must hold one datalist, but has {len(found)} json files: name the file itself")
    return found[0]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{path.name}: cannot be read as JSON ({error}): mend it") from None
    lists = content if isinstance(content, dict) else {}
    if not any(part in lists for part in PARTS) or not all(isinstance(lists.get(part, []), list) for part in PARTS):
        raise DataError(f"{path.name}: must be a datalist with a list `training`, but is none: see docs/data.md")
    return lists


def _take(content: dict[str, Any], label: str | None, file: str) -> Take:
    """How the masses are taken from a mask: by the declared labels, where there are any."""
    named = content.get("labels")
    if named is None:
        if label is not None:
            raise DataError(f"{file}: has no `labels` (names by number), so --label {label} names none: add them")
        return to_instances
    try:
        declared = {str(name): int(number) for number, name in named.items()}
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"{file}: labels must be names by number, but are {str(named)[:60]}: mend them") from None
    declared = {"background" if number == 0 else name: number for name, number in declared.items()}
    value = mass_value({"background": 0, **declared}, label, file)
    return partial(masses_of, value=value, declared={0, *declared.values()}, where=file)


def _item(
    root: Path,
    entry: dict[str, Any],
    known: dict[str, Any],
    allow_outside: bool,
    how: dict[str, Any],
    take: Take,
    keep_names: bool,
    patients: Patients,
) -> Item:
    """The item of an entry; its patient is noted."""
    if not isinstance(entry["label"], str) or not entry["label"]:
        raise DataError(f"{entry['image']}: label must be the path of a mask, but is {entry['label']!r}: mend it")
    image, mask = (
        relative(root, inside(root, forward(entry[name]), allow_outside=allow_outside)) for name in ("image", "label")
    )
    for file in (image, mask):
        if file.lower().endswith((".nii", ".nii.gz")):
            raise DataError(f"{file}: must be PNG, TIFF, JPEG or DICOM, but is NIfTI: convert it")
        if not (root / file).is_file():
            raise DataError(f"{file}: no such file: add it, or remove the entry")
    id = Path(image).stem
    if not _is_gap(fold := entry.get("fold")):
        known = {**known, "monai_fold": _whole_number(fold, image)}
    said = {patient for key, value in entry.items() if our_name(key) in PATIENT and (patient := _patient(value, image))}
    if len(said) > 1:
        raise DataError(f"{image}: must have one patient, but has {' and '.join(sorted(said))}: mend the entry")
    patient = said.pop() if said else None
    if image.lower().endswith(DICOM_ENDINGS):
        header = read_header(root, image, pixels=False)
        patient = patients.of(header, image, patient)
        id = id if keep_names else id_without_name(header, id)
    read = partial(read_pair, root, id, patient or id, image, [mask], known, how, take)
    return Item(id, patient or id, (image, mask), read)


def _whole_number(value: Any, image: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
        raise DataError(f"{image}: fold must be a whole number or null, but is {value!r}: mend it")
    return int(value)


def _is_gap(value: Any) -> bool:
    """Whether an entry says nothing: null, or the NaN that pandas makes of it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _patient(value: Any, image: str) -> str | None:
    """The patient of an entry as text: 7, 7.0 and "7.0" are one, and null, NaN and texts such as unknown are none."""
    if _is_gap(value):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{image}: patient must be a text or a number, but is {value!r}: mend it")
    text = whole(str(value))
    return None if text.casefold() in NOBODY else text
