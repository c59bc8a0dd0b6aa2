"""Opening cohorts: a prepared one, or any pair of folders `images/` and `masks/` with one optional csv of facts."""

import json
import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError
from scipy import ndimage

from massmatch.data.cohort import COLUMNS, UNFINISHED, Cohort
from massmatch.data.dicom import is_dicom
from massmatch.data.errors import DataError, DataWarning, named
from massmatch.data.images import IMAGE_ENDINGS, levels, misfit, read_labels, read_size, refuse_long
from massmatch.data.masks import BLOCKS, BLURRED, SQUARE, are_blurred, in_blocks
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.data.table import SPACING, other_form, read_facts, refuse_one_gap_as_patient
from massmatch.errors import UsageError

MASK_ENDINGS = (".png", ".tif", ".tiff")  # JPEG blurs the edge of a mask
MOST_LABELS = 64  # not stated anywhere: labels may have gaps up to here; beyond, they must be 1, 2, ..., n


def open_cohort(path: Cohort | Path | str) -> Cohort:
    """The cohort in a folder: a prepared one, or else any pair of folders images/ and masks/ (docs/data.md).

    A cohort that is open already is given back.

    Raises UsageError for a missing folder, DataError for one that is not as it must be.
    """
    if isinstance(path, Cohort):
        return path
    root = Path(path)
    if root.is_file():
        datalist = ": `massmatch prepare monai` makes one of a datalist" if root.suffix == ".json" else ""
        raise UsageError(f"{root} is a file, but a cohort is a folder{datalist}")
    if not root.is_dir():
        raise UsageError(f"no such folder: {root}")
    if (root / UNFINISHED).exists():
        raise DataError(
            f"{UNFINISHED}: the writing of {root} was interrupted (or is still going on); if no writer is at work, "
            "remove the folder and prepare it again"
        )
    if missing := [folder for folder in ("images", "masks") if not (root / folder).is_dir()]:
        raise DataError(
            f"{missing[0]}/: no such folder in {root}; a cohort has images/ and masks/: what a release or an archive "
            "holds becomes one by `massmatch prepare` (docs/data.md says of which datasets)"
        )
    if not (root / "cohort.json").is_file():
        return read_folder(root)
    facts = read_json(root)
    if not (root / "samples.csv").is_file():
        raise DataError(f"samples.csv: must lie beside cohort.json in {root}, but is missing: prepare it again")
    table = read_table(root, root / "samples.csv")
    if len(table) != facts["images"]:
        raise DataError(f"samples.csv: must have the {facts['images']} rows of cohort.json, but has {len(table)}")
    return Cohort(root, table, facts["masks"], facts["licence"], _preprocessing(facts))


def _preprocessing(facts: dict[str, Any]) -> Preprocessing | None:
    """What cohort.json says was done to the images. DataError for what this version does not know."""
    if (done := facts.get("preprocessing")) is None:
        return None
    try:
        return Preprocessing.from_record(done)
    except ValidationError:
        raise DataError(f"cohort.json: preprocessing must be as this version writes it, but is {done}") from None


def read_json(root: Path) -> dict[str, Any]:
    """cohort.json. DataError if it is damaged."""
    needed = {"reader", "options", "images", "masks", "licence"}
    try:
        facts = json.loads((root / "cohort.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"cohort.json: cannot be read ({error}): remove {root} and prepare it again") from None
    if not isinstance(facts, dict) or needed - facts.keys():
        raise DataError(f"cohort.json: must hold {', '.join(sorted(needed))}: remove {root} and prepare it again")
    if facts["masks"] not in ("instances", "binary"):
        raise DataError(f"cohort.json: masks must be 'instances' or 'binary', but is {facts['masks']!r}")
    return facts


def read_folder(root: Path) -> Cohort:
    """The cohort in `images/` and `masks/`; files of one name belong together.

    Columns of the csv: `id` (the files' name, with or without ending), `patient` or `patient_id`, `side` or
    `laterality`, `view`, `density` or `breast_density`, `spacing_row_mm`, `spacing_col_mm`; further ones are kept.
    Without a patient column every image counts as a patient of its own, with a warning. A mask with one non-zero
    value is binary, also beside masks with labels. Labels that look like a blurred edge are warned of. Hidden files
    (`.DS_Store`) do not count.

    Raises DataError for images without mask or row (and the other way round), a mask of another size than its
    image, several csv files, values that cannot be, or masks that are neither binary nor labels; nothing is skipped.
    """
    csv = _the_csv(root)
    table = read_table(root, csv).sort_values("id").reset_index(drop=True)
    if csv is not None:
        refuse_one_gap_as_patient(csv, table)
    _check_sizes(root, table)
    return Cohort(root, table, _mask_kind(root, table["mask_path"]), licence_of(root))


def read_table(root: Path, csv: Path | None) -> pd.DataFrame:
    """A row per image with all COLUMNS, `image_path` and `mask_path`, in the order of the csv."""
    images = _files(root, "images", IMAGE_ENDINGS, "convert it, or move it away")
    masks = _files(
        root, "masks", MASK_ENDINGS, "save it as PNG, from its source (`massmatch prepare` takes JPEG), or move it away"
    )
    _match(images, masks, "no mask of this name in masks/ (one without mass is all black)")
    _match(masks, images, "no image of this name in images/")
    table = _facts(csv, images)
    table["image_path"], table["mask_path"] = table["id"].map(images), table["id"].map(masks)
    return table


def _files(root: Path, folder: str, endings: tuple[str, ...], remedy: str) -> dict[str, str]:
    """Path by stem, relative to root."""
    paths = sorted(p for p in (root / folder).iterdir() if not p.name.startswith("."))
    if within := [f"{folder}/{p.name}/" for p in paths if p.is_dir()]:
        raise DataError(f"{named(within)}: is a folder, in which no files are looked for: move them up into {folder}/")
    odd = [p for p in paths if p.suffix.lower() not in endings]
    if any(os.access(p, os.R_OK) and is_dicom(p) for p in odd):
        remedy = "`massmatch prepare folder` reads DICOM, with its spacing and side, and writes a cohort"
    if odd:
        raise DataError(f"{named([f'{folder}/{p.name}' for p in odd])}: must end in {', '.join(endings)}: {remedy}")
    found: dict[str, str] = {}
    for path in paths:
        if path.stem in found:
            raise DataError(f"{folder}/{path.name}: {found[path.stem]} has the same id, {path.stem!r}: rename one")
        found[path.stem] = f"{folder}/{path.name}"
    if not found:
        raise DataError(f"{folder}/: must hold images, but is empty")
    return found


def _match(here: dict[str, str], there: Collection[str], lack: str) -> None:
    """Raise DataError that names the files whose id is not there."""
    if alone := [path for id, path in here.items() if id not in there]:
        raise DataError(f"{named(alone)}: {lack}: add it, or move the file away{other_form(here, there)}")


def _the_csv(root: Path) -> Path | None:
    files = sorted(p for p in root.iterdir() if p.suffix.lower() == ".csv" and not p.name.startswith("."))
    if len(files) > 1:
        names = named([f.name for f in files])
        raise DataError(f"{names}: there must be at most one csv, but there are {len(files)}: move the others away")
    return files[0] if files else None


def _facts(csv: Path | None, images: dict[str, str]) -> pd.DataFrame:
    """The csv's rows, or the ids alone, with the names of COLUMNS."""
    if csv is None:
        table = pd.DataFrame({"id": sorted(images)})
    else:
        table = read_facts(csv, files={id: id for id in images})
        ids = set(table["id"])
        _match(images, ids, f"no row in {csv.name}, whose `id` is a file's name")
        if alone := [id for id in ids if id not in images]:
            like = other_form(alone, images)
            raise DataError(
                f"{csv.name}: rows without a file in images/: {named(alone)}: add it, or drop the row{like}"
            )
    if "patient" not in table:
        warnings.warn(
            "no column `patient`: every image counts as a patient of its own, so that images of one woman may "
            "stand in training and test at once, which makes results look better than they are",
            UserWarning,
            stacklevel=5,  # the caller of open_cohort
        )
        table["patient"] = table["id"]
    for column in COLUMNS:
        if column not in table:
            table[column] = None
    return table


def _check_sizes(root: Path, table: pd.DataFrame) -> None:
    """DataError names the masks that have not the size of their image, and a spacing that no image has.

    Reads the files' heads alone.
    """
    wrong = {}
    for image, mask, *spacing in table[["image_path", "mask_path", *SPACING]].itertuples(index=False):
        sizes = read_size(root, image), read_size(root, mask)
        if sizes[0] != sizes[1]:
            wrong[mask] = misfit(*sizes)
        if not pd.isna(spacing[0]):
            refuse_long(image, sizes[0], (spacing[0], spacing[1]))
    if wrong:
        raise DataError(f"{named(wrong)}: {wrong[min(wrong)]}")


def _mask_kind(root: Path, paths: pd.Series) -> str:
    """ "binary" if every mask has at most one non-zero value, the cohort's own; otherwise "instances", or "labels"
    where a mask of one value lies in several pieces, which are masses of their own.
    """
    smooth: dict[str, list[int]] = {}
    lone: dict[str, list[int]] = {}
    several, single = False, []
    blurred, blocks = [], []
    for path in paths:
        labels = read_labels(root, path)
        values = levels(labels).tolist()
        if not _are_labels(values):
            (smooth if len(values) > 1 else lone)[path] = values
        elif len(values) > 1 and are_blurred(labels, path):
            blurred.append(path)
        elif values == [1] and in_blocks(labels):
            blocks.append(path)
        several = several or len(values) > 1
        single += [path] if len(values) == 1 else []
    if smooth:
        values = smooth[min(smooth)]
        raise DataError(
            f"{named(smooth)}: a mask must hold 0 and one other value, or labels 1, 2, ..., but holds "
            f"{len(values) + 1} values up to {values[-1]} (smoothed edges?): threshold it at half range"
        )
    if several and lone:
        raise DataError(
            f"{named(lone)}: other masks hold labels 1, 2, ..., but this one {lone[min(lone)][0]} alone: "
            "make all of them labels, or all of them binary"
        )
    for found, what in ((blurred, BLURRED), (blocks, BLOCKS)):
        if found:
            warnings.warn(f"{named(found)}: {what}", DataWarning, stacklevel=4)  # the caller of open_cohort
    if not several:
        return "binary"
    return "labels" if any(ndimage.label(read_labels(root, path), SQUARE)[1] > 1 for path in single) else "instances"


def _are_labels(values: list[int]) -> bool:
    """Labels count from 1; smoothed edges give many greys, and binary masks often one large value."""
    return not values or values[-1] <= max(MOST_LABELS, len(values))


def licence_of(root: Path) -> str:
    """The licence line of SOURCE.txt: the quoted sentence if there is one, otherwise its lines on the licence."""
    source = root / "SOURCE.txt"
    if not source.is_file():
        return "licence unknown (no SOURCE.txt)"
    lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    quoted = [part for part in " ".join(" ".join(lines).split()).split('"')[1::2] if "licen" in part.lower()]
    about = [line.strip() for line in lines if "licen" in line.lower()]
    return quoted[0] if quoted else " ".join(about) or "licence unknown (SOURCE.txt names none)"
