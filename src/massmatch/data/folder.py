"""The folder reader: any pair of folders `images/` and `masks/`, with one optional csv of facts."""

import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from massmatch.data.cohort import COLUMNS, Cohort, CohortError, read_grey

ALIASES = {"patient_id": "patient", "breast_density": "density", "laterality": "side"}
SIDES = {"LEFT": "L", "RIGHT": "R", "L": "L", "R": "R"}
IMAGE_ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
MASK_ENDINGS = (".png", ".tif", ".tiff")  # JPEG blurs the edge of a mask


def read_folder(root: Path) -> Cohort:
    """The cohort in `images/` and `masks/`; files of one name belong together.

    Columns of the csv: `id` (the files' name, with or without ending), `patient` or `patient_id`, `side`, `view`,
    `density` or `breast_density`, `spacing_row_mm`, `spacing_col_mm`; further ones are kept. Without a patient
    column every image counts as a patient of its own, with a warning. A mask with one non-zero value is binary.

    Raises CohortError for images without mask or row (and the other way round), several csv files, or masks
    that are neither binary nor labels; nothing is skipped.
    """
    images, masks = (_files(root, name, e) for name, e in (("images", IMAGE_ENDINGS), ("masks", MASK_ENDINGS)))
    _same("images/", images.keys(), "masks/", masks.keys())
    table = _facts(root, images.keys())
    table["image_path"], table["mask_path"] = table["id"].map(images), table["id"].map(masks)
    kind = _mask_kind(root, table["mask_path"])
    return Cohort(root, table, kind, _licence(root))


def _files(root: Path, folder: str, endings: tuple[str, ...]) -> dict[str, str]:
    """Path by stem, relative to root."""
    if not (root / folder).is_dir():
        raise CohortError(f"{folder}/: no such folder in {root}; a cohort has images/ and masks/")
    paths = sorted(p for p in (root / folder).iterdir() if not p.name.startswith("."))
    odd = [p.name for p in paths if p.suffix.lower() not in endings]
    if odd:
        raise CohortError(f"{folder}/{odd[0]}: must end in {', '.join(endings)} ({len(odd)} such files): move it away")
    found: dict[str, str] = {}
    for path in paths:
        if path.stem in found:
            raise CohortError(f"{folder}/{path.name}: the id {path.stem!r} is there twice: rename one")
        found[path.stem] = f"{folder}/{path.name}"
    if not found:
        raise CohortError(f"{folder}/: must hold images, but is empty")
    return found


def _same(here: str, ids: Collection[str], there: str, others: Collection[str]) -> None:
    """Raise CohortError unless both places hold the same ids."""
    for a, left, b, right in ((here, ids, there, others), (there, others, here, ids)):
        only = sorted(set(left) - set(right))
        if only:
            raise CohortError(
                f"{a}: {len(only)} ids have nothing in {b}, such as {', '.join(only[:5])}: add or remove them"
            )


def _facts(root: Path, ids: Collection[str]) -> pd.DataFrame:
    """The csv's rows, or the ids alone, with the names of design.md."""
    files = sorted(root.glob("*.csv"))
    if len(files) > 1:
        raise CohortError(f"{files[1].name}: there must be at most one csv, but there are {[f.name for f in files]}")
    table = pd.DataFrame({"id": sorted(ids)})
    if files:
        table = _read_csv(files[0])
        _same("images/", ids, files[0].name, table["id"])
        table = table.sort_values("id").reset_index(drop=True)
    if "patient" not in table:
        warnings.warn(
            "no column `patient`: every image counts as a patient of its own, so that images of one woman may "
            "stand in training and test at once",
            UserWarning,
            stacklevel=4,
        )
        table["patient"] = table["id"]
    for column in COLUMNS:
        if column not in table:
            table[column] = None
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype={"id": str, "patient": str, "patient_id": str})
    table = table.rename(columns={k: v for k, v in ALIASES.items() if k in table and v not in table})
    if "id" not in table:
        raise CohortError(f"{path.name}: must have a column `id` with the files' names, but has {list(table)[:8]}")
    table["id"] = [Path(i).stem if Path(i).suffix.lower() in IMAGE_ENDINGS else i for i in table["id"]]
    if table["id"].duplicated().any():
        raise CohortError(f"{path.name}: id {table['id'][table['id'].duplicated()].iloc[0]!r} has two rows: keep one")
    if "patient" in table and table["patient"].isna().any():
        raise CohortError(f"{path.name}: {int(table['patient'].isna().sum())} rows have no patient: fill them")
    if "side" in table:
        side = table["side"].str.upper().map(SIDES)
        if (odd := side.isna() & table["side"].notna()).any():
            raise CohortError(f"{path.name}: side must be L, R, LEFT or RIGHT, but is {table['side'][odd].iloc[0]!r}")
        table["side"] = side
    return table


def _mask_kind(root: Path, paths: pd.Series) -> str:
    """ "binary" if every mask has at most one non-zero value, the cohort's own; otherwise "instances"."""
    seen: set[int] = set()
    several = False
    for path in paths:
        values = np.unique(mask := read_grey(root, path))
        values = values[values > 0]
        # Labels are few and count from 1; smoothed edges give many greys.
        if len(values) > 1 and values.max() > 64:
            raise CohortError(
                f"{path}: a mask must hold 0 and one other value, or labels 1, 2, ..., but holds {len(values) + 1} "
                f"values up to {values.max()}: threshold it at half range ({mask.shape[0]} x {mask.shape[1]})"
            )
        several = several or len(values) > 1
        seen.update(values.tolist())
    return "instances" if several else "binary"


def _licence(root: Path) -> str:
    """The licence line of SOURCE.txt: the quoted sentence if there is one, otherwise its lines on the licence."""
    source = root / "SOURCE.txt"
    if not source.is_file():
        return "licence unknown (no SOURCE.txt)"
    text = " ".join(source.read_text(encoding="utf-8").split())
    quoted = [part for part in text.split('"')[1::2] if "licen" in part.lower()]
    about = [line.strip() for line in source.read_text(encoding="utf-8").splitlines() if "licen" in line.lower()]
    return quoted[0] if quoted else " ".join(about) or "licence unknown (SOURCE.txt names none)"
