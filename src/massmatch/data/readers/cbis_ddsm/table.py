"""The case descriptions of CBIS-DDSM: one row per lesion."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from massmatch.data.errors import DataError
from massmatch.data.readers.listing import relative
from massmatch.data.table import whole

FILE = re.compile(r".*(mass|calc)_case_description_(train|test)(ing)?(_set)?.*\.csv", re.IGNORECASE)
PATIENT = re.compile(r"P_\d{5}")
IMAGE, CROP, MASK = "image_file_path", "cropped_image_file_path", "roi_mask_file_path"
NEEDED = ("patient_id", "left_or_right_breast", "image_view", "abnormality_id", IMAGE, CROP, MASK)
# The first release of the tables, still passed around, had these names.
OLDER = {
    **{"side": "left_or_right_breast", "view": "image_view", "abn_num": "abnormality_id"},
    **{"od_img_path": IMAGE, "od_crop_path": CROP, "mask_path": MASK},
}
KNOWN = ("pathology", "assessment", "subtlety", "mass_shape", "mass_margins", "calc_type", "calc_distribution")


@dataclass(frozen=True)
class Lesion:
    """One row. Series are DICOM UIDs; which of two series holds the mask cannot be told from the table."""

    table: str  # the csv, relative to the source
    kind: str  # mass or calc
    split: str  # train or test
    image: str  # the full image's name, such as Mass-Training_P_00001_LEFT_CC
    patient: str  # P_00001
    side: str  # L or R
    view: str  # CC or MLO
    number: str  # abnormality id
    density: int | None
    image_series: str
    other_series: tuple[str, ...]  # of mask and crop, without repetition
    facts: dict[str, str]

    @property
    def said(self) -> str:
        """All that the row says, which the row of a copy of its table says too."""
        return repr(replace(self, table=""))


def read_tables(source: Path, files: Iterable[Path], kinds: Iterable[str]) -> list[Lesion]:
    """The lesions of all case descriptions of these kinds. DataError for one that is damaged, or for none."""
    found = [(path, match) for path in files if (match := FILE.fullmatch(path.name)) and match[1].lower() in kinds]
    if not found:
        wanted = " or ".join(f"{kind}_case_description_train_set.csv" for kind in kinds)
        raise DataError(f"{wanted}: no such file in the source: add the csv files of the release")
    return [
        lesion
        for path, match in sorted(found, key=lambda pair: pair[0].name)
        for lesion in _read(path, relative(source, path), match[1].lower(), match[2].lower())
    ]


def _read(path: Path, file: str, kind: str, split: str) -> list[Lesion]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{file}: cannot be read as a csv ({error}): download it again") from None
    header = [re.sub(r"[\s_]+", "_", name.strip().lower()) for name in rows[0]] if rows else []
    header = [OLDER.get(name, name) for name in header]
    if missing := [name for name in NEEDED if name not in header]:
        raise DataError(f"{file}: must have the columns {', '.join(missing)}, but lacks them: download it again")
    cells = [dict(zip(header, map(whole, row), strict=False)) for row in rows[1:]]
    return [_lesion(row, file, kind, split, number) for number, row in enumerate(cells, start=2)]


def _lesion(row: dict[str, str], file: str, kind: str, split: str, number: int) -> Lesion:
    patient = PATIENT.search(row.get("patient_id", ""))
    side, view = row.get("left_or_right_breast", "").upper(), row.get("image_view", "").upper()
    if patient is None or side not in ("LEFT", "RIGHT") or view not in ("CC", "MLO"):
        raise DataError(
            f"{file}: row {number} must name patient, side (LEFT or RIGHT) and view (CC or MLO), but does not: "
            "download it again"
        )
    series = {name: _series(row.get(name, ""), file, number) for name in (IMAGE, CROP, MASK)}
    training = {"train": "Training", "test": "Test"}[split]
    if (density := row.get("breast_density", "")) not in ("", "0", "1", "2", "3", "4"):  # 0 stands twice in the release
        raise DataError(
            f"{file}: row {number} must have a breast density of 1 to 4 or none, but has {density[:20]!r}: mend it"
        )
    return Lesion(
        table=file,
        kind=kind,
        split=split,
        image=f"{kind.capitalize()}-{training}_{patient[0]}_{side}_{view}",
        patient=patient[0],
        side=side[0],
        view=view,
        number=row["abnormality_id"],
        density=int(density or 0) or None,
        image_series=series[IMAGE],
        other_series=tuple(dict.fromkeys((series[MASK], series[CROP]))),
        facts={name: row[name] for name in KNOWN if row.get(name)},
    )


def _series(path: str, file: str, number: int) -> str:
    """The UID before the last part of .../StudyUID/SeriesUID/000000.dcm."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if len(parts) < 2 or not re.fullmatch(r"[0-9.]+", parts[-2]):
        raise DataError(
            f"{file}: row {number} must have paths that end in a series' UID and a file, but has {path[-60:]!r}: "
            "download it again"
        )
    return parts[-2]
