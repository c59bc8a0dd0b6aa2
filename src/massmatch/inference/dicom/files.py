"""The DICOM objects of one prediction, ready to be saved."""

from typing import TYPE_CHECKING

from massmatch.inference.dicom.report import report
from massmatch.inference.dicom.segmentation import segmentation
from massmatch.inference.dicom.source import read_source, speaking_for
from massmatch.inference.findings import Prediction
from massmatch.inference.images import ImageFile

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def objects(of: Prediction, file: ImageFile) -> "dict[str, Dataset]":
    """The report ("sr") and, where something was found, the segmentation ("seg") of a DICOM file.

    They hold the patient's name and ID as the file does, so that an archive files them with it.

    Raises DataError for a file that is no DICOM, or from whose header no object can be made.
    """
    source = read_source(file.root, file.source)
    with speaking_for(file.source):
        made: dict[str, Dataset] = {"sr": report(of, source)}
        if (found := segmentation(of, source)) is not None:
            made["seg"] = found
    return made
