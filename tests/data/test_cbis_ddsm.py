"""CBIS-DDSM's rules, one by one, on the twins."""

import re
import shutil

import numpy as np
import pytest

from mammograms import mammogram, write_dicom
from massmatch.data import DataError, DataWarning
from massmatch.data.readers.cbis_ddsm.reader import LICENCE, cbis_ddsm, mask_of
from massmatch.data.readers.cbis_ddsm.table import CROP, IMAGE, MASK, _lesion
from massmatch.data.table import whole
from massmatch.errors import UsageError
from twins import cbis_ddsm as twin


@pytest.fixture
def root(tmp_path):
    twin.write(tmp_path / "data")
    return tmp_path / "data"


def read(listing):
    return {item.id: item.read() for item in listing.items}


def lesions_of(sample):
    """Top, left, height, width of each label."""
    found = []
    for label in range(1, sample.instances.max() + 1):
        rows, cols = np.nonzero(sample.instances == label)
        found.append((rows.min(), cols.min(), rows.max() - rows.min() + 1, cols.max() - cols.min() + 1))
    return found


def check_masses(samples):
    expected = {**twin.TRAIN, **twin.TEST}
    assert list(samples) == [name for name in sorted(expected) if name != twin.OTHER_SIZE]
    for name, sample in samples.items():
        assert sample.image.shape == expected[name][4]
        assert lesions_of(sample) == expected[name][5], name


def test_every_image_has_its_lesions(root):
    samples = read(cbis_ddsm(root))
    check_masses(samples)
    three = samples["Mass-Training_P_00004_RIGHT_CC"]
    assert np.bincount(three.instances.ravel())[1:].tolist() == [144 - 16, 16, 80]  # the smaller is on top


def test_row_42_without_metadata_the_headers_tell(tmp_path):
    twin.write(tmp_path, metadata=False)
    check_masses(read(cbis_ddsm(tmp_path)))


def test_row_42_the_copy_in_jpeg(tmp_path):
    twin.write_jpeg(tmp_path)
    listing = cbis_ddsm(tmp_path)
    check_masses(read(listing))
    assert listing.faults == {}


def test_row_42_the_paths_of_the_tables_as_they_stand(root, tmp_path):
    """Some copies have the folders of the tables: then a folder is named after the series."""
    copy = tmp_path / "copy"
    for table in twin.TABLES:
        copy.mkdir(exist_ok=True)
        shutil.copy(root / table, copy / table)
    for header_path in root.rglob("*.dcm"):
        from massmatch.data.dicom import read_header

        series = read_header(root, header_path.relative_to(root).as_posix(), pixels=False).SeriesInstanceUID
        place = copy / "CBIS-DDSM" / header_path.relative_to(root).parts[1] / twin.STUDY / series
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(header_path, place / f"00000{len(list(place.iterdir()))}.dcm")
    check_masses(read(cbis_ddsm(copy)))


LESION = {  # a row of a table
    **{"patient_id": "P_00001", "left_or_right_breast": "LEFT", "image_view": "CC", "abnormality_id": "1"},
    **dict.fromkeys((IMAGE, CROP, MASK), "study/1.2.3/000000.dcm"),
}


@pytest.mark.parametrize(("written", "density"), [("3.0", 3), ("4", 4), ("0.0", None), ("", None)])
def test_a_density_is_read_also_with_a_point(written, density):
    """As pandas writes a column of whole numbers in which a cell is empty."""
    assert _lesion({**LESION, "breast_density": whole(written)}, "a.csv", "mass", "train", 2).density == density


@pytest.mark.parametrize("written", ["3,0", "3.5", "fatty"])
def test_a_density_that_is_none_is_refused(written):
    with pytest.raises(DataError, match=f"row 2 must have a breast density of 1 to 4 or none, but has '{written}'"):
        _lesion({**LESION, "breast_density": written}, "a.csv", "mass", "train", 2)


def test_facts_patients_and_parts(root):
    samples = read(cbis_ddsm(root))
    first = samples["Mass-Training_P_00001_LEFT_CC"]
    assert (first.patient, first.side, first.view, first.density) == ("P_00001", "L", "CC", 3)
    assert samples["Mass-Training_P_00009_LEFT_CC"].density is None  # 0 in the table
    three = samples["Mass-Training_P_00004_RIGHT_CC"].facts
    assert (three["n_abnormalities"], three["mass_shape"], three["pathology"]) == (
        3,
        "OVAL||OVAL",
        "|".join(["MALIGNANT"] * 3),
    )
    assert {name: s.facts["split"] for name, s in samples.items()} == {
        name: "train" if "Training" in name else "test" for name in samples
    }
    assert {s.spacing_mm for s in samples.values()} == {None}
    assert first.facts["spacing_source"] == "none"


def test_row_42_a_mask_of_other_proportions_is_left_out_and_named(root):
    listing = cbis_ddsm(root)
    ((file, why),) = listing.skipped.items()
    assert twin.OTHER_SIZE in file
    assert "no mask has the proportions of the image, 120 x 80: 1-1.dcm 14 x 10, 1-2.dcm 150 x 70" in why
    assert listing.summary == "5 images (4 train, 1 test), 7 lesions, 4 patients, 1 images left out"


def test_row_42_a_mask_of_its_proportions_is_resized_and_told(tmp_path):
    image = np.zeros((60, 40), np.uint8)
    image[10:20, 4:12] = 255
    write_dicom(tmp_path / "m.dcm", image)
    with pytest.warns(DataWarning, match=r"m\.dcm: the mask has 60 x 40 pixels, its image 120 x 80; resized"):
        mask = mask_of(tmp_path, ["m.dcm"], (120, 80))
    assert np.argwhere(mask).min(axis=0).tolist() == [20, 8]
    assert mask.sum() == 4 * 80


def test_row_42_missing_series_and_files(root):
    name = "Mass-Training_P_00009_LEFT_CC"
    shutil.rmtree(root / "CBIS-DDSM" / f"{name}_1")
    shutil.rmtree(root / "CBIS-DDSM" / "Mass-Test_P_00016_LEFT_CC")
    listing = cbis_ddsm(root)
    assert sorted(listing.faults) == ["Mass-Test_P_00016_LEFT_CC", name]
    assert listing.faults[name].startswith(f"mass_case_description_train_set.csv: {name}: no file of the series")
    assert "its mask of lesion 1" in listing.faults[name]
    assert "its image" in listing.faults["Mass-Test_P_00016_LEFT_CC"]
    assert name not in {item.id for item in listing.items}


def test_row_42_a_series_without_mask(root):
    name = "Mass-Training_P_00009_LEFT_CC"
    for path in (root / "CBIS-DDSM" / f"{name}_1").rglob("*.dcm"):
        write_dicom(path, mammogram(*twin.SIZE))
    (item,) = (item for item in cbis_ddsm(root).items if item.id == name)
    with pytest.raises(
        DataError, match=rf"^CBIS-DDSM/{name}_1/.*1-1\.dcm, .*1-2\.dcm: one of them must be a mask.*but 0"
    ):
        item.read()


def test_an_empty_mask_is_a_fault(tmp_path):
    write_dicom(tmp_path / "m.dcm", np.zeros((60, 40), np.uint8))
    with pytest.raises(DataError, match=r"^m\.dcm: .*empty"):
        mask_of(tmp_path, ["m.dcm"], (60, 40))


def test_row_47_merged_tables_leak_no_patient(root):
    listing = cbis_ddsm(root, abnormality="both")
    samples = read(listing)
    parts = {}
    for sample in samples.values():
        parts.setdefault(sample.patient, set()).add(sample.facts["split"])
    assert all(len(own) == 1 for own in parts.values())
    assert parts["P_00001"] == parts["P_00016"] == {"train"}
    assert any("2 patients are in the training part of one table" in remark for remark in listing.remarks)
    assert len(read(cbis_ddsm(root, abnormality="calc"))) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\r\n", "\n"),
        lambda text: text.replace(twin.HEADER, twin.HEADER.replace(" ", "_")),
        lambda text: text.replace(twin.HEADER, twin.HEADER.replace("_", " ").upper()),
        lambda text: text + "\r\n,,,\r\n",
    ],
    ids=["BOM", "LF", "underscores", "capitals", "blank rows"],
)
def test_row_41_as_it_was_saved(root, change):
    table = "mass_case_description_train_set.csv"
    (root / table).write_bytes(change(twin.csv_text(twin.HEADER, twin.TRAIN)).encode())
    check_masses(read(cbis_ddsm(root)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("ROI mask file path", "mask"), "must have the columns roi_mask_file_path"),
        (lambda text: text.replace("P_00004", "somebody"), "row 4 must name patient, side"),
        (lambda text: text.replace(",CC,", ",C C,", 1), "row 2 must name patient, side .* and view"),
        (lambda text: text.replace(f"/{twin.uid('Mass-Training_P_00001_LEFT_CC')}/", "/x/"), "row 2 must have paths"),
        (lambda text: "", "must have the columns"),
    ],
)
def test_row_41_a_table_that_is_wrong(root, change, told):
    table = "mass_case_description_train_set.csv"
    (root / table).write_text(change(twin.csv_text(twin.HEADER, twin.TRAIN)), newline="")
    with pytest.raises(DataError, match=f"^{table}: .*{told}"):
        cbis_ddsm(root)


def test_rows_of_one_image_that_name_several_series_are_a_fault_of_it(root):
    name, table = "Mass-Training_P_00004_RIGHT_CC", root / "mass_case_description_train_set.csv"
    before, after = table.read_text().rsplit(twin.uid(name), 1)
    table.write_text(f"{before}{twin.uid('Mass-Training_P_00009_LEFT_CC')}{after}")
    listing = cbis_ddsm(root)
    assert "its rows must name one series of the image" in listing.faults[name]
    assert name not in [item.id for item in listing.items]


def test_what_is_no_download(tmp_path, root):
    with pytest.raises(UsageError, match="no such folder"):
        cbis_ddsm(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"^mass_case_description_train_set\.csv: no such file"):
        cbis_ddsm(tmp_path / "empty")
    with pytest.raises(ValueError, match="--abnormality: must be mass, calc or both, but is 'lump'"):
        cbis_ddsm(root, abnormality="lump")


def test_row_50_paths_that_lead_out_are_faults(root, tmp_path):
    name = "Mass-Training_P_00009_LEFT_CC"
    place = next((root / "CBIS-DDSM" / f"{name}_1").rglob("1-1.dcm")).parent
    shutil.move(place, tmp_path / "outside")
    text = (root / "metadata.csv").read_text(encoding="utf-8-sig")
    location = ".\\" + place.relative_to(root).as_posix().replace("/", "\\")
    for new in ("..\\outside", str(tmp_path / "outside")):
        (root / "metadata.csv").write_text(text.replace(location, new))
        assert "leads out of the source folder" in cbis_ddsm(root).faults[name]
        assert cbis_ddsm(root, allow_outside_root=True).faults == {}


def test_the_licence_is_named(root):
    assert "CC BY 3.0" in cbis_ddsm(root).licence == LICENCE


def test_tables_of_the_first_release_have_other_names_of_columns(root):
    newer = {item.id: item.patient for item in cbis_ddsm(root).items}
    for path in sorted(root.rglob("mass_case_description_*.csv")):
        text = path.read_text()
        for now, then in {
            **{"left or right breast": "side", "image view": "view", "abnormality id": "abn_num"},
            **{"cropped image file path": "od_crop_path", "ROI mask file path": "mask_path"},
            "image file path": "od_img_path",
        }.items():
            text = text.replace(now, then, 1)
        path.write_text(text)
    assert {item.id: item.patient for item in cbis_ddsm(root).items} == newer


def test_a_copy_of_a_table_adds_no_lesions(root):
    """As browsers name a second download, and pandas writes the numbers of a column with gaps."""
    text = (root / next(iter(twin.TABLES))).read_text()
    (root / "mass_case_description_train_set (1).csv").write_text(re.sub(r"(?m)(?<=[,^])(\d)(?=,|$)", r"\1.0", text))
    listing = cbis_ddsm(root)
    check_masses(read(listing))
    assert {sample.facts["n_abnormalities"] for sample in read(listing).values()} == {1, 3}
    assert "6 rows stand in the tables more than once (copies of a table?) and count once" in listing.remarks


def test_a_damaged_mask_is_a_fault_of_its_image_alone(root):
    (mask,) = (root / "CBIS-DDSM/Mass-Training_P_00009_LEFT_CC_1").rglob("1-2.dcm")
    mask.write_bytes(b"")
    listing = cbis_ddsm(root)
    assert list(listing.faults) == ["Mass-Training_P_00009_LEFT_CC"]
    assert "1-2.dcm: is no DICOM file" in listing.faults["Mass-Training_P_00009_LEFT_CC"]
    assert len(listing.items) == 4
