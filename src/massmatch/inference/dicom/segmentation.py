"""A DICOM SEG of a mammogram: binary, one segment per finding, in a plane that viewers accept."""

from typing import TYPE_CHECKING

import numpy as np

from massmatch import __version__
from massmatch.inference.dicom.source import MAKER, about, codes, parameters
from massmatch.inference.findings import Prediction

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.dataset import Dataset

# A mammogram has no place in the patient, but OHIF and 3D Slicer load no SEG without one.
PLANE = "Nominal plane at the origin: no position in the patient"  # at most 64 letters
PLANE_AND_SIZE = "Nominal plane, and pixels of 1 mm: size is not known"
THICKNESS_MM = 1.0  # nominal as well
RED = (200, 30, 30)


def segmentation(of: Prediction, source: "Dataset") -> "Segmentation | None":
    """The SEG of all findings of an image; None where there are none, for a segment says that there is a mass.

    BINARY, since OHIF takes no FRACTIONAL. The plane is nominal and no frame of reference is claimed; the pixels have
    the size of the header's spacing, and 1 mm where it has none: either is said in the ContentDescription.

    Args:
        of: the prediction.
        source: the header of its image, by `read_source`.
    """
    if not of.findings:
        return None
    from highdicom.content import PixelMeasuresSequence
    from highdicom.seg import Segmentation

    spacing = of.image.spacing_mm
    made = Segmentation(
        [source],
        of.labels[None].astype(np.uint16),
        "BINARY",
        _segments(of),
        pixel_measures=PixelMeasuresSequence(spacing or (1.0, 1.0), slice_thickness=THICKNESS_MM),
        content_creator_name=f"{MAKER}^",
        content_label="MASSES",
        content_description=PLANE_AND_SIZE if spacing is None else PLANE,
        **about("SEG"),
    )
    _place(made, source)
    return made


def _segments(of: Prediction) -> "list[SegmentDescription]":
    from highdicom import UID, AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes as known

    algorithm = AlgorithmIdentificationSequence(
        MAKER, known.cid7162.ArtificialIntelligence, __version__, MAKER, parameters(of)
    )
    category, mass, breast = codes("MorphologicallyAbnormalStructure", "Mass", "Breast")
    return [
        SegmentDescription(
            each.number,
            f"mass {each.number}",
            category,
            mass,
            "AUTOMATIC",
            algorithm,
            tracking_uid=UID(),
            tracking_id=f"mass {each.number}",
            anatomic_regions=[breast],
            display_color=CIELabColor.from_rgb(*RED),
        )
        for each in of.findings
    ]


def _place(made: "Segmentation", source: "Dataset") -> None:
    """The plane, which viewers ask for, and what a projection has of it: the patient's orientation."""
    from pydicom import Sequence
    from pydicom.dataset import Dataset

    orientation = Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence = Sequence([orientation])
    for frame in made.PerFrameFunctionalGroupsSequence:
        position = Dataset()
        position.ImagePositionPatient = [0, 0, 0]
        frame.PlanePositionSequence = Sequence([position])
    made.PatientOrientation = source.get("PatientOrientation") or ""  # of type 2C without a frame of reference
