"""What DICOM objects take over from the mammogram that they are about, and what each of them says of its maker."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massmatch import __version__
from massmatch.data.dicom import is_dicom, read_header, unspoken
from massmatch.data.errors import DataError
from massmatch.errors import UsageError
from massmatch.inference.findings import USE, Prediction

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

MAKER = "massmatch"
NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")  # by which objects name their image
# Of type 2 in every object: they must be there, and may be empty. Anonymised headers lack them.
MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
UTF_8 = "ISO_IR 192"  # objects are written in it, since the source's character set may not be known


def require_highdicom() -> None:
    """UsageError where the package that writes DICOM objects is not installed."""
    if find_spec("highdicom") is None:
        raise UsageError("--dicom needs highdicom, which is not installed: pip install 'massmatch[dicom]'")


def read_source(root: Path, path: str) -> "Dataset":
    """The header of a mammogram as highdicom needs it; the file stays as it is. `path` begins every message.

    What may be empty and is missing, or is not as the standard wants it, is empty.

    Raises DataError for what is no DICOM, and for a header without the UIDs by which an object names its image.
    """
    if not is_dicom(root / path):
        raise DataError(f"{path}: must be DICOM for --dicom, but is not: leave the file or the option out")
    header = read_header(root, path, pixels=False)
    header.SOPClassUID = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", "")
    if absent := [keyword for keyword in NEEDED if not header.get(keyword)]:
        raise DataError(f"{path}: has no {absent[0]}, without which no object can name it: leave --dicom out")
    for keyword in MAY_BE_EMPTY:
        if header.get(keyword) is None:
            setattr(header, keyword, "")
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = ""
    return header


@contextmanager
def speaking_for(path: str) -> Iterator[None]:
    """What goes wrong while an object is made is a fault of this image's header; its values are not repeated."""
    with unspoken(path, "its header does not let a DICOM object be made"):
        yield


def about(kind: str) -> dict[str, Any]:
    """The arguments of highdicom that say who made an object of a kind (SEG, SR), in a series of its own."""
    from highdicom import UID

    return {
        "series_instance_uid": UID(),
        "series_number": {"SEG": 9101, "SR": 9102}[kind],
        "series_description": f"{MAKER} {kind}, {USE}",
        "sop_instance_uid": UID(),
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": MAKER,
        "software_versions": __version__,
        "device_serial_number": __version__,  # of type 1 in SEG: a program has no other
        "specific_character_set": UTF_8,
    }


def parameters(of: Prediction) -> dict[str, str]:
    """With which networks and options the algorithm was run."""
    least = {} if of.least_area is None else {"least area": str(of.least_area)}
    return {**of.algorithm.parameters, "threshold": f"{of.threshold:.6g}", **least}


def codes(*names: str) -> "list[Code]":
    """SNOMED CT codes by their keyword."""
    from pydicom.sr.codedict import codes as known

    return [getattr(known.SCT, name) for name in names]
