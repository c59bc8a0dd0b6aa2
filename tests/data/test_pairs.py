"""Folders as people keep them; row numbers are those of the fault table."""

import json
import os
import re
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mammograms import mammogram, write_dicom
from massmatch import prepare
from massmatch.data import DataError, DataWarning, open_cohort
from massmatch.data.export import export_nnunet
from massmatch.data.readers.folder import folder
from massmatch.data.readers.monai import monai
from massmatch.data.readers.nnunet import nnunet
from massmatch.errors import UsageError


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def mask(top=255, where=(20, 10, 12, 8), shape=(60, 50), kind=np.uint8):
    array = np.zeros(shape, kind)
    row, col, height, width = where
    array[row : row + height, col : col + width] = top
    return array


def image(kind=np.uint8, shape=(60, 50)):
    grey = mammogram(*shape)
    return (grey / grey.max() * np.iinfo(kind).max).astype(kind)


@pytest.fixture
def root(tmp_path):
    """Two healthy pairs."""
    for name in ("a", "b"):
        save(tmp_path / f"d/images/{name}.png", image())
        save(tmp_path / f"d/masks/{name}.png", mask())
    return tmp_path / "d"


def read(listing):
    return {item.id: item.read() for item in listing.items}


def areas(sample):
    return np.bincount(sample.instances.ravel())[1:].tolist()


@pytest.mark.parametrize(
    ("first", "second"),
    [("a_mask.png", "a_gt.png"), ("a.png", "a_seg.png"), ("a.png", "a_mask.png"), ("a_mask.png", "a_mask.tif")],
)
def test_two_masks_that_say_the_same_of_an_image_are_refused(root, first, second):
    (root / "masks/a.png").unlink()
    save(root / "masks" / first, mask())
    save(root / "masks" / second, mask(where=(24, 12, 12, 8)))
    said = "there is masks/.*, too, for the same image: keep one of them"
    assert re.search(said, folder(root).faults["images/a.png"])


def test_beside_each_other_masks_of_two_kinds_are_refused(tmp_path):
    save(tmp_path / "d/a.png", image())
    save(tmp_path / "d/a_mask.png", mask())
    save(tmp_path / "d/a_mask.tif", mask(where=(40, 10, 5, 5)))
    assert "keep one of them" in folder(tmp_path / "d").faults["a.png"]


def test_a_link_to_a_folder_is_told(tmp_path):
    save(tmp_path / "d/benign/a.png", image())
    save(tmp_path / "d/benign/a_mask.png", mask())
    save(tmp_path / "elsewhere/b.png", image())
    (tmp_path / "d/malignant").symlink_to(tmp_path / "elsewhere")
    listing = folder(tmp_path / "d")
    assert [item.id for item in listing.items] == ["a"]
    assert listing.skipped == {
        "malignant/": "malignant/: is a link to a folder, which is not followed: copy its files into the source"
    }


def test_one_mass_drawn_twice_is_told(root):
    (root / "masks/a.png").unlink()
    for n, row in enumerate((20, 21, 45)):
        save(root / f"masks/a_mask_{n}.png", mask(where=(row, 10, 6, 8)))
    (item,) = (item for item in folder(root).items if item.id == "a")
    with pytest.warns(DataWarning, match=r"masks/a_mask_1\.png: shares 40 pixels with masks/a_mask_0\.png") as told:
        item.read()
    assert len(told) == 1


def test_a_pair_of_folders(root):
    listing = folder(root)
    assert {id: areas(s) for id, s in read(listing).items()} == {"a": [96], "b": [96]}
    assert any("no column `patient`" in remark for remark in listing.remarks)


@pytest.mark.parametrize("suffix", ["_mask", "_seg", "_gt", "_mask_1"])
def test_suffixes_and_cases(root, suffix):
    (root / "masks/a.png").rename(root / f"masks/a{suffix}.PNG")
    (root / "images").rename(root / "Images")
    assert areas(read(folder(root))["a"]) == [96]


def test_several_masks_are_several_masses(root):
    save(root / "masks/a_mask_1.png", mask(where=(40, 30, 5, 5)))
    assert areas(read(folder(root))["a"]) == [96, 25]


def test_busi_by_its_names(tmp_path):
    """Blanks, brackets, and `benign (1)` beside `benign (10)`."""
    for name, kind in (("benign (1)", "benign"), ("benign (10)", "benign"), ("normal (1)", "normal")):
        save(tmp_path / f"{kind}/{name}.png", np.stack([image()] * 3, -1))
    save(tmp_path / "benign/benign (1)_mask.png", np.stack([mask()] * 3, -1))
    save(tmp_path / "benign/benign (10)_mask.png", mask(where=(5, 5, 3, 3)))
    save(tmp_path / "benign/benign (10)_mask_1.png", mask(where=(30, 30, 4, 4)))
    save(tmp_path / "normal/normal (1)_mask.png", mask(0))
    samples = read(folder(tmp_path))
    assert {id: areas(s) for id, s in samples.items()} == {"benign (1)": [96], "benign (10)": [9, 16], "normal (1)": []}
    assert samples["normal (1)"].facts["folder"] == "normal"


def test_one_name_in_two_folders(tmp_path):
    for kind in ("benign", "malignant"):
        save(tmp_path / f"{kind}/1.png", image())
        save(tmp_path / f"{kind}/1_mask.png", mask())
    assert list(read(folder(tmp_path))) == ["benign-1", "malignant-1"]


@pytest.mark.parametrize(
    "kind",
    ["RGB", "RGBA", "palette", "16 bit", "JPEG", "TIFF", "one bit"],
)
def test_row_33_masks_of_every_kind(root, kind):
    (root / "masks/a.png").unlink()
    path = root / "masks/a.png"
    if kind == "RGB":
        save(path, np.stack([mask()] * 3, -1))
    elif kind == "RGBA":  # the colours count, not the opaque alpha
        save(path, np.stack([mask()] * 3 + [np.full((60, 50), 255, np.uint8)], -1))
    elif kind == "palette":
        picture = Image.fromarray(mask(1)).convert("P")
        picture.putpalette([0, 0, 0, 200, 30, 30] + [0] * 762)
        picture.save(path)
    elif kind == "16 bit":
        save(path, mask(65535, kind=np.uint16))
    elif kind == "TIFF":
        save(path.with_suffix(".tif"), mask())
    elif kind == "one bit":
        save(path, mask() > 0)
    else:
        save(path.with_suffix(".jpg"), mask(), quality=60)
    if kind == "JPEG":
        with pytest.warns(DataWarning, match=r"masks/a\.jpg: .*grey"):
            assert areas(read(folder(root))["a"]) == [96]
    else:
        assert areas(read(folder(root))["a"]) == [96]


def test_sixteen_bits_are_kept(root):
    save(root / "images/a.png", image(np.uint16))
    assert read(folder(root))["a"].image.max() == 65535


@pytest.mark.parametrize(
    ("shape", "told"), [((50, 60), "it looks transposed"), ((61, 50), r"\(61, 50\): make it again")]
)
def test_row_32_sizes_that_differ(root, shape, told):
    save(root / "masks/a.png", mask(shape=shape))
    (item,) = (item for item in folder(root).items if item.id == "a")
    with pytest.raises(DataError, match=rf"^masks/a\.png: .*\(60, 50\).*{told}"):
        item.read()


def test_row_34_empty_folders(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="must hold images and masks"):
        folder(tmp_path)
    with pytest.raises(UsageError):
        folder(tmp_path / "nowhere")


def test_row_35_what_does_not_belong(root):
    save(root / "images/a.jpg", image())
    save(root / "masks/lone.png", mask())
    save(root / "images/alone.png", image())
    for name in (".DS_Store", "._a.png", "Thumbs.db"):
        (root / "images" / name).write_bytes(b"\0")
    (root / "images/notes.txt").write_text("text")
    listing = folder(root)
    assert set(listing.faults) == {"images/a.png", "masks/lone.png", "images/alone.png"}
    assert "images/a.jpg has the same id" in listing.faults["images/a.png"]
    assert "no image of this name" in listing.faults["masks/lone.png"]
    assert "no mask of this name" in listing.faults["images/alone.png"]
    assert all(text.startswith(file) for file, text in listing.faults.items())
    assert listing.left_out == {"images/notes.txt": "no image by its name"}


@pytest.mark.parametrize("ending", [".bmp", ".nii.gz", ".JP2"])
def test_pictures_of_endings_that_are_not_read_are_named(root, ending):
    (root / f"images/b{ending}").write_bytes(b"x")
    listing = folder(root)
    file = f"images/b{ending}"
    assert listing.skipped == {file: f"{file}: {ending.lower()} is not read: convert it to PNG"}
    assert listing.left_out == {}


def test_folders_among_the_images_are_named(root):
    (root / "images/more").mkdir()
    assert folder(root).skipped == {
        "images/more/": "images/more/: is a folder, in which no images are looked for: move its files up"
    }


def test_one_patient_in_two_spellings_is_refused(root):
    save(root / "images/b.png", image())
    save(root / "masks/b.png", mask())
    ids = sorted(path.stem for path in (root / "images").iterdir())
    (root / "facts.csv").write_text("id,patient\n" + "".join(f"{id},7{'.0' * (id == 'b')}\n" for id in ids))
    with pytest.raises(DataError, match=r"facts\.csv: patient must be spelt in one way .* but is '7' for a, b"):
        folder(root)


def test_a_folder_of_other_endings_names_them(tmp_path):
    for folder_ in ("images", "masks"):
        (tmp_path / folder_).mkdir()
        (tmp_path / folder_ / "a.bmp").write_bytes(b"x")
    with pytest.raises(DataError, match=r"but holds none \(there are files that end in \.bmp\)"):
        folder(tmp_path)


@pytest.mark.parametrize("gap", ["NA", "nan", "null", "-", "?"])
def test_a_gap_is_not_one_patient_of_several_images(root, gap):
    save(root / "images/b.png", image())
    save(root / "masks/b.png", mask())
    ids = sorted(path.stem for path in (root / "images").iterdir())
    (root / "facts.csv").write_text("id,patient\n" + "".join(f"{id},{gap}\n" for id in ids))
    for read_all in (folder, open_cohort):
        with pytest.raises(DataError, match=rf"^facts\.csv: patient must be filled in .*but is '{re.escape(gap)}' for"):
            read_all(root)


def test_digitised_film_is_read_when_it_is_asked_for(root):
    (root / "images/a.png").unlink()
    write_dicom(root / "images/a.dcm", image().astype(np.uint16), Modality="RG")
    (item,) = (item for item in folder(root).items if item.id == "a")
    with pytest.raises(DataError, match="--modality any"):
        item.read()
    (item,) = (item for item in folder(root, modality="any").items if item.id == "a")
    assert item.read().image.shape == image().shape


def test_row_35_links_and_rights(root, tmp_path):
    (root / "masks/a.png").unlink()
    (root / "masks/a.png").symlink_to(root / "gone.png")
    (root / "images/loop").symlink_to(root / "images")
    (root / "masks/b.png").chmod(0)
    faults = folder(root).faults
    assert "masks/a.png: is a link to nothing" in faults["images/a.png"]
    if not os.access(root / "masks/b.png", os.R_OK):
        assert "masks/b.png: may not be read" in faults["images/b.png"]


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_row_36_damaged_files(root, damage, ending):
    (root / "images/a.png").unlink()
    path = root / f"images/a.{ending}"
    save(path, image())
    path.write_bytes({"cut": path.read_bytes()[: path.stat().st_size // 2], "empty": b"", "text": b"an image"}[damage])
    (item,) = (item for item in folder(root).items if item.id == "a")
    with pytest.raises(DataError, match=rf"^images/a\.{ending}: cannot be read as an image"):
        item.read()


def test_row_37_a_bomb_is_refused_before_it_unfolds(root):
    """144 million pixels in some 20 kB."""
    Image.new("L", (12000, 12000)).save(root / "images/a.png")
    (item,) = (item for item in folder(root).items if item.id == "a")
    with pytest.raises(DataError, match=r"^images/a\.png: must have at most 100 million pixels, not 144"):
        item.read()


def test_a_turned_photograph_is_refused(root):
    (root / "images/a.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image()).save(root / "images/a.jpg", exif=exif)
    (item,) = (item for item in folder(root).items if item.id == "a")
    with pytest.raises(DataError, match=r"^images/a\.jpg: an orientation tag"):
        item.read()


def test_a_csv_of_facts(root):
    (root / "facts.csv").write_text(
        "id,patient_id,laterality,view,density,spacing_row_mm,spacing_col_mm,age\na.png,p1,LEFT,cc,2,0.1,0.2,50\nb,p1,R,MLO,,,,\n"
    )
    listing = folder(root)
    samples = read(listing)
    a, b = samples["a"], samples["b"]
    assert (a.patient, a.side, a.view, a.density, a.spacing_mm) == ("p1", "L", "CC", 2, (0.1, 0.2))
    assert (b.patient, b.side, b.density, b.spacing_mm) == ("p1", "R", None, None)
    assert (a.facts["age"], a.facts["spacing_source"], b.facts["spacing_source"]) == (50, "csv", "none")
    assert listing.remarks == []
    (root / "facts.csv").write_text("id,patient\na,p1\n")
    with pytest.raises(DataError, match=r"^facts\.csv: must have one row per image.*differ in b"):
        folder(root)


def test_columns_that_prepare_writes_are_told(root, tmp_path):
    """`flipped` was overwritten without a word, `image_path` refused by a message that named no csv."""
    (root / "facts.csv").write_text("id,patient,image_path,flipped,native_rows,age\na,1,x,3,7,50\nb,2,y,3,7,60\n")
    prepared = prepare("folder", root, tmp_path / "out", workers=1, size=(30, 25))
    told = "facts.csv: `prepare` writes flipped, image_path, native_rows itself: rename these columns to keep them"
    assert prepared.warnings == [told]
    table = prepared.cohort.table
    assert (table["age"].tolist(), table["native_rows"].tolist(), table["flipped"].any()) == ([50, 60], [60, 60], False)
    again = prepare("folder", tmp_path / "out", tmp_path / "again", workers=1, size=(20, 20))  # its own samples.csv
    assert not any("`prepare` writes" in text for text in again.warnings)  # whose columns nobody wants to rename


@pytest.mark.parametrize("name", ["facts.xlsx", "facts.tsv", "Facts.ODS", "facts.xls"])
@pytest.mark.parametrize("layout", ["apart", "beside"])
def test_a_table_that_is_no_csv_is_told(root, name, layout):
    """Its patients, sides and spacings were left out without a word."""
    if layout == "beside":
        for path in (root / "masks").iterdir():
            path.rename(root / f"images/{path.stem}_mask.png")
        (root / "masks").rmdir()
    (root / name).write_bytes(b"x")
    (root / f"~${name}").write_bytes(b"x")  # as Excel keeps it while the table is open
    assert folder(root).remarks[0] == f"{name}: is not read: save it as csv (docs/data.md says which columns)"
    (root / "facts.csv").write_text("id,patient\na,1\nb,2\n")
    assert folder(root).remarks == []


def test_a_csv_that_contradicts_the_header_counts_and_is_told(root):
    write_dicom(root / "images/c.dcm", mammogram(60, 50), ImageLaterality="R", ViewPosition="MLO")
    save(root / "masks/c.png", mask())
    (root / "facts.csv").write_text("id,patient,side,view\na,1,,\nb,2,,\nc.dcm,3,L,MLO\n")
    (item,) = (item for item in folder(root).items if item.id == "c")
    with pytest.warns(DataWarning, match=r"^images/c\.dcm: the header's side is R, that of the csv L; the csv counts"):
        assert item.read().side == "L"


@pytest.mark.parametrize(("row", "col", "is_told"), [(0.07, 0.07, True), (0.1, 0.2, True), (0.1004, 0.0997, False)])
def test_a_spacing_of_the_csv_that_is_not_the_headers_counts_and_is_told(root, recwarn, row, col, is_told):
    write_dicom(root / "images/c.dcm", mammogram(60, 50), PixelSpacing=[0.1, 0.1])
    save(root / "masks/c.png", mask())
    (root / "facts.csv").write_text(f"id,patient,spacing_row_mm,spacing_col_mm\na,1,,\nb,2,,\nc.dcm,3,{row},{col}\n")
    (item,) = (item for item in folder(root).items if item.id == "c")
    assert item.read().spacing_mm == (row, col)
    told = f"images/c.dcm: the header's spacing is 0.1 x 0.1 mm, that of the csv {row} x {col} mm; the csv counts"
    assert [str(one.message) for one in recwarn] == [told] * is_told


@pytest.mark.parametrize(
    ("given", "ids", "files"),
    [
        ("112", "777", "a.dcm, b.dcm, c.dcm"),
        ("123", ("7", "07", "8"), "a.dcm, b.dcm"),
        ("111", "777", None),
        ("112", ("7", "7", "8"), None),
        ("112", ("UNKNOWN", "", "UNKNOWN"), None),
    ],
)
def test_one_patient_of_the_headers_that_is_given_several_is_told(tmp_path, given, ids, files):
    """She stood in training and test at once without a word; the table may be right, so that it counts."""
    for name, id in zip("abc", ids, strict=True):
        write_dicom(tmp_path / f"{name}.dcm", mammogram(60, 50), PatientID=id)
        save(tmp_path / f"{name}_mask.png", mask())
    rows = list(zip("abc", given, strict=True))
    (tmp_path / "list.csv").write_text("id,patient\n" + "".join(f"{name},{patient}\n" for name, patient in rows))
    entries = [{"image": f"{name}.dcm", "label": f"{name}_mask.png", "patient": patient} for name, patient in rows]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    for listing in (folder(tmp_path), monai(tmp_path / "list.json")):
        assert [item.patient for item in listing.items] == list(given)
        told = [remark for remark in listing.remarks if "are given several patients, and these count" in remark]
        assert [remark.endswith(f"({files})") for remark in told] == [True] * (files is not None)


def test_an_entry_without_a_patient_beside_one_of_the_same_header_is_told(tmp_path):
    for name in "ab":
        write_dicom(tmp_path / f"{name}.dcm", mammogram(60, 50))
        save(tmp_path / f"{name}_mask.png", mask())
    entries = [{"image": f"{name}.dcm", "label": f"{name}_mask.png"} for name in "ab"]
    (tmp_path / "list.json").write_text(json.dumps({"training": [entries[0] | {"patient": "7"}, entries[1]]}))
    (remark,) = monai(tmp_path / "list.json").remarks
    assert remark.endswith("training and test at once (a.dcm, b.dcm)")


def test_dicom_without_its_ending_is_named(root):
    write_dicom(root / "images/IM0001", mammogram(60, 50))
    save(root / "masks/IM0001.png", mask())
    shutil.copy(root / "images/IM0001", root / "images/DICOMDIR")  # no image, whatever it holds
    assert "images/DICOMDIR" not in folder(root).faults
    told = r"^images/IM0001: is DICOM, but its name does not end in \.dcm"
    assert re.match(told, folder(root).faults["images/IM0001"])
    for name in "ab":
        (root / f"images/{name}.png").unlink()
    with pytest.raises(DataError, match=told):
        folder(root)
    (root / "images/IM0001").rename(root / "images/IM0001.png")
    (item,) = folder(root).items
    with pytest.raises(DataError, match=r"^images/IM0001\.png: is DICOM, but its name does not say so"):
        item.read()


def test_row_52_dicom_images_whose_name_holds_the_patients(tmp_path):
    for name in ("Doe_Jane_1", "case2"):
        (tmp_path / "images").mkdir(exist_ok=True)
        write_dicom(
            tmp_path / f"images/{name}.dcm", mammogram(60, 50), PatientName="Doe^Jane", ImagerPixelSpacing=[0.1, 0.1]
        )
        save(tmp_path / f"masks/{name}.png", mask())
    samples = read(folder(tmp_path))
    assert "case2" in samples
    (other,) = samples.keys() - {"case2"}
    assert len(other) == 12
    assert len({s.patient for s in samples.values()}) == 1  # one ID in both headers
    assert samples["case2"].spacing_mm == (0.1, 0.1)
    assert set(read(folder(tmp_path, keep_names=True))) == {"Doe_Jane_1", "case2"}


def test_row_52_a_folder_that_is_called_after_the_patient_is_no_column(tmp_path):
    """Masks beside their images, in a folder for each patient: samples.csv told the names."""
    for name in ("DOE_JANE", "case2"):
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / f"{name}/lcc.dcm", mammogram(60, 50), PatientName="Doe^Jane")
        save(tmp_path / f"{name}/lcc_mask.png", mask())
    facts = [sample.facts.get("folder") for sample in read(folder(tmp_path)).values()]
    assert sorted(map(str, facts)) == ["None", "case2"]
    kept = read(folder(tmp_path, keep_names=True)).values()
    assert sorted(sample.facts["folder"] for sample in kept) == ["DOE_JANE", "case2"]


def test_row_52_a_datalist_of_dicom_files_that_are_called_after_the_patient(tmp_path):
    entries = []
    for name in ("Doe_Jane_1", "case2"):
        write_dicom(tmp_path / f"{name}.dcm", mammogram(60, 50), PatientName="Doe^Jane")
        save(tmp_path / f"{name}_mask.png", mask())
        entries.append({"image": f"{name}.dcm", "label": f"{name}_mask.png", "patient": "7"})
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    ids = {item.id for item in monai(tmp_path / "list.json").items}
    assert "case2" in ids
    assert not any("doe" in id.casefold() for id in ids)
    assert {item.id for item in monai(tmp_path / "list.json", keep_names=True).items} == {"Doe_Jane_1", "case2"}


@pytest.mark.parametrize("keep_names", [False, True])
def test_row_52_no_name_gets_into_the_cohort_with_what_is_told_of_a_file(tmp_path, keep_names):
    """Paths of files that were skipped, left out or warned of stood in cohort.json as they are."""
    for name in ("DOE_JANE/lcc", "DOE_JANE/rcc", "DOE_JANE/doe2", "case2/lcc"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        kept = {"PatientName": "Doe^Jane", "PixelAspectRatio": [2, 1]}  # which is warned of
        write_dicom(tmp_path / f"in/{name}.dcm", mammogram(60, 50), **kept)
        save(tmp_path / f"in/{name}_mask.png", mask(shape=(9, 9)) if name.endswith("rcc") else mask())
    (tmp_path / "in/DOE_JANE/doe2_mask.png").unlink()
    (tmp_path / "in/DOE_JANE/IM1").write_bytes((tmp_path / "in/DOE_JANE/rcc.dcm").read_bytes())
    save(tmp_path / "in/case2/doe2_mask.png", mask())  # a mask without an image, and so without a header
    (tmp_path / "in/Jane's report.txt").write_text("a file that is no image")
    prepared = prepare("folder", tmp_path / "in", tmp_path / "out", on_error="skip", keep_names=keep_names)
    files = {"DOE_JANE/doe2.dcm", "DOE_JANE/rcc.dcm", "DOE_JANE/IM1", "case2/doe2_mask.png"}
    assert files == prepared.skipped.keys()  # the screen names them
    told = (tmp_path / "out/cohort.json").read_text()
    assert any(name in told for name in ("JANE", "doe2")) == keep_names
    facts = json.loads(told)
    assert len(facts["skipped"]) == 4
    assert sum("PixelAspectRatio" in text for text in facts["warnings"]) == 2
    assert any(text.startswith("case2/lcc.dcm: ") for text in facts["warnings"])


def test_a_table_may_name_images_by_their_paths(tmp_path):
    """Files of one name in a folder for each patient: ids were cut to the file's name, and told to be given twice."""
    for name in ("p1/lcc", "p2/lcc"):
        save(tmp_path / f"{name}.png", image())
        save(tmp_path / f"{name}_mask.png", mask())
    for ids in (("p1/lcc.png", "p2/lcc.png"), ("p1\\lcc.png", "p2\\lcc"), ("p1/lcc", "p2/lcc"), ("p1-lcc", "p2-lcc")):
        (tmp_path / "list.csv").write_text(f"id,patient\n{ids[0]},ann\n{ids[1]},bea\n")
        assert {item.id: item.patient for item in folder(tmp_path).items} == {"p1-lcc": "ann", "p2-lcc": "bea"}


@pytest.mark.parametrize("layout", ["apart", "beside", "below"])
def test_a_name_with_two_endings_is_a_name(tmp_path, layout):
    """IM0.dcm.png, as converters call it, went through the whole preparation and failed at its end."""
    names = ["IM0.dcm", "IM1.dcm", "a.png", "b.1"]
    for name in names:
        where = {"apart": "images", "beside": ".", "below": "all"}[layout]
        save(tmp_path / f"d/{where}/{name}.png", image())
        save(tmp_path / "d" / (f"masks/{name}.png" if layout == "apart" else f"{where}/{name}_mask.png"), mask())
    for ids in (names, [f"{name}.png" for name in names]):
        rows = "".join(f"{id},{patient}\n" for id, patient in zip(ids, "pqrs", strict=True))
        (tmp_path / "d/facts.csv").write_text(f"id,patient\n{rows}")
        cohort = prepare("folder", tmp_path / "d", tmp_path / f"out{len(ids[0])}", workers=1, size=(32, 24)).cohort
        assert (cohort.ids, cohort.table["patient"].tolist()) == (names, [*"pqrs"])
        assert cohort.load("IM0.dcm").image.shape == (32, 24)
    out = export_nnunet(cohort, tmp_path / "Dataset001_X", folds=2)
    assert sorted(item.id for item in nnunet(out).items) == names


def test_notes_beside_an_image_change_no_name(root):
    (root / "images/a.png.txt").write_text("calibrated")
    (root / "facts.csv").write_text("id,patient\na.png,1\nb.png,2\n")
    assert [item.patient for item in folder(root).items] == ["1", "2"]


def test_row_50_links_out(root, tmp_path):
    shutil.move(root / "masks/a.png", tmp_path / "out.png")
    (root / "masks/a.png").symlink_to(tmp_path / "out.png")
    assert "leads out of the source folder" in folder(root).faults["images/a.png"]
    assert folder(root, allow_outside_root=True).faults == {}


@pytest.mark.parametrize("study", ["1.2.3", ""])
def test_dicom_without_a_patient_is_not_one_patient(tmp_path, study):
    for name in "ab":
        (tmp_path / "images").mkdir(exist_ok=True)
        tags = {"PatientID": "ANONYMOUS", "StudyInstanceUID": study and f"{study}.{ord(name)}"}
        write_dicom(tmp_path / f"images/{name}.dcm", mammogram(60, 50), **tags)
        save(tmp_path / f"masks/{name}.png", mask())
    listing = folder(tmp_path)
    assert len({item.patient for item in listing.items}) == 2
    (remark,) = listing.remarks
    assert "2 DICOM files have no PatientID that tells patients apart" in remark
    (tmp_path / "samples.csv").write_text("id,patient\na,1\nb,2\n")
    assert folder(tmp_path).remarks == []


def test_paths_of_windows_are_read(root, tmp_path):
    names = [path.stem for path in sorted((root / "images").iterdir())]
    rows = "".join(f"images\\{name}.png,{number}\r\n" for number, name in enumerate(names))
    (root / "facts.csv").write_bytes(b"id,patient\r\n" + rows.encode())
    assert {item.id: item.patient for item in folder(root).items} == {n: str(i) for i, n in enumerate(names)}
    entries = [{"image": f"images\\{name}.png", "label": f"masks\\{name}.png"} for name in names]
    (root / "list.json").write_text(json.dumps({"training": entries}))
    listing = monai(root / "list.json")
    assert [item.id for item in listing.items] == names
    assert not listing.faults


def test_a_picture_that_claims_billions_of_pixels_is_told_the_limit(root):
    """60 000 x 60 000 in its head, which Pillow itself refuses."""
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b""))):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    (root / "images/a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"^images/a\.png: must have at most 100 million pixels: replace"):
        read(folder(root))


def test_a_name_that_holds_the_name_of_a_folder_is_refused(tmp_path):
    """x/a.png is called x-a where y/a.png is there, too; so is the third one."""
    for name in ("x/a", "y/a", "x-a"):
        save(tmp_path / f"{name}.png", image())
        save(tmp_path / f"{name}_mask.png", mask())
    listing = folder(tmp_path)
    assert listing.faults == {"x-a.png": "x-a.png: x/a.png has the same id, 'x-a': rename one"} or listing.faults == {
        "x/a.png": "x/a.png: x-a.png has the same id, 'x-a': rename one"
    }
    assert {id: areas(sample) for id, sample in read(listing).items()} == {"x-a": [96], "y-a": [96]}


@pytest.mark.parametrize(
    ("where", "of_masks"),
    [
        ("image", "mask/{}"),
        ("images", "labels/{}"),
        ("train/images", "train/masks/{}"),
        ("train/images", "train/masks/{}_mask"),
        ("imgs", "masks/{}_mask"),
        ("images", "masks/mask_{}"),
        (".", "{}_label"),
    ],
)
def test_masks_that_nothing_tells_from_images_are_told_once(tmp_path, where, of_masks):
    """Each file was told to lack a mask, "all black for one without mass: add it", and who did so had black masks."""
    for name in ("a", "b"):
        save(tmp_path / f"{where}/{name}.png", image())
        save(tmp_path / f"{of_masks.format(name)}.png", mask())
    with pytest.raises(
        DataError, match=r"no image has a mask: .*masks/ and images/ directly .*_mask behind the name"
    ) as told:
        folder(tmp_path)
    files = {f"{where}/a.png", of_masks.format("a") + ".png"} if where != "." else {"a.png"}
    assert all(file in str(told.value) for file in files)


def test_folders_that_differ_in_capitals_are_refused(root):
    for name in ("Images", "Masks"):
        save(root / f"{name}/c.png", image())
        if (root / f"{name.lower()}/c.png").exists():
            pytest.skip("the file system knows no capitals")
    with pytest.raises(DataError, match=r"differs in capitals only: put their files into one folder"):
        folder(root)


@pytest.mark.parametrize(("one", "other"), [("a", "A"), ("7", "007")])
def test_names_that_could_be_one_patient_are_refused_before_any_work(tmp_path, one, other):
    """The cohort was written, and could not be opened."""
    for name in (one, other):
        save(tmp_path / f"d/images/{name}.png", image())
        save(tmp_path / f"d/masks/{name}.png", mask())
    if len(list((tmp_path / "d/images").iterdir())) == 1:
        pytest.skip("the file system knows no capitals")
    with pytest.raises(DataError, match=r"patients must be spelt in one way, but are .*: where nothing names them"):
        prepare("folder", tmp_path / "d", tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()
