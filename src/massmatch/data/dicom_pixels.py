"""The pixels of a DICOM file, from the bytes to grey levels with air dark.

Stored bits, padding, modality LUT or rescale, then MONOCHROME1 inverted: the order of PS3.3 C.7.6.3 and C.11.1. As in
`dicom`, nothing here formats a Dataset or repeats a library's message, since both may hold what stands in the header.
"""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np

from massmatch.data.codestream import frame_of
from massmatch.data.errors import DataError

if TYPE_CHECKING:  # pydicom comes with the extra "dicom", which cohorts of PNG files do not need
    from pydicom.dataset import Dataset

MEND = "mend the header, or convert the file anew from its source"
RLE_LEFT_OVER = re.compile(r"RLE segment contains .* (\d+) vs. (\d+) bytes expected")  # pydicom drops the rest
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
# What decodes the syntaxes for which pydicom needs a package; the extra "dicom" brings all of them.
DECODERS = {
    **dict.fromkeys(("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"), "pylibjpeg-openjpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203)), "pylibjpeg-openjpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81)), "python-gdcm"),
}
CONVERT = "convert the file to Explicit VR Little Endian (gdcmconv --raw, dcmdjpeg), or export it so from its archive"
MOVING = ("MPEG", "HEVC", "SMPTE")  # how the names of the syntaxes for video begin


def photometric(header: "Dataset") -> str:
    """How the header says that grey is meant, in capitals: MONOCHROME1 has air bright."""
    return str(header.get("PhotometricInterpretation", "")).strip().upper()


def _decoded(header: "Dataset", path: str) -> np.ndarray:
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise DataError(f"{path}: its header names no transfer syntax: replace the file")
    _refuse_unread(syntax, path)
    if str(syntax) == JPEG_EXTENDED and int(header.get("BitsStored", 8) or 8) > 8 and not _has_decoder_of_12_bits():
        raise DataError(
            f"{path}: JPEG Extended of 12 bits needs a decoder that is not installed with massmatch: convert the file "
            "(dcmdjpeg of DCMTK), or pip install pylibjpeg-libjpeg, which is under the GPL"
        )
    said = header.BitsStored
    if _bits_of_stream(header, path) > said:
        header.BitsStored = header.BitsAllocated  # or a decoder cuts the bits off that the header does not count
    try:
        header.pixel_array_options(correct_unused_bits=False)
        with _messages_of_c() as spoken, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            words = header.pixel_array
        if b"Corrupt JPEG data" in spoken:  # libjpeg fills what it lacks with grey and goes on
            raise ValueError
    except MemoryError:
        raise DataError(f"{path}: its pixels do not fit into memory: replace the file") from None
    except Exception as error:
        raise DataError(
            f"{path}: its pixels are cut off or damaged ({type(error).__name__}, {syntax.name}): replace the file"
        ) from None
    finally:
        header.BitsStored = said
    left_over = [int(found[1]) - int(found[2]) for one in told if (found := RLE_LEFT_OVER.search(str(one.message)))]
    if max(left_over, default=0) >= min(words.shape):
        size = f"{words.shape[0]} rows and {words.shape[1]} columns"
        raise DataError(f"{path}: its pixels are more than the {size} that its header says: {MEND}")
    if words.ndim != 2 or words.dtype.kind not in "iu":
        raise DataError(f"{path}: must hold one grey image of integers, but has {words.shape} of {words.dtype}")
    return words.astype(words.dtype.newbyteorder("="), copy=False)  # views of other kinds take the machine's order


def _refuse_unread(syntax: Any, path: str) -> None:
    """Raise DataError for a transfer syntax that is not read, or not with what is installed, with the way out."""
    from pydicom.pixels import get_decoder

    if not syntax.is_transfer_syntax:  # of one maker, or withdrawn from the standard
        which = f" {syntax}" if re.fullmatch(r"[0-9.]{1,64}", syntax) else ""
        raise DataError(f"{path}: its transfer syntax{which} is none of the standard: {CONVERT}")
    if not syntax.is_compressed:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        if syntax.name.startswith(MOVING):
            raise DataError(f"{path}: holds no still image ({syntax.name}): give a 2-D mammogram") from None
        raise DataError(f"{path}: its transfer syntax, {syntax.name}, is not read: {CONVERT}") from None
    if not available:
        package = DECODERS.get(str(syntax), "pylibjpeg")
        raise DataError(f"{path}: {syntax.name} needs a decoder: pip install {package}")


def _bits_of_stream(header: "Dataset", path: str) -> int:
    """How many bits compressed pixels have by their own account; 0 where they give none.

    Raises DataError where the pixels have other rows, columns, bits or signs than the header says. Of uncompressed
    pixels, what is left over would be dropped in silence; less than a line of them is padding.
    """
    from pydicom.encaps import get_frame

    rows, columns, bits = int(header.Rows), int(header.Columns), int(header.BitsAllocated)
    said = f"but its header says {rows} rows and {columns} columns"
    if not header.file_meta.TransferSyntaxUID.is_compressed:
        over = len(header.PixelData) - rows * columns * bits // 8
        if 8 * over >= min(rows, columns) * bits:
            raise DataError(f"{path}: its pixels are {over} bytes longer than the image, {said}: {MEND}")
        return 0
    try:
        found = frame_of(get_frame(header.PixelData, 0, number_of_frames=1))
    except ValueError:  # no fragments: the decoder says so
        return 0
    if found is None:
        return 0
    if (found.rows, found.columns) != (rows, columns):
        raise DataError(f"{path}: its pixels have {found.rows} rows and {found.columns} columns, {said}: {MEND}")
    if found.bits > bits:
        raise DataError(
            f"{path}: its pixels have {found.bits} bits, but its header says {bits} (BitsAllocated): {MEND}"
        )
    if found.signed and not int(header.PixelRepresentation):
        raise DataError(f"{path}: its pixels have a sign, but its header says none (PixelRepresentation): {MEND}")
    return found.bits


@contextmanager
def _messages_of_c() -> Iterator[bytearray]:
    """What decoders write to stderr themselves, past Python, once the block is left; it names no file, so none sees it.

    What is wrong is told in our words.
    """
    kept, spoken = os.dup(2), bytearray()
    with TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 2)
            yield spoken
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            spoken += file.read()


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
            f"{path}: its highest bit (HighBit) must be {stored - 1} with {stored} bits, but is {highest}: {MEND}"
        )
    if not 0 < stored < 8 * words.dtype.itemsize:
        return words, _padding(header, words)
    spare = 8 * words.dtype.itemsize - stored
    pixels = (words << spare) >> spare  # of signed words, the sign is repeated in the spare bits
    unsigned = words.view(f"u{words.dtype.itemsize}")
    beyond = (pixels != words) & (unsigned >> stored != 0)
    padded = _padding(header, words, pixels)
    if padded is not None:
        beyond &= ~padded
    if beyond.any() and not _has_overlays_in_pixels(header):
        raise DataError(
            f"{path}: its pixels have {int(unsigned[beyond].max()).bit_length()} bits, but its header says {stored} "
            f"(BitsStored): {MEND}"
        )
    return pixels, padded


def _has_overlays_in_pixels(header: "Dataset") -> bool:
    """Whether a bit of the pixels' words belongs to an overlay (PS3.3 C.9.2, retired): groups 6000 to 60FF."""
    return any(
        element.tag.group & 0xFF00 == 0x6000 and element.tag.element == 0x0102 and element.value not in (None, 0)
        for element in header
    )


def _padding(header: "Dataset", *readings: np.ndarray) -> np.ndarray | None:
    """Where the header says that there is no image (PS3.3 C.7.5.1.1.2), in any of the readings of the pixels' words.

    Writers give the value with the sign of the pixels or without: -2000 and 63536 are the same 16 bits.
    """
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    limit = header.get("PixelPaddingRangeLimit")
    kind = readings[0].dtype
    bits = 8 * kind.itemsize
    words = np.array([int(value) % (1 << bits), int(value if limit is None else limit) % (1 << bits)])
    low, high = sorted(words.astype(f"u{kind.itemsize}").view(kind).tolist())
    padded = np.any([(pixels >= low) & (pixels <= high) for pixels in readings], axis=0)
    return padded if padded.any() and not padded.all() else None


def grey_pixels(header: "Dataset", path: str) -> np.ndarray:
    """(rows, columns) uint16, air dark. DataError for pixels that cannot be read as the header describes them."""
    pixels, padded = _stored(_decoded(header, path), header, path)
    pixels = _rescaled(pixels, header, path)
    if not np.isfinite(pixels).all():
        raise DataError(f"{path}: pixels are not finite after the header's rescale: replace the file")
    inside = pixels if padded is None else pixels[~padded]
    low, high = inside.min(), inside.max()
    dark = pixels - low if photometric(header) == "MONOCHROME2" else high - pixels
    if dark.dtype.kind == "i":  # the difference of two signed words may need their sign's bit for its size
        dark = dark.view(f"u{dark.dtype.itemsize}")
    if padded is not None:
        dark = np.where(padded, 0, dark)
    return _uint16(dark, float(high) - float(low))


def label_pixels(header: "Dataset", path: str) -> np.ndarray:
    """(rows, columns) uint16, the numbers as they are stored. DataError for numbers that are no labels."""
    pixels, _ = _stored(_decoded(header, path), header, path)
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise DataError(f"{path}: a mask must hold numbers from 0 to 65535, but holds {low} to {high}: save it as PNG")
    return pixels.astype(np.uint16)


def _rescaled(pixels: np.ndarray, header: "Dataset", path: str) -> np.ndarray:
    """The pixels after the table of the header or its straight line, whose slope is 1 and intercept 0 if absent.

    A slope of 0 makes every image one grey, and a line that lacks one of its numbers is no less of a line: a negative
    slope inverts the image.
    """
    from pydicom.pixels import apply_modality_lut

    if table := header.get("ModalityLUTSequence"):
        entries, first, bits = table[0].LUTDescriptor
        if not 8 <= bits <= 16:
            raise DataError(
                f"{path}: the table of its grey levels (ModalityLUTSequence) must have 8 to 16 bits, but its header "
                f"says {int(bits)} (LUTDescriptor): {MEND}"
            )
        if bits > 8:  # 10 or 12 bits stand in words of 16, too, and pydicom knows no others
            table[0].LUTDescriptor = [entries, first, 16]
        return apply_modality_lut(pixels.astype(np.int32), header)  # in 16 bits a difference may not fit
    line = [header.get(keyword) for keyword in ("RescaleSlope", "RescaleIntercept")]
    try:
        slope, intercept = (default if n in (None, "") else float(n) for n, default in zip(line, (1, 0), strict=True))
    except (TypeError, ValueError):
        slope, intercept = 0.0, 0.0
    if slope == 0:
        raise DataError(
            f"{path}: its grey levels must be rescaled by a slope that is a number other than 0 and an intercept, but "
            "RescaleSlope or RescaleIntercept is none: mend the header, or export the image anew"
        )
    return pixels if (slope, intercept) == (1, 0) else pixels * slope + intercept


def _uint16(pixels: np.ndarray, span: float) -> np.ndarray:
    """From 0 to `span` as uint16; unchanged where whole numbers fit, otherwise stretched."""
    if pixels.dtype.kind == "f" and (span > 65535 or (pixels != np.rint(pixels)).any()):
        pixels = np.rint(pixels * (65535 / span))
    elif span > 65535:
        pixels = np.rint(pixels.astype(np.float64) * (65535 / span))
    return pixels.astype(np.uint16)
