"""CBIS-DDSM in small: NBIA's tree and the JPEG copy, with every known quirk, and made-up images and masks.

`write(root)` and `write_jpeg(root)` give healthy downloads (with the release's own quirks); `break_...` do the rest.
"""

import csv
import io

import numpy as np
from PIL import Image

from mammograms import mammogram, write_dicom

STUDY = "1.3.6.1.4.1.9590.100.1.2.1"
HEADER = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,mass margins,"
    "assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)
CALC_HEADER = (
    HEADER.replace("breast_density", "breast density")
    .replace("mass shape", "calc type")
    .replace("mass margins", "calc distribution")
)
SIZE = (120, 80)
# name: (patient, side, view, density, size of the image, lesions as (top, left, height, width))
TRAIN = {
    "Mass-Training_P_00001_LEFT_CC": ("P_00001", "LEFT", "CC", "3", SIZE, [(30, 10, 20, 15)]),
    "Mass-Training_P_00001_LEFT_MLO": (*("P_00001", "LEFT", "MLO", "3", (100, 60)), [(40, 12, 10, 10)]),
    "Mass-Training_P_00004_RIGHT_CC": (
        *("P_00004", "RIGHT", "CC", "2", SIZE),
        [(20, 40, 12, 12), (24, 44, 4, 4), (80, 50, 10, 8)],
    ),
    "Mass-Training_P_00009_LEFT_CC": ("P_00009", "LEFT", "CC", "0", SIZE, [(50, 5, 9, 9)]),
}
TEST = {
    "Mass-Test_P_00016_LEFT_CC": ("P_00016", "LEFT", "CC", "4", SIZE, [(60, 20, 14, 10)]),
    "Mass-Test_P_00145_LEFT_CC": ("P_00145", "LEFT", "CC", "1", SIZE, [(60, 20, 14, 10)]),  # mask of another size
}
CALC_TRAIN = {"Calc-Training_P_00016_LEFT_CC": ("P_00016", "LEFT", "CC", "4", SIZE, [(70, 30, 6, 6)])}
CALC_TEST = {"Calc-Test_P_00001_LEFT_CC": ("P_00001", "LEFT", "CC", "3", SIZE, [(15, 10, 5, 5)])}
TABLES = {
    "mass_case_description_train_set.csv": (HEADER, TRAIN),
    "mass_case_description_test_set.csv": (HEADER, TEST),
    "calc_case_description_train_set.csv": (CALC_HEADER, CALC_TRAIN),
    "calc_case_description_test_set.csv": (CALC_HEADER, CALC_TEST),
}
OTHER_SIZE = "Mass-Test_P_00145_LEFT_CC"
ALONE = "Mass-Training_P_00001_LEFT_MLO"  # its mask is alone in a series, and the columns are exchanged


def uid(*parts):
    """A series' UID that follows from its name."""
    return f"{STUDY}.{sum(ord(c) * (n + 1) for n, c in enumerate('/'.join(map(str, parts))))}.7.3"


def layers(name, size, number, lesion):
    """Mask and crop of one lesion."""
    top, left, height, width = lesion
    mask = np.zeros((150, 70) if name == OTHER_SIZE else size, np.uint8)
    mask[top : top + height, left : left + width] = 255
    crop = mammogram(*size)[top : top + height, left : left + width]
    return mask, (crop / crop.max() * 255).astype(np.uint8)


def series_of(name, number):
    """UIDs of mask and crop: one series for both, but for one image two."""
    mask = uid(name, number, "mask")
    return mask, uid(name, number, "crop") if name == ALONE else mask


def csv_text(header, images):
    """The table, with the line breaks inside of quoted cells and the paths of the release, which are not the disk's."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(header.split(","))
    for name, (patient, side, view, density, _, lesions) in images.items():
        for number, _ in enumerate(lesions, start=1):
            mask, crop = series_of(name, number)
            folder = f"{name}_{number}"
            paths = [f"{folder}/{STUDY}/{crop}/000000.dcm", f"{folder}/{STUDY}/{mask}/000001.dcm\n"]
            if name == ALONE or name.startswith("Calc"):
                paths = [f"{folder}/{STUDY}/{mask}/000001.dcm\n", f"{folder}/{STUDY}/{crop}/000000.dcm"]
            full = f"{name}/{STUDY}/{uid(name)}/000000.dcm"
            kind = "mass" if name.startswith("Mass") else "calcification"
            shape = "" if number == 2 else "OVAL"
            facts = [patient, density, side, view, number, kind, shape, "SPICULATED", 4, "MALIGNANT", 5]
            writer.writerow([*facts, full, *paths])
    return out.getvalue()


def write(root, *, metadata=True):
    """NBIA's tree; without its metadata.csv the headers tell the series."""
    rows = ["Series UID,Collection,File Location"]
    root.mkdir(parents=True, exist_ok=True)
    for table, (header, images) in TABLES.items():
        (root / table).write_bytes(csv_text(header, images).encode())
        for name, (_, side, view, _, size, lesions) in images.items():
            tags = {"ImageLaterality": side[0], "ViewPosition": view, "PatientID": name}
            tags["SOPClassUID"] = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture, as in the release
            place = f"CBIS-DDSM/{name}/08-07-2016-DDSM-12345/1.000000-full mammogram images-{len(name)}"
            put(root, rows, place, uid(name), [mammogram(*size, side.lower())], **tags)
            for number, lesion in enumerate(lesions, start=1):
                mask, crop = layers(name, size, number, lesion)
                place = f"CBIS-DDSM/{name}_{number}/08-07-2016-DDSM-54321/1.000000-ROI mask images-9"
                tags["PatientID"] = f"{name}_{number}"
                one, other = series_of(name, number)
                if one == other:
                    put(root, rows, place, one, [crop, mask] if number % 2 else [mask, crop], **tags)
                else:
                    put(root, rows, place, one, [mask], **tags)
                    put(root, rows, place.replace("ROI mask", "cropped"), other, [crop], **tags)
    if metadata:
        (root / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8-sig")


def put(root, rows, place, series, images, **tags):
    folder = root / place
    folder.mkdir(parents=True)
    for n, image in enumerate(images, start=1):
        write_dicom(folder / f"1-{n}.dcm", image, SeriesInstanceUID=series, BitsStored=image.dtype.itemsize * 8, **tags)
    rows.append(f"{series},CBIS-DDSM,.\\{place}".replace("/", "\\"))


def write_jpeg(root):
    """The copy in JPEG: jpeg/<SeriesUID>/1-xxx.jpg, 8 bits with losses, tables in csv/."""
    (root / "csv").mkdir(parents=True)
    (root / "csv/dicom_info.csv").write_text("file_path,image_path,SeriesDescription\n")
    for table, (header, images) in TABLES.items():
        (root / "csv" / table).write_bytes(csv_text(header, images).encode())
        for name, (_, side, _, _, size, lesions) in images.items():
            grey = mammogram(*size, side.lower())
            put_jpeg(root, uid(name), "1-249.jpg", (grey / grey.max() * 255).astype(np.uint8))
            for number, lesion in enumerate(lesions, start=1):
                mask, crop = layers(name, size, number, lesion)
                one, other = series_of(name, number)
                put_jpeg(root, one, "1-152.jpg", mask)
                put_jpeg(root, other, "2-291.jpg", crop)


def put_jpeg(root, series, file, pixels):
    folder = root / "jpeg" / series
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / file, quality=80)
