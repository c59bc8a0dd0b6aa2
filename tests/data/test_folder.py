"""Any pair of folders is a cohort as it is; what does not fit is named, with what to do, and nothing is skipped."""

import os
import struct
import unicodedata
import zlib
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from massmatch import prepare
from massmatch.data import READERS, DataError, DataWarning, open_cohort
from massmatch.data.images import levels, read_grey, read_labels
from massmatch.data.table import read_facts
from massmatch.errors import UsageError

REAL = Path(os.environ.get("MASSMATCH_REAL_COHORT", Path(__file__).parents[2] / "../shared/data/cbis_ddsm_mass_256"))


def two_masses():
    mask = np.zeros((16, 16), np.uint8)
    mask[2:5, 2:5], mask[9:12, 9:12] = 255, 255
    return mask


def put(path, pixels, mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


def add(folder, id, image=None, mask=None):
    put(folder / f"images/{id}.png", np.full((16, 16), 50, np.uint8) if image is None else image)
    put(folder / f"masks/{id}.png", two_masses() if mask is None else mask)


@pytest.fixture
def folder(tmp_path):
    """Two images of one patient, binary masks of 0 and 255, a csv with other people's names for columns."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for id in ("a", "b"):
        add(tmp_path, id)
    (tmp_path / "facts.csv").write_text("id,patient_id,laterality,breast_density\na.png,007,LEFT,2\nb,007,RIGHT,2\n")
    return tmp_path


@pytest.mark.parametrize("name", ["Patient_ID", "PatientID", "PATIENT ID", "patient-id", "Patient"])
def test_a_patient_is_a_patient_in_every_spelling_of_the_column(folder, name):
    (folder / "facts.csv").write_text(f"ID,{name},Laterality,Breast Density\na.png,007,LEFT,2\nb,007,RIGHT,2\n")
    table = open_cohort(folder).table
    assert table["patient"].tolist() == ["007", "007"]
    assert (table["side"].tolist(), table["density"].tolist()) == (["L", "R"], [2, 2])


@pytest.mark.parametrize("second", ["Patient ID", "patient", "Patient"])
def test_two_columns_for_the_patient_are_refused(folder, second):
    (folder / "facts.csv").write_text(f"id,patient,{second}\na,1,2\nb,1,2\n")
    with pytest.raises(DataError, match=r"^facts\.csv: .*patient"):
        open_cohort(folder)


# --- used as it is -----------------------------------------------------------------------------------------------


def test_a_pair_of_folders_is_a_cohort(folder):
    cohort = open_cohort(folder)
    loaded = cohort.load("a")
    assert (cohort.masks, cohort.ids) == ("binary", ["a", "b"])
    assert (loaded.patient, loaded.side, loaded.density) == ("007", "L", 2)
    assert sorted(np.unique(loaded.instances)) == [0, 1, 2]  # two components, two masses
    assert cohort.mass_fraction.tolist() == [18 / 256, 18 / 256]


def test_components_touch_at_corners(folder):
    mask = np.zeros((16, 16), np.uint8)
    mask[4, 4] = mask[5, 5] = 255
    put(folder / "masks/a.png", mask)
    assert open_cohort(folder).load("a").instances.max() == 1


def test_nothing_is_written_into_the_folder(folder):
    before = sorted(folder.rglob("*"))
    cohort = open_cohort(folder)
    _ = cohort.load("a"), cohort.fingerprint, cohort.mass_fraction
    assert sorted(folder.rglob("*")) == before


def test_the_names_of_columns_that_others_use(folder):
    (folder / "facts.csv").write_text(
        "\ufeffid, patient , side,view,density,spacing_row_mm,spacing_col_mm,shape\r\n"
        "b,2,r,mlo,,,,round\r\nimages/a.png,1,Left,CC,4.0,0.07,0.08,\r\n"
    )
    a, b = (open_cohort(folder).load(id) for id in ("a", "b"))
    assert (a.patient, a.side, a.view, a.density, a.spacing_mm) == ("1", "L", "CC", 4, (0.07, 0.08))
    assert (b.patient, b.side, b.view, b.density, b.spacing_mm) == ("2", "R", "MLO", None, None)
    assert (a.facts["shape"], b.facts["shape"]) == (None, "round")


@pytest.mark.parametrize("head", ["view", "side,view"])
def test_a_view_that_holds_the_side_is_read_as_both(folder, head):
    """They stayed views of their own, whose muscle was not darkened, and lines of their own in the table by view."""
    gap = "," * head.count(",")
    rows = {"LCC": ("L", "CC"), "R-mlo": ("R", "MLO"), "LEFT ML": ("L", "ML"), "LLMO": ("L", "LMO"), "LM": (None, "LM")}
    for view, (side, read) in rows.items():
        (folder / "facts.csv").write_text(f"id,patient,{head}\na,1,{gap}{view}\nb,2,{gap}MLO\n")
        a, b = (open_cohort(folder).load(id) for id in ("a", "b"))
        assert (a.side, a.view, b.side, b.view) == (side, read, None, "MLO")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,patient,view\na,1,CC\nb,2,M-O\n", r"view must be a view such as CC or MLO.*is 'M-O' for b"),
        ("id,patient,side,view\na,1,L,RCC\nb,2,R,RCC\n", "view must be of the side that .* is 'RCC' for a"),
        ("id,patient,side,view\na,1,X,RCC\nb,2,R,RCC\n", "side must be L, R, LEFT or RIGHT.*is 'X' for a"),
        ("id,patient,view\na,1,C\0C\nb,2,MLO\n", "bytes that are 0"),
    ],
)
def test_a_table_that_is_damaged_is_refused(folder, text, told):
    (folder / "facts.csv").write_text(text)
    with pytest.raises(DataError, match=rf"^facts\.csv: .*{told}"):
        open_cohort(folder)


def test_columns_may_be_empty(folder):
    (folder / "facts.csv").write_text("id,patient,side,view,density\na,1,,,\nb,2,,,\n")
    assert open_cohort(folder).load("a").side is None


def test_without_patients_there_is_a_warning(folder):
    (folder / "facts.csv").unlink()
    with pytest.warns(UserWarning, match=r"every image counts as a patient.*training and test at once"):
        cohort = open_cohort(folder)
    assert cohort.table["patient"].tolist() == ["a", "b"]


def test_hidden_files_do_not_count(folder):
    (folder / "images/.DS_Store").write_text("")
    (folder / "._facts.csv").write_text("")
    assert len(open_cohort(folder)) == 2


@pytest.mark.parametrize("ending", ["tif", "TIFF", "jpg"])
def test_images_may_be_tiff_or_jpeg(folder, ending):
    (folder / "images/a.png").unlink()
    put(folder / f"images/a.{ending}", np.full((16, 16), 50, np.uint8))
    assert (open_cohort(folder).load("a").image == 50).all()


# --- licence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forms", [forms for forms in product(("NFC", "NFD"), repeat=3) if len(set(forms)) > 1])
def test_names_that_look_alike_are_told_how_they_differ(folder, forms):
    """An image and a mask of one name on the screen: "no mask of this name: add it" sent people the wrong way."""
    image, mask, row = (unicodedata.normalize(form, "Bézier") for form in forms)
    put(folder / f"images/{image}.png", np.full((16, 16), 50, np.uint8))
    put(folder / f"masks/{mask}.png", two_masses())
    with (folder / "facts.csv").open("a", encoding="utf-8") as file:
        file.write(f"{row},008,LEFT,2\n")
    with pytest.raises(DataError, match="differ in how an accent is written"):
        open_cohort(folder)
    if image != row:
        with pytest.raises(DataError, match="differ in how an accent is written"):
            READERS["folder"](folder)
        return
    faults = READERS["folder"](folder).faults
    assert len(faults) == 2
    assert all("differ in how an accent is written" in fault for fault in faults.values())


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        (
            'Origin: X.\nLicence: put:\n  "Contains images of X,\n  licensed CC BY."\n',
            "Contains images of X, licensed CC BY.",
        ),
        ("Origin: X.\nLicence: CC0\nmore\n", "Licence: CC0"),
        ("nothing said\n", "licence unknown (SOURCE.txt names none)"),
        (None, "licence unknown (no SOURCE.txt)"),
    ],
)
def test_the_licence_line_comes_from_source_txt(folder, text, licence):
    if text is not None:
        (folder / "SOURCE.txt").write_text(text)
    assert open_cohort(folder).licence == licence


# --- pixels ------------------------------------------------------------------------------------------------------


def test_sixteen_bits_are_kept(folder):
    image = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    for name, pixels in (("a.png", image), ("b.tif", image.astype(">u2"))):
        put(folder / "images" / name, pixels)
        read = read_grey(folder, f"images/{name}")
        assert read.dtype == np.uint16
        assert np.array_equal(read, image)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_equal_channels_are_grey(folder, mode):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    put(folder / "images/a.png", ramp, mode)
    assert np.array_equal(read_grey(folder, "images/a.png"), ramp)


def test_a_bilevel_mask_is_binary(folder):
    put(folder / "masks/a.png", two_masses() > 0)
    assert levels(read_labels(folder, "masks/a.png")).tolist() == [255]


def test_a_palette_colours_labels_without_changing_them(folder):
    painted = Image.fromarray(np.eye(16, dtype=np.uint8)).convert("P")
    painted.putpalette([0, 0, 0, 0, 0, 0, *[255] * 762])  # label 1 looks as black as the background
    put(folder / "masks/a.png", painted)
    assert np.array_equal(read_labels(folder, "masks/a.png"), np.eye(16, dtype=np.uint8))
    painted.putpalette([0, 0, 0, 255, 0, 0, *[255] * 762])
    put(folder / "images/a.png", painted)
    with pytest.raises(DataError, match=r"images/a.png: must be grey, but is in colour"):
        read_grey(folder, "images/a.png")


def sixteen_bit_colour(path):
    """A PNG that Pillow would open with 8 bits, without a word."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(16 * 6)) * 16)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def turned(path):
    tags = Image.Exif()
    tags[0x0112] = 6
    put(path, np.zeros((16, 16), np.uint8), exif=tags)


def cut(path):
    put(path, np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.png", lambda p: put(p, np.full((16, 16, 3), (10, 90, 200), np.uint8)), "must be grey, but is in colour"),
        ("a.png", sixteen_bit_colour, "16 bits in several channels would be cut to 8"),
        ("a.jpg", lambda p: put(p, Image.new("CMYK", (16, 16))), "has the colours of CMYK"),
        ("a.jpg", turned, "an orientation tag asks to show it turned"),
        ("a.tif", lambda p: put(p, np.zeros((16, 16), np.float32)), "must have 8 or 16 bits, but has float32"),
        ("a.tif", lambda p: put(p, np.full((16, 16), 70000, np.int32)), "must have 8 or 16 bits, but has int32"),
        (
            "a.tif",
            lambda p: put(p, Image.new("L", (16, 16)), save_all=True, append_images=[Image.new("L", (16, 16))]),
            "must be one picture, but holds 2",
        ),
        ("a.png", lambda p: p.write_bytes(b"no image"), r"cannot be read as an image \(UnidentifiedImageError\)"),
        ("a.png", lambda p: p.write_bytes(b""), r"cannot be read as an image \(UnidentifiedImageError\)"),
        ("a.png", cut, r"cannot be read as an image \(\w+\): replace the file"),
    ],
)
def test_pixels_that_would_change_in_silence_are_refused(folder, name, make, message):
    (folder / "images/a.png").unlink()
    make(folder / "images" / name)
    with pytest.raises(DataError, match=f"images/{name}: .*{message}"):
        read_grey(folder, f"images/{name}")


def test_a_picture_of_a_billion_pixels_is_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"images/a.png: must have at most \d+ million pixels"):
        open_cohort(folder)


def test_broken_files_are_named_when_the_cohort_is_opened(folder):
    (folder / "masks/b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"masks/b.png: cannot be read as an image"):
        open_cohort(folder)


# --- binary masks or labels --------------------------------------------------------------------------------------


def labels(*values):
    mask = np.zeros((16, 16), np.uint16 if max(values) > 255 else np.uint8)
    mask.flat[: len(values)] = values
    return mask


def test_masks_with_labels_are_instances(folder):
    put(folder / "masks/a.png", labels(1, 1, 0, 2, 2))
    put(folder / "masks/b.png", labels(1))
    cohort = open_cohort(folder)
    assert cohort.masks == "instances"
    assert np.array_equal(cohort.load("a").instances, labels(1, 1, 0, 2, 2))


def test_one_mask_with_labels_leaves_the_masses_of_the_others_apart(folder):
    """As `prepare` does it; masks that were prepared are labels, also those that hold 1 alone."""
    put(folder / "masks/b.png", two_masses() // 255)
    add(folder, "c", mask=labels(1, 1, 0, 2, 2))
    (folder / "masks/a.png").write_bytes((folder / "masks/b.png").read_bytes())
    (folder / "facts.csv").write_text("id,patient\na,1\nb,1\nc,2\n")
    cohort = open_cohort(folder)
    assert [levels(cohort.load(id).instances).tolist() for id in "abc"] == [[1, 2]] * 3
    prepared = prepare("folder", folder, folder / "out", size="native", workers=1).cohort
    assert all(np.array_equal(prepared.load(id).instances, cohort.load(id).instances) for id in "abc")
    for part in ("images", "masks"):
        put(folder / f"out/{part}/b.png", np.array(Image.open(folder / f"{part}/b.png")))
    assert levels(open_cohort(folder / "out").load("b").instances).tolist() == [1]
    assert cohort.fingerprint != replace(cohort, masks="instances").fingerprint  # what a run learned from has changed


def test_labels_with_the_fringe_of_a_blurred_edge_are_told(folder):
    mask = two_masses() // 255
    mask[9, 9:12] = 2  # a mass of 3 x 3 pixels, whose rim a JPEG made one level brighter
    put(folder / "masks/a.png", mask)
    put(folder / "masks/b.png", labels(1))
    with pytest.warns(DataWarning, match=r"^masks/a\.png: labels hold strips of one or two pixels"):
        assert open_cohort(folder).masks == "instances"


def test_labels_around_one_another_are_refused(folder):
    put(folder / "masks/a.png", labels(1, 2, 3, 2, 1))
    with pytest.raises(DataError, match=r"^masks/a\.png: its labels 1 to 3 lie around one another"):
        open_cohort(folder)


def test_labels_may_be_many_or_have_gaps(folder):
    many = np.zeros((40, 40), np.uint8)
    many[::2, ::4] = np.arange(1, 201).reshape(20, 10)
    add(folder, "a", np.full((40, 40), 50, np.uint8), many)
    put(folder / "masks/b.png", labels(1, 0, 3))
    assert open_cohort(folder).masks == "instances"


@pytest.mark.parametrize("value", [1, 128, 255])
def test_one_value_is_binary_whatever_it_is(folder, value):
    put(folder / "masks/a.png", labels(value))
    assert open_cohort(folder).masks == "binary"


def test_smoothed_masks_are_refused_not_thresholded_in_silence(folder):
    put(folder / "masks/b.png", labels(255, 255, 90, 17))
    with pytest.raises(
        DataError,
        match=r"masks/b.png: a mask must hold 0 and one other value.*holds 4 values up to 255.*threshold it",
    ):
        open_cohort(folder)


def test_labels_and_binary_masks_do_not_mix(folder):
    put(folder / "masks/a.png", labels(1, 0, 2))  # and b holds 255
    with pytest.raises(DataError, match=r"masks/b.png: other masks hold labels 1, 2, ..., but this one 255 alone"):
        open_cohort(folder)


def test_a_mask_that_changed_after_opening_is_named(folder):
    cohort = open_cohort(folder)
    put(folder / "masks/a.png", labels(255, 90))
    with pytest.raises(DataError, match=r"masks/a.png: the cohort's masks hold 0 and one other value.*\[0, 90, 255\]"):
        cohort.load("a")
    put(folder / "masks/b.png", np.zeros((16, 8), np.uint8))
    with pytest.raises(DataError, match=r"masks/b.png: the mask must have the size of its image, \(16, 16\)"):
        cohort.load("b")


# --- what does not fit -------------------------------------------------------------------------------------------


def test_images_without_mask_are_named_five_and_counted(folder):
    for n in range(7):
        put(folder / f"images/x{n}.png", np.zeros((16, 16), np.uint8))
    with pytest.raises(
        DataError,
        match=r"^images/x0.png, images/x1.png, images/x2.png, images/x3.png, images/x4.png and 2 more \(7 in all\): "
        r"no mask of this name in masks/ \(one without mass is all black\): add it, or move the file away$",
    ):
        open_cohort(folder)


def test_masks_without_image_are_named(folder):
    put(folder / "masks/c.png", two_masses())
    with pytest.raises(DataError, match=r"masks/c.png: no image of this name in images/"):
        open_cohort(folder)


def test_images_without_row_and_rows_without_image_are_named(folder):
    add(folder, "c")
    with pytest.raises(DataError, match=r"images/c.png: no row in facts.csv, whose `id` is a file's name"):
        open_cohort(folder)
    (folder / "facts.csv").write_text("id,patient\na,1\nb,1\nc,2\nd,2\ne,2\n")
    with pytest.raises(DataError, match=r"facts.csv: rows without a file in images/: d, e: add it, or drop the row"):
        open_cohort(folder)


def test_masks_of_another_size_are_named_with_both_sizes(folder):
    put(folder / "images/a.png", np.zeros((16, 8), np.uint8))
    with pytest.raises(DataError, match=r"masks/a.png: .* size of its image, \(16, 8\) .* but has \(16, 16\): make"):
        open_cohort(folder)
    put(folder / "masks/a.png", np.zeros((8, 16), np.uint8))
    with pytest.raises(DataError, match=r"masks/a.png: .* but has \(8, 16\); it looks transposed"):
        open_cohort(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("images/notes.txt", r"images/notes.txt: must end in .png, .tif, .tiff, .jpg, .jpeg: convert it"),
        (
            "masks/a.jpg",
            r"masks/a.jpg: must end in .png, .tif, .tiff: save it as PNG, .* .`massmatch prepare` takes JPEG",
        ),
        ("images/a.jpg", r"images/a.png: images/a.jpg has the same id, 'a': rename one"),
        ("other.csv", r"facts.csv, other.csv: there must be at most one csv, but there are 2"),
    ],
)
def test_a_file_that_should_not_be_there_is_named(folder, name, message):
    (folder / name).write_bytes(b"")
    with pytest.raises(DataError, match=message):
        open_cohort(folder)


@pytest.mark.parametrize(
    ("part", "name", "content"),
    [("images", "c.dcm", b""), ("masks", "c.DICOM", b""), ("images", "IM0001", bytes(128) + b"DICM")],
)
def test_dicom_is_not_to_be_converted_which_loses_spacing_and_side(folder, part, name, content):
    (folder / part / name).write_bytes(content)
    said = f"^{part}/{name}: must end in .*: `massmatch prepare folder` reads DICOM, with its spacing and side"
    with pytest.raises(DataError, match=said):
        open_cohort(folder)


def test_a_folder_in_the_folder_of_images_is_called_one(folder):
    (folder / "images/48575a27").mkdir()
    with pytest.raises(DataError, match=r"^images/48575a27/: is a folder, in which .*: move them up into images/"):
        open_cohort(folder)


@pytest.mark.parametrize("there", [(), ("images",)])
def test_what_was_downloaded_is_to_be_prepared(tmp_path, there):
    """As CBIS-DDSM, with its tables, and VinDr-Mammo, with its folders of DICOM."""
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id\n")
    for name in there:
        (tmp_path / name / "48575a27").mkdir(parents=True)
    with pytest.raises(DataError, match=r"^(images|masks)/: no such folder in .* becomes one by `massmatch prepare`"):
        open_cohort(tmp_path)


def test_a_datalist_is_no_folder(tmp_path):
    (tmp_path / "datalist.json").write_text("{}")
    with pytest.raises(
        UsageError, match=r"datalist\.json is a file, but a cohort is a folder: `massmatch prepare monai`"
    ):
        open_cohort(tmp_path / "datalist.json")


def test_a_missing_or_empty_folder_is_named(folder):
    with pytest.raises(DataError, match=r"images/: no such folder in .*; a cohort has images/ and masks/"):
        open_cohort(folder / "images")
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"images/: must hold images, but is empty"):
        open_cohort(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,patient\na,1\n", r"must have a column `id` .* but has the columns \['name', 'patient'\]"),
        ("id;patient\na;1\nb;1\n", r"must have a column `id` .* commas .* but has the columns \['id;patient'\]"),
        ("id,patient\na,1\nb,\n", r"patient must be filled in, but is '' for b"),
        ("id,patient\na,1\n,2\n", r"rows must have an id, but 1 have none: fill or delete them"),
        ("id,patient\na,1\nb,1\nb.png,2\n", r"ids must have one row, but have several: b: keep one of each"),
        ("id,patient,side\na,1,X\nb,1,L\n", r"side must be L, R, LEFT or RIGHT, or empty, but is 'X' for a"),
        ("id,patient,density\na,1,0\nb,1,2\n", r"density must be 1, 2, 3 or 4, or empty, but is '0' for a"),
        ("id,patient,density\na,1,4a\nb,1,2\n", r"density must be 1, 2, 3 or 4, or empty, but is '4a' for a"),
        (
            "id,patient,spacing_row_mm,spacing_col_mm\na,1,-1,1\nb,1,1,1\n",
            r"spacing_row_mm must be millimetres above 0, or empty, but is '-1' for a",
        ),
        (
            "id,patient,spacing_row_mm\na,1,0.07\nb,1,\n",
            r"spacing_row_mm and spacing_col_mm belong together, but a lack",
        ),
        (
            "id,patient\na,Unknown\nb,Unknown\n",
            r"patient must be filled in \(or left .*, but is 'Unknown' for a, b",
        ),
        ("id,patient\na,#REF!\nb,#REF!\n", r"patient must be filled in \(or left out .*, but is '#REF!' for a, b"),
        ("id,patient\na,1.23E+11\nb,7\n", r"patient must be written in full \(a spreadsheet .*'1.23E\+11' for a"),
        ("id,patient\na,1,9\nb,1,9\n", r"cannot be read as a csv \(Length of header"),
        ("id,patient\na,1\nb,1,2,3\n", r"cannot be read as a csv \(Error tokenizing"),
        ("", r"cannot be read as a csv \(No columns"),
        (b"id,patient\na,M\xfcller\nb,1\n", r"cannot be read as a csv \('utf-8"),
    ],
)
def test_a_csv_that_cannot_be_is_named(folder, text, message):
    (folder / "facts.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=f"^facts.csv: {message}"):
        open_cohort(folder)


def test_a_spacing_in_micrometres_is_refused(folder):
    (folder / "facts.csv").write_text("id,patient,spacing_row_mm,spacing_col_mm\na,1,70,70\nb,1,0.07,0.07\n")
    with pytest.raises(DataError, match=r"^images/a\.png: a spacing of 70 x 70 mm would make the image 1120 mm long"):
        open_cohort(folder)


# --- the real thing ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    if not REAL.is_dir():
        pytest.skip("the real cohort is not here: set MASSMATCH_REAL_COHORT to its folder")
    return open_cohort(REAL)


def test_the_real_folder_is_used_as_it_is(real):
    assert (len(real), real.table["patient"].nunique(), real.masks) == (1231, 691, "binary")
    assert real.table["side"].isin(["L", "R"]).all()
    assert real.load(real.ids[0]).density == 3


def test_the_real_folders_licence_line_travels_along(real):
    assert "CC BY 3.0" in real.licence
    assert "Sawyer-Lee R, Gimenez F, Hoogi A, Rubin D. The Cancer Imaging Archive, 2016" in real.licence


def test_the_real_masses_have_the_published_sizes(real):
    assert real.mass_fraction.median() == pytest.approx(0.0027, abs=1e-4)
    published = real.table.set_index("id")["mask_fraction"]
    assert np.allclose(real.mass_fraction, published[real.mass_fraction.index], atol=1e-6)


def test_a_column_under_two_names_is_refused(tmp_path):
    (tmp_path / "facts.csv").write_text("id,patient,patient_id\na,1,2\n")
    with pytest.raises(DataError, match="must have `patient` or `patient_id`, but has both"):
        read_facts(tmp_path / "facts.csv")
