"""The table of INbreast, as csv or as xls; patients' names are on its second sheet, which is not opened."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from python_calamine import CalamineError, CalamineWorkbook

from massmatch.data.errors import CohortError
from massmatch.data.listing import relative

NAMES = ("inbreast.csv", "inbreast.xls")  # in this order: the csv is the simpler
FILE, ACR, BIRADS, DATE = "file name", "acr", "bi-rads", "acquisition date"


@dataclass(frozen=True)
class Row:
    """What is known of one image."""

    density: int | None  # ACR, 1 to 4; one cell of the release is blank
    birads: str  # 1, 2, 3, 4a, 4b, 4c, 5 or 6
    acquisition: str | None  # year and semester, such as 201001


def read_table(source: Path, folders: Iterable[Path]) -> dict[str, Row] | None:
    """Rows by image id from the first table found in the folders, or None. CohortError for one that is damaged."""
    files = {path.name.casefold(): path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()}
    path = next((files[name] for name in NAMES if name in files), None)
    if path is None:
        return None
    file = relative(source, path)
    cells = _cells_of_csv(path, file) if path.suffix.lower() == ".csv" else _cells_of_xls(path, file)
    header = [" ".join(str(cell).split()).casefold() for cell in cells[0]] if cells else []
    if missing := [name for name in (FILE, ACR, BIRADS) if name not in header]:
        raise CohortError(f"{file}: must have the columns {', '.join(missing)}, but has {header[:10]}: replace it")
    rows: dict[str, Row] = {}
    for line in cells[1:]:
        values = dict(zip(header, (_text(cell) for cell in line), strict=False))
        id = values.get(FILE, "")
        if not (id.isdigit() and len(id) == 8):
            continue  # the blank row and the totals at the end of the xls
        if id in rows:
            raise CohortError(f"{file}: has two rows for the image {id}: keep one")
        rows[id] = Row(_density(values.get(ACR, ""), file, id), values.get(BIRADS, ""), values.get(DATE) or None)
    return rows


def _text(cell: object) -> str:
    """A cell without blanks around; whole numbers, which xls has as floats, without their point."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _density(text: str, file: str, id: str) -> int | None:
    if text in ("", "1", "2", "3", "4"):
        return int(text) if text else None
    raise CohortError(f"{file}: ACR must be 1, 2, 3, 4 or blank, but is {text[:20]!r} for the image {id}: mend it")


def _cells_of_csv(path: Path, file: str) -> list[list[str]]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # any byte is a letter there
    first = text.partition("\n")[0]
    delimiter = max(";,\t", key=first.count)
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise CohortError(f"{file}: cannot be read as a csv ({error}): replace it") from None


def _cells_of_xls(path: Path, file: str) -> list[list[object]]:
    try:
        return CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()  # type: ignore[return-value]
    except (CalamineError, OSError, ValueError) as error:
        raise CohortError(f"{file}: cannot be read as a spreadsheet ({type(error).__name__}): replace it") from None
