"""The csv of a cohort or a source: a row of facts per image, read with our names for columns and values."""

import re
import unicodedata
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd

from massmatch.data.errors import DataError, named
from massmatch.data.images import DICOM_ENDINGS, IMAGE_ENDINGS

ALIASES = {"patient_id": "patient", "breast_density": "density", "laterality": "side"}
OURS = ("id", "patient", "side", "view", "density", "spacing_row_mm", "spacing_col_mm", *ALIASES)
SIDES = {"LEFT": "L", "RIGHT": "R", "LT": "L", "RT": "R", "L": "L", "R": "R"}
SIDED_VIEW = r"(L|R|LT|RT|LEFT|RIGHT)[ _-]?(CC|MLO|ML|LM|LMO)"  # LCC, R-MLO; LM and LMO alone are views without a side
SPACING = ("spacing_row_mm", "spacing_col_mm")
ENDINGS = (*IMAGE_ENDINGS, *DICOM_ENDINGS)  # with which an id may name its file
TEXT = ("id", "case", "patient", "patient_id")
TRUTH = {"True": True, "False": False}
GAPS = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "nan", "NaN", "None", "null", "NULL")

# What stands, in small letters, where a patient's name or ID should: gaps, what programs that remove names write into
# every file (INbreast's has "removed"), and the errors of spreadsheets.
NOBODY = {
    *map(str.casefold, GAPS),
    *("anonymous", "anonymized", "anonymised", "anon", "unknown", "removed", "deidentified", "missing"),
    *("-", "--", "?", "."),
    *("#value!", "#ref!", "#name?", "#num!", "#div/0!", "#null!"),
}


def read_facts(path: Path, key: str = "id", files: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The rows with our names for columns and values, their `key` as the column `id` (and a column `id` as `key`).

    `files`: what images are called, by names and paths that may stand for them (IM0.dcm is the id of IM0.dcm.png);
    others count by their last part, without its ending.

    Raises DataError that names the rows whose values cannot be.
    """
    table = _parse(path).rename(columns={key: "id", "id": key})
    if both := [(name, alias) for alias, name in ALIASES.items() if alias in table and name in table]:
        name, alias = both[0]
        raise DataError(f"{path.name}: must have `{name}` or `{alias}`, but has both: remove or rename one of them")
    table = table.rename(columns=ALIASES)
    if "id" not in table:
        raise DataError(
            f"{path.name}: must have a column `{key}` with the files' names and commas between columns, "
            f"but has the columns {list(table)[:8]}"
        )
    table["id"] = [_called(name, files or {}) for name in table["id"]]
    _check_ids(path, table["id"])
    if "patient" in table:
        _refuse(path, table, table["patient"] == "", "patient", "filled in")
        short = table["patient"].str.fullmatch(r"\d(\.\d+)?E\+\d+")
        _refuse(path, table, short, "patient", "written in full (a spreadsheet has shortened a number)")
        several = spelt_in_several_ways(table["patient"])
        way = "spelt in one way (rows differ in zeros in front, in .0 behind, in capitals, or in forms of Unicode)"
        _refuse(path, table, several, "patient", way)
    _part_side_and_view(path, table)
    for column, reading in VALUES.items():
        if column in table:
            _convert(path, table, column, *reading(table[column]))
    _check_spacing(path, table)
    return table


def _called(name: str, files: Mapping[str, str]) -> str:
    """The id that a cell names: itself, or the path of a file, on Windows too, which has backslashes."""
    path = PureWindowsPath(name)
    return files.get(path.as_posix()) or (path.stem if name.lower().endswith(ENDINGS) else name)


def other_form(names: Collection[str], others: Collection[str]) -> str:
    """What a message adds where one of these names is among the others in another form of Unicode, which looks alike.

    >>> other_form(["e\N{COMBINING ACUTE ACCENT}"], ["\N{LATIN SMALL LETTER E WITH ACUTE}"])
    ' (names that look alike differ in how an accent is written, as one sign or two: rename one of them)'
    >>> other_form(["a"], ["b"])
    ''
    """
    if all(name.isascii() for name in names):
        return ""
    known = {unicodedata.normalize("NFC", name) for name in others if name not in names}
    if not known & {unicodedata.normalize("NFC", name) for name in names if name not in others}:
        return ""
    return " (names that look alike differ in how an accent is written, as one sign or two: rename one of them)"


def spelt_in_several_ways(patients: pd.Series) -> pd.Series:
    """Where others name the same patient in another way: 7, 007 and 7.0, p1 and P1, an accent of one letter or two."""
    return patients.groupby(patients.map(in_one_way)).transform("nunique") > 1


def in_one_way(patient: str) -> str:
    """A patient's name or number as all its spellings have it.

    >>> in_one_way("007"), in_one_way("P1"), in_one_way("7.0")
    ('7', 'p1', '7')
    """
    return re.sub(r"^0+(?=\d+$)", "", whole(unicodedata.normalize("NFKC", patient).casefold()))


def whole(text: str) -> str:
    """A cell without blanks around; a whole number without the .0 that spreadsheets and pandas write behind it.

    >>> whole(" 20000001.0"), whole("3.5"), whole("1.2.0")
    ('20000001', '3.5', '1.2.0')
    """
    return re.sub(r"^(\d+)\.0$", r"\1", text.strip())


def refuse_one_gap_as_patient(path: Path, table: pd.DataFrame) -> None:
    """Raise DataError where several rows name one patient by a text that stands for nobody, such as NA or unknown."""
    if "patient" in table:
        gaps = table["patient"].str.casefold().isin(NOBODY) & table["patient"].duplicated(keep=False)
        _refuse(path, table, gaps, "patient", "filled in (or left out as a column)")


def _parse(path: Path) -> pd.DataFrame:
    """The csv as it is, with ids and patients as text (007 is no number, NA no gap)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header lose values
            if b"\0" in path.read_bytes():
                raise ValueError("it holds bytes that are 0, as UTF-16 does")
            cells = pd.read_csv(
                path, dtype=str, keep_default_na=False, skipinitialspace=True, index_col=False, encoding="utf-8-sig"
            )
    except (ValueError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path.name}: cannot be read as a csv ({reason}): save it with a line of column names, commas and UTF-8"
        ) from None
    names = [our_name(str(name)) for name in cells]
    ours = [name.removesuffix(".1") for name in names if name.removesuffix(".1") in OURS]  # pandas numbers the second
    if twice := [name for name in names if ours.count(name) > 1]:
        raise DataError(f"{path.name}: `{twice[0]}` is the name of several columns: remove or rename one of them")
    return pd.DataFrame({name: _typed(name, cells[of]) for name, of in zip(names, cells, strict=True)})


def our_name(column: str) -> str:
    """A column's name as we spell it, where it is one of ours in other capitals or with other marks between its words.

    >>> [our_name(name) for name in ("PatientID", "PATIENT ID", "Patient-Id", "Age")]
    ['patient_id', 'patient_id', 'patient_id', 'Age']
    """
    column = column.strip()
    return next((name for name in OURS if _letters(name) == _letters(column)), column)


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


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
        raise DataError(f"{path.name}: rows must have an id, but {empty} have none: fill or delete them")
    if twice := set(ids[ids.duplicated()]):
        raise DataError(f"{path.name}: ids must have one row, but have several: {named(twice)}: keep one of each")


def _check_spacing(path: Path, table: pd.DataFrame) -> None:
    known = table.reindex(columns=SPACING).notna()
    if half := table["id"][known[SPACING[0]] != known[SPACING[1]]].tolist():
        raise DataError(f"{path.name}: {' and '.join(SPACING)} belong together, but {named(half)} lack one: fill it")


def _part_side_and_view(path: Path, table: pd.DataFrame) -> None:
    """Read views that hold the side, such as LCC, as side and view. DataError where the column `side` has another."""
    if "view" not in table:
        return
    parts = table["view"].astype(str).str.strip().str.upper().str.extract(f"^{SIDED_VIEW}$")
    side, sided = parts[0].str[0], parts[0].notna()
    if sided.any():
        said = table["side"] if "side" in table else pd.Series(None, table.index, dtype=object)
        other = sided & _side(said)[0].isin({"L", "R"}) & (_side(said)[0] != side)
        _refuse(path, table, other, "view", "of the side that `side` has")
        table["side"], table["view"] = said.where(said.notna(), side), parts[1].where(sided, table["view"])


def _side(column: pd.Series) -> tuple[pd.Series, str]:
    return column.map(lambda side: SIDES.get(str(side).strip().upper())), "L, R, LEFT or RIGHT"


def _view(column: pd.Series) -> tuple[pd.Series, str]:
    names = column.map(lambda view: "" if pd.isna(view) else str(view).strip().upper())
    return names.where(names.str.fullmatch("[A-Z]{2,6}"), None), "a view such as CC or MLO, of 2 to 6 letters"


def _density(column: pd.Series) -> tuple[pd.Series, str]:
    number = pd.to_numeric(column, errors="coerce")
    return number.where(number.isin([1, 2, 3, 4])), "1, 2, 3 or 4"


def _mm(column: pd.Series) -> tuple[pd.Series, str]:
    number = pd.to_numeric(column, errors="coerce")
    return number.where((number > 0) & np.isfinite(number)), "millimetres above 0"


# How a column is read: its values, None where they cannot be, and what may stand there.
VALUES = {"side": _side, "view": _view, "density": _density, **dict.fromkeys(SPACING, _mm)}


def _convert(path: Path, table: pd.DataFrame, column: str, read: pd.Series, allowed: str) -> None:
    """Put what was read into the table. DataError where something was there that is not allowed."""
    _refuse(path, table, read.isna() & table[column].notna(), column, f"{allowed}, or empty")
    table[column] = read


def _refuse(path: Path, table: pd.DataFrame, wrong: pd.Series, column: str, allowed: str) -> None:
    if wrong.any():
        came = table[column][wrong].iloc[0]
        ids = named(table["id"][wrong].tolist())
        raise DataError(f"{path.name}: {column} must be {allowed}, but is {str(came)!r} for {ids}: mend these rows")
