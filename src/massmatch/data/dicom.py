"""Mammograms in DICOM: grey pixels with air dark, spacing with its source, side and view; no name leaves the header.

The rules follow DICOM PS3.3 (C.7.6.3 pixels, C.8.11.7 mammography, 10.7 spacing). Windows and VOI tables are for
display and are not applied. Nothing here ever formats a Dataset or repeats a library's message, since both may hold
what stands in the header.
"""

import hashlib
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from massmatch.data.errors import DataError
from massmatch.data.images import MAX_PIXELS

if TYPE_CHECKING:  # pydicom comes with the extra "dicom", which cohorts of PNG files do not need
    from pydicom.dataset import Dataset

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it logs header values

TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
DIRECTORY = "1.2.840.10008.1.3.10"
# CID 4014, by SNOMED CT and by the older SNOMED RT codes.
VIEWS = {
    **{"399162004": "CC", "399368009": "MLO", "399260004": "ML", "399352003": "LM", "399099002": "LMO"},
    **{"R-10242": "CC", "R-10226": "MLO", "R-10224": "ML", "R-10228": "LM", "R-10230": "LMO"},
    **{"399196006": "FB", "R-10244": "FB"},
}
# What decodes the syntaxes for which pydicom needs a package; the extra "dicom" brings all of them.
DECODERS = {
    **dict.fromkeys(("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"), "pylibjpeg-openjpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203)), "pylibjpeg-openjpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81)), "python-gdcm"),
}


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
    patient: str  # 12 hex digits of a hash of the patient's ID (of the study, if there is none)
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
        return Mammogram(
            pixels=_grey(header, path),
            spacing_mm=spacing,
            spacing_source=source,
            side=_side(header),
            chest=_chest(header),
            view=_view(header),
            patient=patient_key(header),
            instance=str(header.get("SOPInstanceUID", "")),
            series=str(header.get("SeriesInstanceUID", "")),
        )


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


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content (PS3.10: DICM after 128 bytes) or claims to be by its name."""
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def patient_key(header: "Dataset") -> str:
    """12 hex digits that stand for the patient, from the ID, since the ID itself must not leave the header."""
    who = str(header.get("PatientID", "") or "").strip() or str(header.get("StudyInstanceUID", ""))
    return hashlib.sha256(who.encode()).hexdigest()[:12]


def names_patient(header: "Dataset", text: str) -> bool:
    """Whether a part of the patient's name, or the ID, stands in the text (parts of one or two letters aside)."""
    name = str(header.get("PatientName", "") or "").replace("^", " ").replace("=", " ").split()
    parts = [part.casefold() for part in (*name, str(header.get("PatientID", "") or "").strip())]
    return any(len(part) > 2 and part in text.casefold() for part in parts)


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
    if "PixelData" not in header:
        raise no("holds no pixels", "give an image file, whole")
    if absent := [keyword for keyword in (*FORMAT, "PixelRepresentation") if header.get(keyword) in (None, "")]:
        raise no(f"its header lacks {absent[0]}, which says how pixels are stored", "export the image anew")
    if int(header.get("SamplesPerPixel", 1) or 1) != 1 or not _photometric(header).startswith("MONOCHROME"):
        raise no("is in colour (a screenshot?)", "give the grey original")
    if str(header.get("PresentationIntentType", "")).upper() == "FOR PROCESSING" and not allow_for_processing:
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


def _photometric(header: "Dataset") -> str:
    return str(header.get("PhotometricInterpretation", "")).strip().upper()


def _decoded(header: "Dataset", path: str) -> np.ndarray:
    from pydicom.pixels import get_decoder

    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise DataError(f"{path}: its header names no transfer syntax: replace the file")
    try:
        available = not syntax.is_compressed or get_decoder(syntax).is_available
    except NotImplementedError:
        raise DataError(f"{path}: holds no still image ({syntax.name}): give a 2-D mammogram") from None
    if not available:
        package = DECODERS.get(str(syntax), "pylibjpeg")
        raise DataError(f"{path}: {syntax.name} needs a decoder: pip install {package}")
    if str(syntax) == JPEG_EXTENDED and int(header.get("BitsStored", 8) or 8) > 8 and not _has_decoder_of_12_bits():
        raise DataError(
            f"{path}: JPEG Extended of 12 bits needs a decoder that is not installed with massmatch: convert the file "
            "(dcmdjpeg of DCMTK), or pip install pylibjpeg-libjpeg, which is under the GPL"
        )
    try:
        header.pixel_array_options(correct_unused_bits=False)
        words = header.pixel_array
    except MemoryError:
        raise DataError(f"{path}: its pixels do not fit into memory: replace the file") from None
    except Exception as error:
        raise DataError(
            f"{path}: its pixels are cut off or damaged ({type(error).__name__}, {syntax.name}): replace the file"
        ) from None
    if words.ndim != 2 or words.dtype.kind not in "iu":
        raise DataError(f"{path}: must hold one grey image of integers, but has {words.shape} of {words.dtype}")
    return words


def _has_decoder_of_12_bits() -> bool:
    return find_spec("libjpeg") is not None  # the module of pylibjpeg-libjpeg


def _stored(words: np.ndarray, header: "Dataset", path: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The pixels, which are the stored bits of the words, and where the header says that there is no image.

    Old files keep overlays in the bits above the stored ones, which are left out. Raises DataError where there is
    anything else, for then the header says fewer bits than the pixels have.
    """
    stored = int(header.get("BitsStored", 0) or 0)
    highest = header.get("HighBit")
    if stored and highest is not None and int(highest) != stored - 1:
        raise DataError(
            f"{path}: its highest bit (HighBit) must be {stored - 1} with {stored} bits, but is {highest}: "
            "mend the header, or convert the file anew from its source"
        )
    if not 0 < stored < 8 * words.dtype.itemsize:
        return words, _padding(header, words)
    spare = 8 * words.dtype.itemsize - stored
    pixels = (words << spare) >> spare  # of signed words, the sign is repeated in the spare bits
    unsigned = words.view(f"u{words.dtype.itemsize}")
    beyond = (pixels != words) & (unsigned >> stored != 0)
    padded = _padding(header, words)
    if padded is None:
        padded = _padding(header, pixels)
    if padded is not None:
        beyond &= ~padded
    if beyond.any() and not _has_overlays_in_pixels(header):
        raise DataError(
            f"{path}: its pixels have {int(unsigned[beyond].max()).bit_length()} bits, but its header says {stored} "
            "(BitsStored): mend the header, or convert the file anew from its source"
        )
    return pixels, padded


def _has_overlays_in_pixels(header: "Dataset") -> bool:
    """Whether a bit of the pixels' words belongs to an overlay (PS3.3 C.9.2, retired): groups 6000 to 60FF."""
    return any(
        element.tag.group & 0xFF00 == 0x6000 and element.tag.element == 0x0102 and element.value not in (None, 0)
        for element in header
    )


def _padding(header: "Dataset", pixels: np.ndarray) -> np.ndarray | None:
    """Where the header says that there is no image (PS3.3 C.7.5.1.1.2).

    Writers give the value with the sign of the pixels or without: -2000 and 63536 are the same 16 bits.
    """
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    limit = header.get("PixelPaddingRangeLimit")
    bits = 8 * pixels.dtype.itemsize
    words = np.array([int(value) % (1 << bits), int(value if limit is None else limit) % (1 << bits)])
    low, high = sorted(words.astype(f"u{pixels.dtype.itemsize}").view(pixels.dtype).tolist())
    padded = (pixels >= low) & (pixels <= high)
    return padded if padded.any() and not padded.all() else None


def _grey(header: "Dataset", path: str) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    pixels, padded = _stored(_decoded(header, path), header, path)
    pixels = apply_modality_lut(pixels, header)
    if not np.isfinite(pixels).all():
        raise DataError(f"{path}: pixels are not finite after the header's rescale: replace the file")
    inside = pixels if padded is None else pixels[~padded]
    low, high = inside.min(), inside.max()
    dark = pixels - low if _photometric(header) == "MONOCHROME2" else high - pixels
    if dark.dtype.kind == "i":  # the difference of two signed words may need their sign's bit for its size
        dark = dark.view(f"u{dark.dtype.itemsize}")
    if padded is not None:
        dark = np.where(padded, 0, dark)
    return _uint16(dark, float(high) - float(low))


def _uint16(pixels: np.ndarray, span: float) -> np.ndarray:
    """From 0 to `span` as uint16; unchanged where whole numbers fit, otherwise stretched."""
    if pixels.dtype.kind == "f" and (span > 65535 or (pixels != np.rint(pixels)).any()):
        pixels = np.rint(pixels * (65535 / span))
    elif span > 65535:
        pixels = np.rint(pixels.astype(np.float64) * (65535 / span))
    return pixels.astype(np.uint16)


def _spacing(header: "Dataset") -> tuple[tuple[float, float] | None, str]:
    """mm between rows and between columns (PS3.3 10.7.1.3: calibrated, or else of the detector)."""
    calibrated, detector = _pair(header, "PixelSpacing"), _pair(header, "ImagerPixelSpacing")
    if calibrated is not None and calibrated != detector:
        return calibrated, "PixelSpacing"
    if detector is None:
        return None, "none"
    magnification = header.get("EstimatedRadiographicMagnificationFactor")
    if magnification is None or not 1 < float(magnification) < 10:
        return detector, "ImagerPixelSpacing"
    return (detector[0] / float(magnification), detector[1] / float(magnification)), "ImagerPixelSpacing/magnification"


def _pair(header: "Dataset", keyword: str) -> tuple[float, float] | None:
    try:
        row, col = (float(value) for value in header.get(keyword, ()) or ())
    except (TypeError, ValueError):
        return None
    return (row, col) if 0 < row < 10 and 0 < col < 10 else None  # mm; a spacing of 1 cm is none


def _side(header: "Dataset") -> str | None:
    side = str(header.get("ImageLaterality", "") or header.get("Laterality", "") or "").strip().upper()
    return side if side in ("L", "R") else None


def _chest(header: "Dataset") -> str | None:
    """From PatientOrientation (PS3.3 C.7.6.1.1.1): the direction in which the columns go, anterior or posterior.

    The laterality is no answer: many archives store right breasts with the chest wall on the left.
    """
    along = str((header.get("PatientOrientation") or [""])[0]).strip().upper()[:1]
    return {"A": "left", "P": "right"}.get(along)


def _view(header: "Dataset") -> str | None:
    """From ViewPosition, or else the view's code."""
    named = str(header.get("ViewPosition", "") or "").strip().upper()
    if re.fullmatch("[A-Z]{2,6}", named):  # CC, MLO, XCCL, ...: no other text of the header gets out as a view
        return named
    for code in header.get("ViewCodeSequence", ()) or ():
        if (view := VIEWS.get(str(code.get("CodeValue", "")))) is not None:
            return view
    return None
