"""Mammograms in DICOM: grey pixels with air dark, spacing with its source, side and view; no name leaves the header.

The rules follow DICOM PS3.3 (C.7.6.3 pixels, C.8.11.7 mammography, 10.7 spacing). Windows and VOI tables are for
display and are not applied. Nothing here ever formats a Dataset or repeats a library's message, since both may hold
what stands in the header.
"""

import logging
import math
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from massmatch.data.dicom_patient import patient_key
from massmatch.data.dicom_pixels import grey_pixels, label_pixels, photometric
from massmatch.data.errors import DataError, DataWarning
from massmatch.data.images import DICOM_ENDINGS, LONGEST, MAX_PIXELS, refuse_faint
from massmatch.data.table import SIDED_VIEW, SIDES
from massmatch.errors import UsageError

if TYPE_CHECKING:  # pydicom comes with the extra "dicom", which cohorts of PNG files do not need
    from pydicom.dataset import Dataset

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it logs header values

TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
RAW = ("1.2.840.10008.5.1.4.1.1.1.2.1", "1.2.840.10008.5.1.4.1.1.1.1.1")  # classes FOR PROCESSING (PS3.4 B.5)
LOSSY = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81))  # JPEG and near-lossless JPEG-LS; others say it
DIRECTORY = "1.2.840.10008.1.3.10"
# CID 4014, by SNOMED CT and by the older SNOMED RT codes.
VIEWS = {
    **{"399162004": "CC", "399368009": "MLO", "399260004": "ML", "399352003": "LM", "399099002": "LMO"},
    **{"R-10242": "CC", "R-10226": "MLO", "R-10224": "ML", "R-10228": "LM", "R-10230": "LMO"},
    **{"399196006": "FB", "R-10244": "FB"},
}
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")
# Without these nobody knows how the pixels are stored (PS3.3 C.7.6.3, of type 1).
FORMAT = ("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored")


@dataclass(frozen=True, eq=False)
class Mammogram:
    """One DICOM file, without what names the patient."""

    pixels: np.ndarray  # (rows, columns) uint16 in the stored frame, 0 = darkest, air is dark
    spacing_mm: tuple[float, float] | None  # row, column, in the plane that the source names
    spacing_source: str  # PixelSpacing, ImagerPixelSpacing, ImagerPixelSpacing/magnification or none
    side: str | None  # L or R
    chest: str | None  # left or right: on which side of the stored pixels the header puts the chest wall
    view: str | None  # CC, MLO, ...
    patient: str | None  # see `patient_key`
    instance: str  # SOP Instance UID
    series: str  # Series Instance UID


def read_dicom(root: Path, path: str, *, allow_for_processing: bool = False, modality: str = "MG") -> Mammogram:
    """One mammogram. `path` is relative to root and begins every message.

    `modality` is that which the header must name; "any" takes digitised film too, which comes as RG, CR, DX or OT.

    Stored bits, padding, modality LUT or rescale, then MONOCHROME1 inverted: the order of PS3.3 C.7.6.3 and C.11.1.

    Raises DataError for what is no readable single grey mammogram: tomosynthesis and other multi-frame images,
    colour, another modality, raw detector data (FOR PROCESSING, unless allowed), a DICOMDIR, no or damaged pixels.
    """
    header = read_header(root, path)
    with unspoken(path, "damaged"):
        _refuse(header, path, allow_for_processing, modality)
        spacing, source = _spacing(header)
        contradictions = list(_contradictions(header))
        absurd = [name for name in SPACINGS if _pair(header, name) and not _plausible(header, name)]
        found = Mammogram(
            pixels=grey_pixels(header, path),
            spacing_mm=spacing,
            spacing_source=source,
            side=_side(header),
            chest=_chest(header),
            view=_view(header),
            patient=patient_key(header),
            instance=str(header.get("SOPInstanceUID", "")),
            series=str(header.get("SeriesInstanceUID", "")),
        )
    for text in contradictions:
        warnings.warn(f"{path}: {text}", DataWarning, stacklevel=2)
    for name in absurd:
        row, col = _pair(header, name) or (0, 0)
        text = (
            f"{path}: {name} of {row:g} x {col:g} mm would make the image more than {LONGEST:.0f} mm long; it is taken "
            "as unknown (some converters write 1 x 1)"
        )
        warnings.warn(text, DataWarning, stacklevel=2)
    return found


def read_dicom_mask(root: Path, path: str, *, allow_for_processing: bool = False, modality: str = "MG") -> np.ndarray:
    """The mask of a mammogram, (rows, columns) uint16, 0 = background; errors and arguments as of `read_dicom`.

    Its numbers are those that are stored. Padding and rescale, which stand in a header that was copied from the
    mammogram, are about its greys: with a padding of 0 the lowest number of a mass would become background.
    A segmentation object (SEG) is a mask, too, if it has one frame.

    DataError also for MONOCHROME1, in which 0 is white: whether the mask keeps to it, or only its header was copied
    from the mammogram, cannot be known; and as `refuse_faint` for labels that were compressed with losses.
    """
    header = read_header(root, path)
    if photometric(header) == "MONOCHROME1":
        raise DataError(
            f"{path}: a mask must be MONOCHROME2, with 0 for background, but is MONOCHROME1, in which 0 is white: "
            "save it as PNG, or mend its header"
        )
    with unspoken(path, "damaged"):
        if (frames := int(header.get("NumberOfFrames", 1) or 1)) > 1:
            raise DataError(
                f"{path}: a mask must have one frame, but has {frames} (a DICOM SEG has one for each segment): save it "
                "with one segment for all masses, or as PNG"
            )
        _refuse(header, path, allow_for_processing, "SEG" if header.get("Modality") == "SEG" else modality)
        mask = label_pixels(header, path)
    if header.get("LossyImageCompression") == "01" or str(header.file_meta.get("TransferSyntaxUID")) in LOSSY:
        refuse_faint(mask, path)
    return mask


@contextmanager
def unspoken(path: str, what: str) -> Iterator[None]:
    """No warning and no message of pydicom gets out: they quote the header. Whatever it raises is damage."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: {what} ({type(error).__name__}): replace the file") from None


def read_header(root: Path, path: str, *, pixels: bool = True) -> "Dataset":
    """The dataset of a file; with `pixels` off, all that stands before them. DataError for what is no DICOM."""
    if find_spec("pydicom") is None:
        raise DataError(f"{path}: to read DICOM needs pydicom, which is not installed: pip install 'massmatch[dicom]'")
    import pydicom
    from pydicom.errors import InvalidDicomError

    with unspoken(path, "damaged DICOM header"):
        try:
            header = pydicom.dcmread(root / path, stop_before_pixels=not pixels)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except PermissionError:
            raise DataError(f"{path}: may not be read: give yourself the right to read it") from None
        except InvalidDicomError:
            raise DataError(
                f"{path}: is no DICOM file (no DICM after 128 bytes): replace it, or move it away"
            ) from None
        for tag in list(header.keys()):  # pydicom converts a value when it is first asked for: here nobody hears it
            try:
                header[tag]
            except Exception:
                del header[tag]
        return header


def refuse_modality_without_dicom(modality: str, files: Iterable[str]) -> None:
    """Raise UsageError for another modality than MG where no file is DICOM, so that nothing names one."""
    if modality != "MG" and not any(file.lower().endswith(DICOM_ENDINGS) for file in files):
        raise UsageError("--modality: is what DICOM files name, but none of the images is DICOM: leave it out")


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content (PS3.10: DICM after 128 bytes) or claims to be by its name."""
    if path.suffix.lower() in DICOM_ENDINGS:
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _refuse(header: "Dataset", path: str, allow_for_processing: bool, wanted: str) -> None:
    """DataError for everything that is no single grey mammogram for viewing."""

    def no(what: str, remedy: str) -> DataError:
        return DataError(f"{path}: {what}: {remedy}")

    kind = str(header.get("SOPClassUID", "") or header.file_meta.get("MediaStorageSOPClassUID", ""))
    modality = str(header.get("Modality", "") or "")
    if kind == DIRECTORY or "DirectoryRecordSequence" in header:
        raise no("is a DICOMDIR, a table of contents", "give the image files themselves")
    if kind == TOMOSYNTHESIS or int(header.get("NumberOfFrames", 1) or 1) > 1:
        raise no("is tomosynthesis or another image of several frames", "give a 2-D mammogram")
    if wanted != "any" and modality not in (wanted, ""):
        came = modality if re.fullmatch("[A-Z]{2,6}", modality) else "another one"
        raise no(
            f"must be a mammogram (modality {wanted}), but has the modality {came}",
            "give a mammogram, or --modality any if it is one (digitised film comes as RG, CR, DX or OT)",
        )
    if not header.get("PixelData"):
        raise no("holds no pixels", "give an image file, whole")
    if absent := [keyword for keyword in (*FORMAT, "PixelRepresentation") if header.get(keyword) in (None, "")]:
        raise no(f"its header lacks {absent[0]}, which says how pixels are stored", "export the image anew")
    grey = photometric(header)
    if int(header.get("SamplesPerPixel", 1) or 1) != 1 or not grey.startswith("MONOCHROME"):
        raise no("is in colour (a screenshot?)", "give the grey original")
    if grey not in ("MONOCHROME1", "MONOCHROME2"):
        came = grey if re.fullmatch(r"[A-Z0-9 ]{1,16}", grey) else "another text"
        raise no(
            f"its PhotometricInterpretation must be MONOCHROME1 or MONOCHROME2, but is {came}",
            "mend the header: nobody knows whether air is dark or bright",
        )
    intent = str(header.get("PresentationIntentType", "") or "").strip().upper()
    if (intent == "FOR PROCESSING" or (not intent and kind in RAW)) and not allow_for_processing:
        raise no(
            "is FOR PROCESSING, raw detector data that look unlike any mammogram for viewing",
            "give the FOR PRESENTATION image, or --allow-for-processing",
        )
    size = int(header.get("Rows", 0) or 0) * int(header.get("Columns", 0) or 0)
    if not 0 < size <= MAX_PIXELS:
        raise no(
            f"must have 1 to {MAX_PIXELS / 1e6:.0f} million pixels, but its header says {size / 1e6:.1f}",
            "replace the file",
        )


SHAPES = {"MONOCHROME1": "IDENTITY", "MONOCHROME2": "INVERSE"}  # each belongs to the other one (PS3.3 C.8.11.1.1)


def _contradictions(header: "Dataset") -> Iterator[str]:
    """What the header says in two ways that do not agree, of the pixels or the side, and which of them is taken."""
    grey, shape = photometric(header), str(header.get("PresentationLUTShape", "")).strip().upper()
    if shape and SHAPES.get(grey) == shape:
        air = "bright" if grey == "MONOCHROME1" else "dark"
        yield (
            f"its PresentationLUTShape is {shape}, which does not belong to {grey}: it is read with air {air} in the "
            "stored pixels, as the latter says; look at the picture"
        )
    sides = _sides(header)
    if len(set(sides.values())) > 1:
        said = ", but its ".join(f"{name} says {side}" for name, side in sides.items())
        yield f"its {said}: the first is taken; look which breast it is"
    aspect, spacing = _pair(header, "PixelAspectRatio"), _spacing(header)[0]
    row, col = spacing or (1.0, 1.0)
    if aspect is not None and not math.isclose(aspect[0] / aspect[1], row / col, rel_tol=0.01):
        measured = f"as {row:g} x {col:g} mm, as its spacing says" if spacing else "as squares, for want of a spacing"
        yield f"its PixelAspectRatio says {aspect[0]:g} high and {aspect[1]:g} wide: pixels are measured {measured}"


def _spacing(header: "Dataset") -> tuple[tuple[float, float] | None, str]:
    """mm between rows and between columns (PS3.3 10.7.1.3: calibrated, or else of the detector)."""
    calibrated, detector = (_pair(header, name) if _plausible(header, name) else None for name in SPACINGS)
    if calibrated is not None and calibrated != detector:
        return calibrated, "PixelSpacing"
    if detector is None:
        return None, "none"
    magnification = header.get("EstimatedRadiographicMagnificationFactor")
    if magnification is None or not 1 < float(magnification) < 10:
        return detector, "ImagerPixelSpacing"
    return (detector[0] / float(magnification), detector[1] / float(magnification)), "ImagerPixelSpacing/magnification"


def _plausible(header: "Dataset", keyword: str) -> bool:
    """Whether an image with this spacing would fit on a detector or film."""
    sides = (int(header.get("Rows", 0) or 0), int(header.get("Columns", 0) or 0))
    return all(side * mm <= LONGEST for side, mm in zip(sides, _pair(header, keyword) or (0, 0), strict=True))


def _pair(header: "Dataset", keyword: str) -> tuple[float, float] | None:
    try:
        row, col = (float(value) for value in header.get(keyword, ()) or ())
    except (TypeError, ValueError):
        return None
    return (row, col) if 0 < row < 10 and 0 < col < 10 else None  # mm; a spacing of 1 cm is none


def _side(header: "Dataset") -> str | None:
    return next(iter(_sides(header).values()), None)


def _sides(header: "Dataset") -> dict[str, str]:
    """L or R by the attribute that says it, the first of which is taken; LEFT and RIGHT are words for them."""
    said = {name: str(header.get(name, "") or "").strip().upper() for name in ("ImageLaterality", "Laterality")}
    if both := re.fullmatch(SIDED_VIEW, _named_view(header)):
        said["ViewPosition"] = both[1]
    return {name: SIDES[side] for name, side in said.items() if side in SIDES}


def _chest(header: "Dataset") -> str | None:
    """From PatientOrientation (PS3.3 C.7.6.1.1.1): the direction in which the columns go, anterior or posterior.

    The laterality is no answer: many archives store right breasts with the chest wall on the left.
    """
    along = str((header.get("PatientOrientation") or [""])[0]).strip().upper()[:1]
    return {"A": "left", "P": "right"}.get(along)


def _view(header: "Dataset") -> str | None:
    """From ViewPosition, without the side that some write into it (RMLO), or else the view's code."""
    named = _named_view(header)
    if both := re.fullmatch(SIDED_VIEW, named):
        return both[2]
    if re.fullmatch("[A-Z]{2,6}", named):  # CC, MLO, XCCL, ...: no other text of the header gets out as a view
        return named
    for code in header.get("ViewCodeSequence", ()) or ():
        if (view := VIEWS.get(str(code.get("CodeValue", "")))) is not None:
            return view
    return None


def _named_view(header: "Dataset") -> str:
    return str(header.get("ViewPosition", "") or "").strip().upper()
