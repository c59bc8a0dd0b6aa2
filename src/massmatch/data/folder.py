"""The folder reader: any pair of folders `images/` and `masks/`, with one optional csv of facts."""

import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from massmatch.data.cohort import COLUMNS, Cohort, CohortError
from massmatch.data.images import IMAGE_ENDINGS, levels, misfit, read_labels

ALIASES = {"patient_id": "patient", "breast_density": "density", "laterality": "side"}
SIDES = {"LEFT": "L", "RIGHT": "R", "L": "L", "R": "R"}
SPACING = ("spacing_row_mm", "spacing_col_mm")
TEXT = ("id", "patient", "patient_id")
TRUTH = {"True": True, "False": False}
GAPS = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "nan", "NaN", "None", "null", "NULL")
MASK_ENDINGS = (".png", ".tif", ".tiff")  # JPEG blurs the edge of a mask
MOST_LABELS = 64  # not stated anywhere: labels may have gaps up to here; beyond, they must be 1, 2, ..., n
NAMED = 5  # so many files are named in one message, the rest counted


def read_folder(root: Path) -> Cohort:
    """The cohort in `images/` and `masks/`; files of one name belong together.

    Columns of the csv: `id` (the files' name, with or without ending), `patient` or `patient_id`, `side` or
    `laterality`, `view`, `density` or `breast_density`, `spacing_row_mm`, `spacing_col_mm`; further ones are kept.
    Without a patient column every image counts as a patient of its own, with a warning. A mask with one non-zero
    value is binary. Hidden files (`.DS_Store`) do not count.

    Raises CohortError for images without mask or row (and the other way round), a mask of another size than its
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
    masks = _files(root, "masks", MASK_ENDINGS, "save it without loss as PNG, or move it away")
    _match(images, masks, "no mask of this name in masks/ (one without mass is all black)")
    _match(masks, images, "no image of this name in images/")
    table = _facts(csv, images)
    table["image_path"], table["mask_path"] = table["id"].map(images), table["id"].map(masks)
    return table


def _named(names: Collection[str]) -> str:
    """The first few, and how many more there are."""
    first = ", ".join(sorted(names)[:NAMED])
    return first if len(names) <= NAMED else f"{first} and {len(names) - NAMED} more ({len(names)} in all)"


def _files(root: Path, folder: str, endings: tuple[str, ...], remedy: str) -> dict[str, str]:
    """Path by stem, relative to root."""
    if not (root / folder).is_dir():
        raise CohortError(f"{folder}/: no such folder in {root}; a cohort has images/ and masks/")
    paths = sorted(p for p in (root / folder).iterdir() if not p.name.startswith("."))
    if odd := [f"{folder}/{p.name}" for p in paths if p.suffix.lower() not in endings]:
        raise CohortError(f"{_named(odd)}: must end in {', '.join(endings)}: {remedy}")
    found: dict[str, str] = {}
    for path in paths:
        if path.stem in found:
            raise CohortError(f"{folder}/{path.name}: {found[path.stem]} has the same id, {path.stem!r}: rename one")
        found[path.stem] = f"{folder}/{path.name}"
    if not found:
        raise CohortError(f"{folder}/: must hold images, but is empty")
    return found


def _match(here: dict[str, str], there: Collection[str], lack: str) -> None:
    """Raise CohortError that names the files whose id is not there."""
    if alone := [path for id, path in here.items() if id not in there]:
        raise CohortError(f"{_named(alone)}: {lack}: add it, or move the file away")


def _the_csv(root: Path) -> Path | None:
    files = sorted(p for p in root.iterdir() if p.suffix.lower() == ".csv" and not p.name.startswith("."))
    if len(files) > 1:
        names = _named([f.name for f in files])
        raise CohortError(f"{names}: there must be at most one csv, but there are {len(files)}: move the others away")
    return files[0] if files else None


def _facts(csv: Path | None, images: dict[str, str]) -> pd.DataFrame:
    """The csv's rows, or the ids alone, with the names of COLUMNS."""
    if csv is None:
        table = pd.DataFrame({"id": sorted(images)})
    else:
        table = read_facts(csv)
        ids = set(table["id"])
        _match(images, ids, f"no row in {csv.name}, whose `id` is a file's name")
        if alone := [id for id in ids if id not in images]:
            raise CohortError(f"{csv.name}: rows without a file in images/: {_named(alone)}: add it, or drop the row")
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


def read_facts(path: Path) -> pd.DataFrame:
    """The rows with our names for columns and values. CohortError names the rows whose values cannot be."""
    table = _parse(path)
    table = table.rename(columns={k: v for k, v in ALIASES.items() if k in table and v not in table})
    if "id" not in table:
        raise CohortError(
            f"{path.name}: must have a column `id` with the files' names and commas between columns, "
            f"but has the columns {list(table)[:8]}"
        )
    table["id"] = [Path(i).stem if i.lower().endswith(IMAGE_ENDINGS) else i for i in table["id"]]
    _check_ids(path, table["id"])
    if "patient" in table:
        _refuse(path, table, table["patient"] == "", "patient", "filled in")
    for column, reading in VALUES.items():
        if column in table:
            _convert(path, table, column, *reading(table[column]))
    _check_spacing(path, table)
    return table


def refuse_one_gap_as_patient(path: Path, table: pd.DataFrame) -> None:
    """Raise CohortError where several rows name one patient by a text that programs write for a gap, such as NA."""
    if "patient" in table:
        gaps = table["patient"].isin(GAPS) & table["patient"].duplicated(keep=False)
        _refuse(path, table, gaps, "patient", "filled in (or left out as a column)")


def _parse(path: Path) -> pd.DataFrame:
    """The csv as it is, with ids and patients as text (007 is no number, NA no gap)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header lose values
            cells = pd.read_csv(
                path, dtype=str, keep_default_na=False, skipinitialspace=True, index_col=False, encoding="utf-8-sig"
            )
    except (ValueError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        raise CohortError(
            f"{path.name}: cannot be read as a csv ({reason}): save it with a line of column names, commas and UTF-8"
        ) from None
    return pd.DataFrame({str(name).strip(): _typed(str(name).strip(), cells[name]) for name in cells})


def _typed(name: str, cells: pd.Series) -> pd.Series:
    """Text for ids and patients; of the others, numbers or truth values where all are, with None for gaps."""
    cells = cells.str.strip().astype(object)
    if name in TEXT:
        return cells
    cells = cells.where(~cells.isin(GAPS), None)
    if set(cells.dropna()) and set(cells.dropna()) <= TRUTH.keys():
        return cells.map(TRUTH)
    number = pd.to_numeric(cells, errors="coerce")
    return number if number.notna().equals(cells.notna()) else cells


def _check_ids(path: Path, ids: pd.Series) -> None:
    if empty := int((ids == "").sum()):
        raise CohortError(f"{path.name}: rows must have an id, but {empty} have none: fill them")
    if twice := set(ids[ids.duplicated()]):
        raise CohortError(f"{path.name}: ids must have one row, but have several: {_named(twice)}: keep one of each")


def _check_spacing(path: Path, table: pd.DataFrame) -> None:
    known = table.reindex(columns=SPACING).notna()
    if half := table["id"][known[SPACING[0]] != known[SPACING[1]]].tolist():
        raise CohortError(f"{path.name}: {' and '.join(SPACING)} belong together, but {_named(half)} lack one: fill it")


def _side(column: pd.Series) -> tuple[pd.Series, str]:
    return column.map(lambda side: SIDES.get(str(side).strip().upper())), "L, R, LEFT or RIGHT"


def _view(column: pd.Series) -> tuple[pd.Series, str]:
    return column.map(lambda view: None if pd.isna(view) else str(view).strip().upper()), "a view such as CC or MLO"


def _density(column: pd.Series) -> tuple[pd.Series, str]:
    number = pd.to_numeric(column, errors="coerce")
    return number.where(number.isin([1, 2, 3, 4])), "1, 2, 3 or 4"


def _mm(column: pd.Series) -> tuple[pd.Series, str]:
    number = pd.to_numeric(column, errors="coerce")
    return number.where((number > 0) & np.isfinite(number)), "millimetres above 0"


# How a column is read: its values, None where they cannot be, and what may stand there.
VALUES = {"side": _side, "view": _view, "density": _density, **dict.fromkeys(SPACING, _mm)}


def _convert(path: Path, table: pd.DataFrame, column: str, read: pd.Series, allowed: str) -> None:
    """Put what was read into the table. CohortError where something was there that is not allowed."""
    _refuse(path, table, read.isna() & table[column].notna(), column, f"{allowed}, or empty")
    table[column] = read


def _refuse(path: Path, table: pd.DataFrame, wrong: pd.Series, column: str, allowed: str) -> None:
    if wrong.any():
        came = table[column][wrong].iloc[0]
        ids = _named(table["id"][wrong].tolist())
        raise CohortError(f"{path.name}: {column} must be {allowed}, but is {str(came)!r} for {ids}: mend these rows")


def _check_sizes(root: Path, table: pd.DataFrame) -> None:
    """CohortError names the masks that have not the size of their image; reads the files' heads alone."""
    wrong = {}
    for image, mask in zip(table["image_path"], table["mask_path"], strict=True):
        sizes = _size(root, image), _size(root, mask)
        if sizes[0] != sizes[1]:
            wrong[mask] = misfit(*sizes)
    if wrong:
        raise CohortError(f"{_named(wrong)}: {wrong[min(wrong)]}")


def _size(root: Path, path: str) -> tuple[int, int]:
    """Rows and columns."""
    try:
        with Image.open(root / path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise CohortError(f"{path}: cannot be read as an image ({type(error).__name__}): replace the file") from None


def _mask_kind(root: Path, paths: pd.Series) -> str:
    """ "binary" if every mask has at most one non-zero value, the cohort's own; otherwise "instances"."""
    smooth: dict[str, list[int]] = {}
    lone: dict[str, list[int]] = {}
    several = False
    for path in paths:
        values = levels(read_labels(root, path)).tolist()
        if not _are_labels(values):
            (smooth if len(values) > 1 else lone)[path] = values
        several = several or len(values) > 1
    if smooth:
        values = smooth[min(smooth)]
        raise CohortError(
            f"{_named(smooth)}: a mask must hold 0 and one other value, or labels 1, 2, ..., but holds "
            f"{len(values) + 1} values up to {values[-1]} (smoothed edges?): threshold it at half range"
        )
    if several and lone:
        raise CohortError(
            f"{_named(lone)}: other masks hold labels 1, 2, ..., but this one {lone[min(lone)][0]} alone: "
            "make all of them labels, or all of them binary"
        )
    return "instances" if several else "binary"


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
