"""Who the patient of a DICOM file is, without a name or an ID leaving the header."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from massmatch.data.errors import named
from massmatch.data.table import NOBODY, in_one_way

if TYPE_CHECKING:  # pydicom comes with the extra "dicom", which cohorts of PNG files do not need
    from pydicom.dataset import Dataset

UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ø": "oe", "ü": "ue", "å": "aa"})
LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe"})  # which no accent can be taken off
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
        self.names: set[str] = set()  # of all headers, as `stands_in` looks for them
        self._nameless: list[str] = []
        self._given: dict[str, dict[str, str]] = {}  # by the header's patient: whom each file counts as

    def of(self, header: "Dataset", file: str, given: str | None) -> str | None:
        """The patient of a file: the one that is given, or else the header's. None where nothing names one."""
        key = patient_key(header)
        self.names |= names_of(header)
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


def names_of(header: "Dataset") -> frozenset[str]:
    """What names the patient, as `stands_in` looks for it: each part of the name and the ID, in all their spellings.

    Parts of one or two Latin letters are left out, and so are the zeros in front of an ID.
    """
    components = str(header.get("PatientName", "") or "").replace("=", "^").split("^")
    ways = {way for component in components for way in _spellings(component)}
    parts = {part for way in ways for part in (*re.split(r"[\W_]+", way), _signless(way))}
    id = _signless(_patient_id(header).casefold()).lstrip("0")
    return frozenset(part for part in {*parts, id} if len(part) > 2 or (len(part) == 2 and not part.isascii()))


def stands_in(names: Iterable[str], text: str) -> bool:
    """Whether one of these names stands in the text, in any spelling: Müller is mueller and MULLER, 12-34 is 1234."""
    there = {each for way in _spellings(text) for each in (way, _signless(way))}
    return any(name in each for name in names for each in there)


def names_patient(header: "Dataset", text: str) -> bool:
    """Whether a part of the patient's name, or the ID, stands in the text."""
    return stands_in(names_of(header), text)


def _spellings(text: str) -> set[str]:
    """A text in small letters without accents, and with an e in place of those on ä, ö, ø and ü."""
    text = unicodedata.normalize("NFC", text.casefold())
    ways = (text.translate(LETTERS), text.translate(UMLAUTS).translate(LETTERS))
    return {
        "".join(sign for sign in unicodedata.normalize("NFKD", way) if not unicodedata.combining(sign)) for way in ways
    }


def _signless(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


def id_without_name(header: "Dataset", id: str) -> str:
    """The id of an image, or twelve digits in its place where it names the patient."""
    if not names_patient(header, id):
        return id
    return hashlib.sha256(str(header.get("SOPInstanceUID", id)).encode()).hexdigest()[:12]
