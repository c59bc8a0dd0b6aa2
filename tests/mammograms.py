"""Drawn mammograms, and DICOM files of them with any tag."""

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

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
