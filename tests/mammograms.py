"""Drawn mammograms, and DICOM files of them with any tag."""

import os
import warnings
from functools import partial

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from massmatch.data import DataError, DataWarning, Sample
from massmatch.data.dicom import read_dicom
from massmatch.data.readers.listing import Item, Listing

MAMMOGRAPHY = "1.2.840.10008.5.1.4.1.1.1.2"  # Digital Mammography X-Ray Image Storage, For Presentation
NAME = "SENTINEL^PHI"


def mammogram(rows, cols, side="left", *, muscle=False, top=4000):
    """(rows, cols) uint16: a half-ellipse of tissue at the chest wall on dark, slightly noisy air."""
    row, col = np.mgrid[:rows, :cols]
    distance = np.hypot((row - rows / 2) / (0.45 * rows), col / (0.7 * cols))
    tissue = np.clip(1.2 - distance, 0, 0.6) * top
    if muscle:
        tissue[(row / (0.4 * rows) + col / (0.3 * cols)) < 1] = top
    noise = np.random.default_rng(rows + cols).integers(0, top // 100, tissue.shape)
    image = (tissue + noise).astype(np.uint16)
    return image if side == "left" else np.ascontiguousarray(image[:, ::-1])


def glaring(image, where, value=65535):
    """The mammogram, which shows its chest wall on the left, with pixels far brighter than its tissue, and where."""
    rows, cols = image.shape
    row, col = np.mgrid[:rows, :cols]
    plate = (row >= 0.03 * rows) & (row < 0.28 * rows) & (col >= 0.73 * cols) & (col < 0.97 * cols)
    glare = {
        "plate": plate,
        "letters on a plate": plate & ((row // 3 + col // 3) % 3 > 0),
        "strip": row < 0.02 * rows,
        "frame": (row < 3) | (row >= rows - 3) | (col < 3) | (col >= cols - 3),
        "clip": np.hypot(row - 0.5 * rows, col - 0.2 * cols) < 0.05 * cols,
        "hot pixel": (row == rows // 3) & (col == cols // 5),
    }[where]
    return np.where(glare, value, image).astype(image.dtype), glare


GLARES = ["plate", "letters on a plate", "strip", "frame", "clip", "hot pixel"]


def write_dicom(path, pixels, *, syntax=ExplicitVRLittleEndian, remove=(), encode=True, **tags):
    """A mammogram as a DICOM file. `tags` are further elements by keyword, `remove` names those left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = tags.get("SOPClassUID", MAMMOGRAPHY)
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path.name)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    pixels = np.ascontiguousarray(pixels)
    fields = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": generate_uid(entropy_srcs=["study"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=["series"]),
        "PatientName": NAME,
        "PatientID": "SENTINEL-ID",
        "PatientBirthDate": "19500101",
        "Modality": "MG",
        "PresentationIntentType": "FOR PRESENTATION",
        "ImageLaterality": "L",
        "ViewPosition": "CC",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": 14 if pixels.dtype.itemsize == 2 else 8,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
        **tags,
    }
    fields.setdefault("HighBit", fields["BitsStored"] - 1)
    for keyword, value in fields.items():
        if keyword not in remove:
            setattr(file, keyword, value)
    if "PixelData" in file:
        file["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"
    if syntax != ExplicitVRLittleEndian:
        if encode:
            file.compress(syntax, generate_instance_uid=False)
        else:
            file.file_meta.TransferSyntaxUID = syntax
    file.save_as(path, enforce_file_format=True)
    return path


def sequence(**tags):
    """A sequence of one item."""
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return pydicom.Sequence([item])


def listing(root, count, *, faulty=(), write=True):
    """A dataset of `count` DICOM files in root/, as a reader would list it; reading the faulty ones fails."""
    for n in range(count if write else 0):
        write_dicom(root / f"{n}.dcm", mammogram(60 + n, 50), ImagerPixelSpacing=[0.1, 0.1])
    items = [
        Item(f"case{n}", f"p{n // 2}", (f"{n}.dcm",), partial(read_item, root, n, n in faulty)) for n in range(count)
    ]
    return Listing(root, items, "made up")


def read_item(root, n, is_faulty):
    """One drawn image with one mass of 10 x 8 pixels."""
    if is_faulty:
        raise DataError(f"{n}.dcm: must hold a breast, but holds none: replace it")
    found = read_dicom(root, f"{n}.dcm")
    if n == 1:
        warnings.warn("1.dcm: something to know", DataWarning, stacklevel=2)
    instances = np.zeros(found.pixels.shape, np.uint8)
    instances[20:30, 10:18] = 1
    facts = {"spacing_source": found.spacing_source, "read_by": os.getpid()}
    fields = {"side": found.side, "view": found.view, "spacing_mm": found.spacing_mm, "facts": facts}
    return Sample(f"case{n}", f"p{n // 2}", found.pixels, instances, **fields)
