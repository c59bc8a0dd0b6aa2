"""Who the patient of a DICOM file is, without a name or an ID leaving the header."""

import hashlib
import unicodedata
from typing import TYPE_CHECKING

from massmatch.data.errors import named
from massmatch.data.table import NOBODY, in_one_way

if TYPE_CHECKING:  # pydicom comes with the extra "dicom", which cohorts of PNG files do not need
    from pydicom.dataset import Dataset

NAMELESS = (
    "{} DICOM files have no PatientID that tells patients apart: the study counts as one, or the image where there is "
    "no study, so that images of one woman may stand in training and test at once: give a patient to each"
)
PARTED = (
    "images of one PatientID in their DICOM headers are given several patients, and these count: if the headers are "
    "right, images of one woman may stand in training and test at once ({})"
)


def patient_key(header: "Dataset") -> str | None:
    """12 hex digits that stand for the patient, from the ID, since the ID itself must not leave the header.

    Spellings that differ in capitals or in zeros in front are one patient, who may not stand in training and test.
    Where the ID tells nobody apart, the study stands for the patient; None where the header names no study either.
    """
    who = str(header.get("StudyInstanceUID", "") or "").strip() if is_nameless(header) else _patient_id(header)
    return hashlib.sha256(in_one_way(who).encode()).hexdigest()[:12] if who else None


class Patients:
    """Who the patients of DICOM files are, by what is given or else by their headers, and what is to be said of it."""

    def __init__(self) -> None:
        self._nameless: list[str] = []
        self._given: dict[str, dict[str, str]] = {}  # by the header's patient: whom each file counts as

    def of(self, header: "Dataset", file: str, given: str | None) -> str | None:
        """The patient of a file: the one that is given, or else the header's. None where nothing names one."""
        key = patient_key(header)
        if not is_nameless(header):
            self._given.setdefault(str(key), {})[file] = given or str(key)
        elif given is None:
            self._nameless.append(file)
        return given or key

    def remarks(self) -> list[str]:
        """Remarks on files without a patient, and on IDs whose files were given several patients."""
        found = [NAMELESS.format(len(self._nameless))] if self._nameless else []
        parted = [files for files in self._given.values() if len(set(files.values())) > 1]
        if parted:
            more = f", and of {len(parted) - 1} further IDs" if len(parted) > 1 else ""
            found.append(PARTED.format(f"{named([*parted[0]])}{more}"))
        return found


def is_nameless(header: "Dataset") -> bool:
    """Whether the header has no patient's ID, or one that is written for many, such as Anonymous."""
    return _patient_id(header).casefold() in NOBODY


def _patient_id(header: "Dataset") -> str:
    return str(header.get("PatientID", "") or "").strip()


def names_patient(header: "Dataset", text: str) -> bool:
    """Whether a part of the patient's name, or the ID, stands in the text (parts of one or two letters aside).

    The ID counts without zeros in front, the name in any spelling of its accents: Müller, Mueller and Muller are one.
    """
    name = str(header.get("PatientName", "") or "").replace("^", " ").replace("=", " ").split()
    parts = [*map(_spellings, name), {_patient_id(header).casefold().lstrip("0")}]
    there = _spellings(text)
    return any(len(way) > 2 and way in each for ways in parts for way in ways for each in there)


def _spellings(text: str) -> set[str]:
    """A text in small letters without accents, and with an e in place of those on ä, ö and ü."""
    text = unicodedata.normalize("NFC", text.casefold())
    ways = (text, text.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue"))
    return {
        "".join(sign for sign in unicodedata.normalize("NFKD", way) if not unicodedata.combining(sign)) for way in ways
    }


def id_without_name(header: "Dataset", id: str) -> str:
    """The id of an image, or twelve digits in its place where it names the patient; of a path likewise."""
    if not names_patient(header, id):
        return id
    return hashlib.sha256(str(header.get("SOPInstanceUID", id)).encode()).hexdigest()[:12]
