"""The reader "folder": images with masks, as people keep them, also beside each other as in BUSI."""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from massmatch.data.cohort import PATHS
from massmatch.data.dicom import is_dicom, read_header, refuse_modality_without_dicom
from massmatch.data.dicom_patient import Patients, id_without_name, names_patient
from massmatch.data.errors import DataError
from massmatch.data.images import DICOM_ENDINGS, IMAGE_ENDINGS
from massmatch.data.open import licence_of
from massmatch.data.preprocessing.frame import Frame
from massmatch.data.readers.listing import Item, Listing, inside, is_data, named, relative
from massmatch.data.readers.pair import read_pair
from massmatch.data.table import other_form, read_facts, refuse_one_gap_as_patient
from massmatch.errors import UsageError

BESIDE = re.compile(r"(?P<stem>.+?)_mask(_\d+)?")  # benign (4)_mask_1; never a glob: names hold brackets
SUFFIX = re.compile(r"(?P<stem>.+?)(?P<mark>_mask(_\d+)?|_seg|_gt)")
NO_IMAGE = "no image by its name"
NO_ENDING = "is DICOM, but its name does not end in .dcm, by which it is known here: rename it"
FOLDER = "is a folder, in which no images are looked for: move its files up"
LINK = "is a link to a folder, which is not followed: copy its files into the source"
NOT_READ = (".bmp", ".gif", ".webp", ".jp2", ".tga", ".pgm", ".npy", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
TABLES = (".xlsx", ".xls", ".xlsm", ".ods", ".tsv", ".numbers")
NO_PATIENTS = (
    "{}: each image counts as a patient of its own, so that images of one woman may stand in training and test at once"
)
# Columns that `prepare` writes itself.
WRITTEN = {"spacing_source", "chest_side", *PATHS, *Frame.__annotations__.keys() - {"rows", "cols"}}


def folder(
    source: Path,
    *,
    allow_outside_root: bool = False,
    allow_for_processing: bool = False,
    modality: str = "MG",
    keep_names: bool = False,
) -> Listing:
    """Images and masks of the same names.

    Either in `images/` and `masks/`, where a mask may end in `_mask`, `_seg`, `_gt` or `_mask_1`; or beside each other
    in any folders, with `_mask`, `_mask_1`, ... behind the image's name (then the folder becomes a column). Several
    masks of an image are several masses. Images are PNG, TIFF, JPEG or DICOM; one csv in the source may give facts
    (`folder.py`).

    Args:
        source: the folder.
        allow_outside_root, allow_for_processing, modality: see `inside` and `read_dicom`.
        keep_names: keep names of DICOM files that hold the patient's name; else such an image is named by a hash.

    Raises UsageError for a missing source, DataError for a csv that is wrong, or no images at all.
    """
    if not source.is_dir():
        raise UsageError(f"no such folder: {source}")
    faults: dict[str, str] = {}
    left_out: dict[str, str] = {}
    how = {"allow_for_processing": allow_for_processing, "modality": modality}
    apart = _folders(source)
    if {"images", "masks"} <= apart.keys():
        images, masks = _apart(source, apart["images"], apart["masks"], faults, left_out)
    else:
        images, masks = _beside(source, faults, left_out)
    faults |= {file: f"{file}: {why}" for file, why in left_out.items() if why == NO_ENDING}
    if not images:
        if faults:
            raise DataError(min(faults.values()))
        raise DataError(
            f"{source.name}: must hold images and masks ({', '.join((*IMAGE_ENDINGS, *DICOM_ENDINGS))}), but holds none"
            f"{_endings(left_out)}: see docs/data.md"
        )
    if not images.keys() & masks.keys():
        raise DataError(
            f"{source.name}: no image has a mask: masks must have the names of their images, in masks/ and images/ "
            "directly in this folder, or lie beside them with _mask behind the name, but there are "
            f"{named(_one_of_each_folder(source))}: rename files or folders, give the folder that holds images/ and "
            f"masks/, or add masks, all black for images without mass{other_form(images, masks)}"
        )
    refuse_modality_without_dicom(modality, map(str, images.values()))
    remarks = _unread(source)
    table = _table(source, images, remarks)
    items, patients = [], Patients()
    for id, path in sorted(images.items()):
        file = relative(source, path)
        try:
            _check_files(source, [path, *masks.get(id, [])], allow_outside_root)
            if id not in masks:
                raise DataError(
                    f"{file}: no mask of this name (one without mass is all black): add it{other_form([id], masks)}"
                )
            _refuse_other_hands(source, masks[id])
            items.append(_item(source, id, path, masks[id], table.get(id), how, keep_names, patients))
        except DataError as error:
            faults[file] = str(error)
    for id in masks.keys() - images.keys():
        file = relative(source, masks[id][0])
        faults[file] = f"{file}: no image of this name: add it, or remove the mask{other_form([id], images)}"
    without = [item for item in items if (table.get(item.id) or {}).get("patient") is None]
    pictures = [item for item in without if not item.files[0].lower().endswith(DICOM_ENDINGS)]
    return Listing(
        source,
        items,
        licence_of(source),
        faults=faults,
        skipped={file: f"{file}: {why}" for file, why in left_out.items() if why not in (NO_IMAGE, NO_ENDING)},
        left_out={file: why for file, why in left_out.items() if why == NO_IMAGE},
        remarks=[*remarks, *([NO_PATIENTS.format("no column `patient`")] if pictures else []), *patients.remarks()],
        summary=f"{len(items)} images with {sum(len(masks[id]) for id in images if id in masks)} mask files",
        names=None if keep_names else frozenset(patients.names),
    )


# --- files -----------------------------------------------------------------------------------------------------------


def _apart(
    source: Path, images: Path, masks: Path, faults: dict[str, str], left_out: dict[str, str]
) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    found: dict[str, Path] = {}
    for path in _sorted(images):
        if not _is_image(path, source, left_out):
            continue
        if path.stem in found:
            file = relative(source, path)
            faults[file] = f"{file}: {relative(source, found[path.stem])} has the same id, {path.stem!r}: rename one"
        else:
            found[path.stem] = path
    parts: dict[str, list[Path]] = {}
    for path in _sorted(masks):
        if _is_image(path, source, left_out):
            match = SUFFIX.fullmatch(path.stem)
            stem = path.stem if path.stem in found or match is None else match["stem"]
            parts.setdefault(stem, []).append(path)
    return found, parts


def _beside(
    source: Path, faults: dict[str, str], left_out: dict[str, str]
) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    found: dict[tuple[Path, str], Path] = {}
    parts: dict[tuple[Path, str], list[Path]] = {}
    for path in _walk(source):
        if path.parent == source and path.suffix.lower() in (".csv", ".txt", ".md", ".json"):
            continue
        if not _is_image(path, source, left_out):
            continue
        if (match := BESIDE.fullmatch(path.stem)) is not None:
            parts.setdefault((path.parent, match["stem"]), []).append(path)
        elif (other := found.get((path.parent, path.stem))) is not None:
            file = relative(source, path)
            faults[file] = f"{file}: {relative(source, other)} has the same id, {path.stem!r}: rename one"
        else:
            found[path.parent, path.stem] = path
    stems = [stem for _, stem in found]
    ids = {
        key: key[1] if stems.count(key[1]) == 1 else f"{relative(source, key[0]).replace('/', '-')}-{key[1]}"
        for key in {*found, *parts}
    }
    images: dict[str, Path] = {}
    for key, path in found.items():
        if (other := images.setdefault(ids[key], path)) is not path:  # x/a.png is x-a where y/a.png is there, too
            file = relative(source, path)
            faults[file] = f"{file}: {relative(source, other)} has the same id, {ids[key]!r}: rename one"
    own = {key for key in parts if images.get(ids[key]) in (None, found.get(key))}
    for path in (path for key in parts.keys() - own - found.keys() for path in parts[key]):
        file = relative(source, path)
        faults[file] = f"{file}: no image of this name beside it: add it, or remove the mask"
    return images, {ids[key]: paths for key, paths in parts.items() if key in own}


def _folders(source: Path) -> dict[str, Path]:
    """The folders in the source by their names in small letters. DataError where two differ in capitals only."""
    found: dict[str, Path] = {}
    for path in _sorted(source):
        if path.is_dir() and (other := found.setdefault(path.name.casefold(), path)) is not path:
            raise DataError(f"{path.name}: {other.name} differs in capitals only: put their files into one folder")
    return found


def _sorted(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_data(path))


def _walk(folder: Path) -> Iterator[Path]:
    """All files below, and links to folders, which are not followed."""
    for path in _sorted(folder):
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def _is_image(path: Path, source: Path, left_out: dict[str, str]) -> bool:
    if path.suffix.lower() in (*IMAGE_ENDINGS, *DICOM_ENDINGS):
        return True
    if path.is_dir():
        left_out[f"{relative(source, path)}/"] = LINK if path.is_symlink() else FOLDER
        return False
    is_directory = path.name.casefold() == "dicomdir"  # a table of contents, as archives write it beside their images
    if not is_directory and path.is_file() and os.access(path, os.R_OK) and is_dicom(path):
        left_out[relative(source, path)] = NO_ENDING
        return False
    ending = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]).lower()
    left_out[relative(source, path)] = f"{ending} is not read: convert it to PNG" if ending in NOT_READ else NO_IMAGE
    return False


def _one_of_each_folder(source: Path) -> list[str]:
    """The first image or mask of each folder below the source."""
    first: dict[Path, str] = {}
    for path in _walk(source):
        if path.suffix.lower() in (*IMAGE_ENDINGS, *DICOM_ENDINGS):
            first.setdefault(path.parent, relative(source, path))
    return [*first.values()]


def _endings(left_out: dict[str, str]) -> str:
    """The endings of the files that were not taken, for a message."""
    found = sorted({Path(file).suffix.lower() for file in left_out} - {""})
    return f" (there are files that end in {', '.join(found)})" if found else ""


def _check_files(source: Path, paths: list[Path], allow_outside: bool) -> None:
    """DataError for links that lead nowhere or out, and for files that may not be read."""
    for path in paths:
        inside(source, path.relative_to(source), allow_outside=allow_outside)
        if not os.access(path, os.R_OK):
            raise DataError(f"{relative(source, path)}: may not be read: give yourself the right to read it")


def _refuse_other_hands(source: Path, masks: list[Path]) -> None:
    """DataError for files that say the same of one image, as two people or programs drew it: they are no two masses.

    Those of several masses are called `_mask` (or as the image is), `_mask_1`, `_mask_2`, ...
    """
    marks = [match["mark"] if (match := SUFFIX.fullmatch(path.stem)) else "_mask" for path in masks]
    if len({mark.split("_")[1] for mark in marks}) > 1 or len(set(marks)) < len(marks):
        first, *others = (relative(source, path) for path in masks)
        raise DataError(
            f"{first}: there is {named(others)}, too, for the same image: keep one of them (several masses of an image "
            "are called _mask_1, _mask_2, ...)"
        )


# --- facts -----------------------------------------------------------------------------------------------------------


def _table(source: Path, images: dict[str, Path], remarks: list[str]) -> dict[str, dict[str, Any]]:
    """What the csv knows of each image. DataError where its rows and the images differ."""
    files = [path for path in _sorted(source) if path.suffix.lower() == ".csv"]
    if not files:
        return {}
    if len(files) > 1:
        raise DataError(f"{named([p.name for p in files])}: there must be at most one csv: move the others away")
    paths = {relative(source, path): id for id, path in images.items()}
    stems = {str(PurePosixPath(path).with_suffix("")): id for path, id in paths.items()}
    table = read_facts(files[0], files={**paths, **stems, **{id: id for id in images}})
    refuse_one_gap_as_patient(files[0], table)
    if alone := set(table["id"]) ^ images.keys():
        like = other_form(images, set(table["id"]))
        raise DataError(
            f"{files[0].name}: must have one row per image, but rows and images differ in {named(alone)}{like}"
        )
    rows = without_written(files[0], table, remarks).to_dict("records")
    return {row["id"]: {str(k): None if pd.isna(v) else v for k, v in row.items()} for row in rows}


def without_written(path: Path, table: pd.DataFrame, remarks: list[str]) -> pd.DataFrame:
    """The table without columns that `prepare` writes itself, which are remarked on."""
    if (written := sorted(WRITTEN & set(table))) and not (path.parent / "cohort.json").is_file():
        remarks.append(f"{path.name}: `prepare` writes {', '.join(written)} itself: rename these columns to keep them")
    return table.drop(columns=written)


def _unread(source: Path) -> list[str]:
    """A remark on tables that are no csv, where there is none."""
    files = _sorted(source)
    tables = [path.name for path in files if path.suffix.lower() in TABLES and not path.name.startswith("~")]
    is_told = tables and not any(path.suffix.lower() == ".csv" for path in files)
    return [f"{named(tables)}: is not read: save it as csv (docs/data.md says which columns)"] if is_told else []


def _item(
    source: Path,
    id: str,
    image: Path,
    masks: list[Path],
    row: dict[str, Any] | None,
    how: dict[str, Any],
    keep_names: bool,
    patients: Patients,
) -> Item:
    """The item of an image; its patient is noted."""
    file = relative(source, image)
    known = dict(row or {})
    patient = known.pop("patient", None)
    header = read_header(source, file, pixels=False) if image.suffix.lower() in DICOM_ENDINGS else None
    if header is not None:
        patient = patients.of(header, file, patient)
        id = id if keep_names else id_without_name(header, id)
    known.pop("id", None)
    of_patient = header is not None and not keep_names and names_patient(header, relative(source, image.parent))
    if image.parent.name.casefold() != "images" and image.parent != source and not of_patient:
        known.setdefault("folder", relative(source, image.parent))
    names = [relative(source, path) for path in masks]
    patient = str(patient or id)
    read = partial(read_pair, source, id, patient, file, names, known, how)
    csv = [path.name for path in _sorted(source) if path.suffix.lower() == ".csv"]  # another one gives other facts
    return Item(id, patient, (file, *names, *csv), read)
