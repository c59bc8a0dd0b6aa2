"""How long one full-field mammogram takes to prepare, beside pydicom alone: seconds per image on one core.

Each image is 4084 x 3328 with 14 bits stored in 16, as INbreast's larger ones, with two masses.
"""

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from pydicom import dcmread, uid
from pydicom.dataset import FileDataset, FileMetaDataset

from massmatch.data import Sample
from massmatch.data.dicom import read_dicom
from massmatch.data.preparation.process import prepare_listing
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.data.readers.listing import Item, Listing
from measuring import Goal, Section, seconds, table

ROWS, COLUMNS, IMAGES = 4084, 3328, 5
HOW = {
    "256, whole": Preprocessing(),
    "256, crop and flip": Preprocessing(crop="breast", flip="right"),
    "1024, 16 bits": Preprocessing(size=(1024, 1024), bits=16),
    "native, 16 bits": Preprocessing(size="native", bits=16),
}


def write(path: Path, syntax: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = "1.2.840.10008.5.1.4.1.1.1.2", uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    row, col = np.mgrid[:ROWS, :COLUMNS]
    tissue = np.clip(1.2 - np.hypot((row - ROWS / 2) / (0.45 * ROWS), col / (0.7 * COLUMNS)), 0, 0.6) * 16000
    noise = np.random.default_rng(0).normal(0, 20, tissue.shape)
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
        "MG",
    )
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 14, 13, 0
    file.PixelData = np.clip(np.where(tissue > 0, tissue + noise, 0), 0, 16383).astype(np.uint16).tobytes()
    file["PixelData"].VR = "OW"
    if syntax != uid.ExplicitVRLittleEndian:
        file.compress(syntax, generate_instance_uid=False)
    file.save_as(path, enforce_file_format=True)


def read(root: Path, name: str, n: int) -> Sample:
    found = read_dicom(root, name)
    instances = np.zeros(found.pixels.shape, np.uint8)
    instances[1500:1800, 700:1000], instances[2500:2560, 900:960] = 1, 2
    return Sample(f"{n}", f"{n}", found.pixels, instances)


def section(*, quick: bool = False) -> Section:
    """The chapter on `prepare`."""
    rows, goals = [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for syntax in (uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless)[: 1 if quick else None]:
            name = f"{syntax}.dcm"
            write(root / name, syntax)
            alone = statistics.median(seconds(lambda n=name: dcmread(root / n).pixel_array) for _ in range(3))
            rows.append((syntax.name, "pydicom's pixel_array alone", alone, 1.0))
            for title, how in list(HOW.items())[: 1 if quick else None]:
                items = [Item(f"{n}", f"{n}", (name,), partial(read, root, name, n)) for n in range(IMAGES)]
                ends = [time.perf_counter()]
                out = root / f"{syntax}{title}"
                tick = lambda done, of, ends=ends: ends.append(time.perf_counter())  # noqa: E731
                prepare_listing(Listing(root, items, ""), out, how, reader="bench", options={}, workers=1, tick=tick)
                took = float(np.median(np.diff(ends)))
                rows.append((syntax.name, f"prepare: {title}", took, took / alone))
                if "256, whole" in title:
                    goals.append(Goal(f"prepare to 256 x 256, {syntax.name}", 2, took, " s an image"))
    text = (
        f"One image of {ROWS} x {COLUMNS} with two masses, on one core: decoding, checks, breast, grey levels, masks, "
        f"size and writing.\n\n{table(('file', 'what', 'seconds an image', '/ pydicom'), rows)}"
    )
    return Section("prepare", goals, text)
