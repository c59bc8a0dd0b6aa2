"""The table of INbreast, as csv or as xls; patients' names are on its second sheet, which is not opened."""

import codecs
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from python_calamine import CalamineError, CalamineWorkbook

from massmatch.data.errors import DataError, named
from massmatch.data.readers.listing import relative
from massmatch.data.table import whole

FILE, ACR, BIRADS, DATE = "file name", "acr", "bi-rads", "acquisition date"


@dataclass(frozen=True)
class Row:
    """What the table of INbreast says of one image."""

    density: int | None  # ACR, 1 to 4; one cell of the release is blank
    birads: str  # 1, 2, 3, 4a, 4b, 4c, 5 or 6
    acquisition: str | None  # year and semester, such as 201001


def read_table(source: Path, path: Path) -> dict[str, Row]:
    """Rows by image id from the csv or xls. DataError for one that is damaged."""
    file = relative(source, path)
    cells = _cells_of_csv(path, file) if path.suffix.lower() == ".csv" else _cells_of_xls(path, file)
    header = [" ".join(str(cell).split()).casefold() for cell in cells[0]] if cells else []
    if missing := [name for name in (FILE, ACR, BIRADS) if name not in header]:
        raise DataError(f"{file}: must have the columns {', '.join(missing)}, but has {header[:10]}: replace it")
    rows: dict[str, Row] = {}
    others = []
    for line in cells[1:]:
        values = dict(zip(header, (whole(str(cell)) for cell in line), strict=False))
        id = values.get(FILE, "")
        if not (id.isdigit() and len(id) == 8):
            if re.search(r"\d{8}", id.replace(".", "")):
                raise DataError(f"{file}: File Name must be an image's number of 8 digits, but is {id[:30]!r}: mend it")
            others.append(id)
            continue  # the blank row and the totals at the end of the xls
        if id in rows:
            raise DataError(f"{file}: has two rows for the image {id}: keep one")
        rows[id] = Row(_density(values.get(ACR, ""), file, id), values.get(BIRADS, ""), values.get(DATE) or None)
    if not rows:
        raise DataError(
            f"{file}: File Name must be the images' numbers of 8 digits, but there are {named(others)[:60] or 'none'}: "
            "replace it"
        )
    return rows


def _density(text: str, file: str, id: str) -> int | None:
    if text in ("", "1", "2", "3", "4"):
        return int(text) if text else None
    raise DataError(f"{file}: ACR must be 1, 2, 3, 4 or blank, but is {text[:20]!r} for the image {id}: mend it")


def _decoded(data: bytes) -> str:
    """Text as spreadsheets save it: UTF-8, with or without mark, "Unicode text" or a code page."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # any byte is a letter there


def _cells_of_csv(path: Path, file: str) -> list[list[str]]:
    try:
        text = _decoded(path.read_bytes())
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({type(error).__name__}): restore the file") from None
    first = text.partition("\n")[0]
    delimiter = max(";,\t", key=first.count)
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise DataError(f"{file}: cannot be read as a csv ({error}): replace it") from None


def _cells_of_xls(path: Path, file: str) -> list[list[object]]:
    try:
        return CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()  # type: ignore[return-value]
    except (CalamineError, OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read as a spreadsheet ({type(error).__name__}): replace it") from None
