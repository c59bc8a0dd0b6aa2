"""INbreast's rules, one by one, on the twin."""

import re
import warnings

import numpy as np
import pytest

from mammograms import write_dicom
from massmatch.data import DataError, DataWarning
from massmatch.data.readers.inbreast.reader import inbreast
from massmatch.errors import UsageError
from twins import inbreast as twin


@pytest.fixture
def root(tmp_path):
    twin.write(tmp_path / "INbreast Release 1.0")
    return tmp_path / "INbreast Release 1.0"


def read(listing):
    """Samples by id, with what was told of each."""
    samples, told = {}, {}
    for item in listing.items:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            samples[item.id] = item.read()
        told[item.id] = [str(w.message) for w in caught]
    return samples, told


def test_every_image_has_its_masses_by_hand(root):
    samples, told = read(inbreast(root))
    assert list(samples) == list(twin.IMAGES)
    for id, sample in samples.items():
        labels, counts = np.unique(sample.instances[sample.instances > 0], return_counts=True)
        assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == twin.PIXELS[id], id
        assert sample.image.shape == twin.IMAGES[id][3]
    assert {id: texts for id, texts in told.items() if texts} == {
        "20000006": ["AllXML/20000006.xml: mass 1 has 4 points, not the 5 of NumberOfPoints; they are used"],
        "20000007": ["AllXML/20000007.xml: mass 1 has 2 points and encloses less than 1 pixel; left out"],
        "20000012": ["AllXML/20000012.xml: 20.0 % of mass 1 lies outside of the image and is cut off"],
    }


def test_row_39_points_are_column_and_row(root):
    samples, _ = read(inbreast(root))
    where = np.argwhere(samples["20000001"].instances)
    assert (where.min(axis=0).tolist(), where.max(axis=0).tolist()) == ([30, 20], [49, 39])


def test_row_39_touching_masses_stay_apart(root):
    samples, _ = read(inbreast(root))
    row = samples["20000004"].instances[55]
    assert row[39:57].tolist() == [0, *[1] * 10, *[2] * 6, 0]


def test_row_39_the_smaller_of_two_overlapping_masses_is_on_top(root):
    inner, outer = twin.roi("Mass", twin.box(30, 30, 4, 4)), twin.roi("Mass", twin.box(25, 25, 20, 20))
    (root / "AllXML/20000001.xml").write_text(twin.plist(inner, outer))
    samples, _ = read(inbreast(root))
    assert np.bincount(samples["20000001"].instances.ravel())[1:].tolist() == [16, 384]


@pytest.mark.parametrize("name", ["Spiculated Region", "Espiculated Region", "Cluster", "Distortion", "Massa", ""])
def test_row_39_only_regions_named_mass_are_masses(root, name):
    (root / "AllXML/20000001.xml").write_text(twin.plist(twin.roi(name, twin.box(20, 30, 20, 20))))
    samples, _ = read(inbreast(root))
    assert not samples["20000001"].mask.any()


@pytest.mark.parametrize("name", ["Mass", "MASS ", " mass", "Masses"])
def test_row_39_however_it_is_spelt(root, name):
    (root / "AllXML/20000001.xml").write_text(twin.plist(twin.roi(name, twin.box(20, 30, 20, 20))))
    assert read(inbreast(root))[0]["20000001"].mask.sum() == 400


@pytest.mark.parametrize(
    "point", ["(nan, 3.0)", "(1.0)", "1, 2", "(a, b)", "__import__('os')", "(1, 2, 3, 4)", "(inf, 1)", "(1e999, 3)"]
)
def test_row_39_points_that_are_none(root, point):
    good = twin.plist(twin.roi("Mass", twin.box(20, 30, 20, 20)))
    (root / "AllXML/20000001.xml").write_text(good.replace("(20.000000, 30.000000)", point))
    faults = inbreast(root).faults
    assert list(faults) == ["AllXML/20000001.xml"]
    assert "AllXML/20000001.xml: points of 'mass' must be (column, row)" in faults["AllXML/20000001.xml"]


def test_row_39_a_mass_outside_of_its_image(root):
    twin.outside(root)
    twin.swapped(root)
    listing = inbreast(root)
    for id, share in (("20000001", "100"), ("20000003", "73")):
        (item,) = (item for item in listing.items if item.id == id)
        with pytest.raises(DataError, match=rf"^AllXML/{id}\.xml: {share} % of mass 1 lies outside.*swapped axes"):
            item.read()


def test_row_39_areas_that_do_not_agree_are_told(root):
    (root / "AllXML/20000001.xml").write_text(twin.plist(twin.roi("Mass", twin.box(20, 30, 20, 20), area=0.00980)))
    assert read(inbreast(root))[1]["20000001"] == [
        "AllXML/20000001.xml: outlines enclose 2.00 times the Area that the file gives: "
        "check spacing (0.07 x 0.07 mm) and axes"
    ]


def test_row_39_a_mass_drawn_twice_counts_once(root):
    (root / "AllXML/20000001.xml").write_text(twin.plist(*[twin.roi("Mass", twin.box(20, 30, 20, 20))] * 2))
    samples, told = read(inbreast(root))
    assert np.bincount(samples["20000001"].instances.ravel())[1:].tolist() == [400]
    assert told["20000001"] == ["AllXML/20000001.xml: mass 2 is the same as one before; left out"]


def test_row_40_no_xml_is_no_mass_with_bi_rads_1_only(root):
    twin.without_annotation(root)
    listing = inbreast(root)
    (fault,) = listing.faults.values()
    assert fault.startswith("AllXML/20000001.xml: no such annotation, but the image has Bi-Rads 5")
    samples, _ = read(listing)
    assert "20000001" not in samples
    assert not samples["20000008"].mask.any()


@pytest.mark.parametrize(
    ("id", "old", "new", "told"),
    [
        ("20000009", "", "", "has Bi-Rads 2"),
        ("20000008", ";1;1", ";1;", "has Bi-Rads ,"),
        ("20000008", "20000008", "20000099", "has no row in the table"),
    ],
)
def test_row_40_any_other_without_xml_is_a_fault(root, id, old, new, told):
    (root / f"AllXML/{id}.xml").unlink(missing_ok=True)
    (root / "INbreast.csv").write_text(twin.csv_text().replace(old, new) if old else twin.csv_text(), newline="")
    (fault,) = inbreast(root).faults.values()
    assert fault.startswith(f"AllXML/{id}.xml: no such annotation, but the image {told}")


def test_row_40_without_a_table_one_must_decide(tmp_path):
    twin.write(tmp_path, table="none")
    with pytest.raises(DataError, match=r"INbreast\.csv: neither it nor INbreast\.xls.*--allow-missing-annotations"):
        inbreast(tmp_path)
    samples, _ = read(inbreast(tmp_path, allow_missing_annotations=True))
    assert len(samples) == 12
    assert samples["20000001"].density is None
    assert samples["20000001"].facts["birads"] is None


XMLS = {
    "entity bomb": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;">]><plist>&c;</plist>',
    "HTML": b"<html><body>Not found</body></html>",
    "binary plist": b"bplist00\xd1\x01\x02",
    "malformed": b"<plist><dict><key>Images</key><array>",
    "wrong root": b"<plist><array><string>Images</string></array></plist>",
    "points that are no list": twin.plist(twin.roi("Mass", [])).replace("<array></array>", "<real>5</real>").encode(),
    "no ROIs": b"<plist><dict><key>Images</key><array><dict/></array></dict></plist>",
    "empty": b"",
    "50 MB": b" " * 50_000_000,
    "text": b"Mass 10 20 30",
}


@pytest.mark.parametrize("kind", XMLS)
def test_row_38_xml_that_is_none(root, kind):
    (root / "AllXML/20000001.xml").write_bytes(XMLS[kind])
    listing = inbreast(root)
    assert list(listing.faults) == ["AllXML/20000001.xml"]
    assert listing.faults["AllXML/20000001.xml"].startswith("AllXML/20000001.xml: ")
    assert "20000001" not in {item.id for item in listing.items}


@pytest.mark.parametrize("table", ["csv", "xls"])
def test_row_41_the_table(tmp_path, table):
    twin.write(tmp_path, table=table)
    samples, _ = read(inbreast(tmp_path))
    assert [s.density for s in samples.values()] == [2, 2, None, 3, 4, 1, 1, 1, 2, 2, 2, 3]
    assert [s.facts["birads"] for s in samples.values()] == [*"5", "4a", "2", "5", "4c", *"32126", "2", "4b"]
    assert samples["20000001"].facts["acquisition"] == "201001"
    assert samples["20000010"].facts["acquisition"] == "200902"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\r\n", "\n"),
        lambda text: text.replace(";", ","),
        lambda text: text.replace(";20000001;", ';"20000001\n";'),
        lambda text: text.replace("File Name", " File  Name "),
        lambda text: text + "28;49;108;308;3;14;;\r\n\r\n",
        lambda text: re.sub(r"(?<=;)(\d+)(?=[;\r])", r"\1.0", text),
    ],
    ids=["BOM", "LF", "commas", "newline in a quoted cell", "blanks in the header", "totals", "floats"],
)
def test_row_41_as_it_was_saved(root, change):
    (root / "INbreast.csv").write_text(change(twin.csv_text()), newline="", encoding="utf-8")
    samples, _ = read(inbreast(root))
    assert [s.density for s in samples.values()][:4] == [2, 2, None, 3]
    assert samples["20000001"].facts["birads"] == "5"
    assert samples["20000008"].facts["birads"] == "1"  # without XML: with any other Bi-Rads it would be a fault


def test_row_41_unicode_text(root):
    (root / "INbreast.csv").write_text(twin.csv_text(delimiter="\t"), newline="", encoding="utf-16")
    assert [s.density for s in read(inbreast(root))[0].values()][:4] == [2, 2, None, 3]


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", b"\xd0\xcf\x11\xe0 cut off"])
@pytest.mark.parametrize("name", ["INbreast.csv", "INbreast.xls"])
def test_row_41_a_table_that_is_none(root, name, content):
    (root / "INbreast.csv").unlink()
    (root / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"^{name}: (must have the columns|cannot be read)"):
        inbreast(root)


def test_row_41_the_table_beside_the_images_counts(root):
    for name in ("A", "B"):
        (root / name).mkdir()
        (root / name / "INbreast.csv").write_text(twin.csv_text().replace(";2;5", ";4;5"))
    assert inbreast(root).items[0].read().density == 2
    (root / "INbreast.csv").unlink()
    with pytest.raises(DataError, match=r"^A/INbreast\.csv, B/INbreast\.csv: must be one table"):
        inbreast(root)


def test_row_49_an_image_is_made_from_its_table_too(root):
    files = {item.id: item.files for item in inbreast(root).items}
    image = f"AllDICOMs/20000001_{twin.P1}_MG_L_CC_ANON.dcm"
    assert files["20000001"] == (image, "AllXML/20000001.xml", "INbreast.csv")
    assert files["20000008"] == (f"AllDICOMs/20000008_{twin.P3}_MG_R_ML_ANON.dcm", "INbreast.csv")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("ACR", "Dichte"), r"INbreast\.csv: must have the columns acr, but has"),
        (lambda text: text.replace(";2;5", ";7;5"), r"INbreast\.csv: ACR must be 1, 2, 3, 4 or blank, but is '7'"),
        (lambda text: text.replace(";2000", ";2,E+07;"), r"INbreast\.csv: File Name must be .*but there are 2,E\+07"),
        (
            lambda text: text.replace(";20000001;", ";20000001.dcm;"),
            r"File Name must .*but is '20000001\.dcm': mend it",
        ),
        (lambda text: text.replace(";20000001;", ";2.0000001E7;"), r"File Name must .*but is '2\.0000001E7': mend it"),
        (lambda text: text + text.splitlines()[1] + "\n", r"INbreast\.csv: has two rows for the image 20000001"),
    ],
)
def test_row_41_a_table_that_is_wrong(root, change, told):
    (root / "INbreast.csv").write_text(change(twin.csv_text()), newline="")
    with pytest.raises(DataError, match=told):
        inbreast(root)


def test_patient_side_and_view_come_from_the_name(root):
    samples, _ = read(inbreast(root))
    assert samples["20000002"].patient == twin.P1
    assert (samples["20000002"].side, samples["20000002"].view) == ("L", "MLO")
    assert samples["20000011"].view == "FB"
    assert len({s.patient for s in samples.values()}) == 5


def test_a_header_that_contradicts_the_name_is_told(root):
    path = next((root / "AllDICOMs").glob("20000001*"))
    write_dicom(path, np.ones(twin.SMALL, np.uint16) * np.arange(80, dtype=np.uint16), ImageLaterality="R")
    _, told = read(inbreast(root))
    assert told["20000001"] == [f"AllDICOMs/{path.name}: the header's side is R, that of the name L; the name counts"]


def test_spacing_says_where_it_is_from(root):
    samples, _ = read(inbreast(root))
    assert all(s.spacing_mm == (0.07, 0.07) for s in samples.values())
    assert samples["20000001"].facts["spacing_source"] == "ImagerPixelSpacing"
    assert samples["20000002"].facts["spacing_source"] == "dataset default 0.07"


def test_only_images_with_masses(root):
    listing = inbreast(root, masses_only=True)
    assert [item.id for item in listing.items] == [id for id, pixels in twin.PIXELS.items() if pixels]
    assert len(listing.left_out) == 4
    assert set(listing.left_out.values()) == {"no mass (--masses-only)"}


def test_the_summary_counts(root):
    listing = inbreast(root)
    assert listing.summary == (
        "12 images, 11 annotation files, 8 images with masses, 9 masses (published: 107 / 116), 5 patients; "
        "other regions: (no name) 1, assymetry 1, calcification 90, cluster 1, espiculated region 1, point 1 1, "
        "spiculated region 1"
    )
    (remark,) = listing.remarks
    assert "8 images with a mass (published: 107)" in remark


def test_row_35_two_files_of_one_id_and_strange_names(root):
    twin.write_image(root, "20000001", twin.P2, "R", "CC", twin.SMALL)
    (root / "AllDICOMs/copy of 20000001.dcm").write_bytes(b"")
    listing = inbreast(root)
    (fault,) = listing.faults.values()
    assert "has the id 20000001, as has AllDICOMs/20000001_" in fault
    assert listing.left_out == {"AllDICOMs/copy of 20000001.dcm": "its name is not that of an INbreast image"}


def test_a_copy_with_other_cases_and_deeper_folders(tmp_path):
    twin.write(tmp_path / "archive/inbreast/data")
    data = tmp_path / "archive/inbreast/data"
    (data / "AllDICOMs").rename(data / "ALLDICOMS")
    for path in list((data / "ALLDICOMS").iterdir()):
        path.rename(path.with_name(path.name.replace(".dcm", ".DCM")))
    (data / "INbreast.csv").rename(data / "inbreast.CSV")
    assert len(read(inbreast(tmp_path / "archive"))[0]) == 12


def test_row_35_two_annotations_of_one_id(root):
    twin.doubled_annotation(root)
    (fault,) = inbreast(root).faults.values()
    assert fault.startswith("AllXML/20000001.xml: has the id 20000001, as has AllXML/20000001.XML")


def test_row_35_annotations_and_rows_without_image(root):
    next((root / "AllDICOMs").glob("20000003*")).unlink()
    remarks = inbreast(root).remarks[1:]
    assert remarks == ["annotations without image: 20000003", "the table has rows without image: 20000003"]


def test_outlines_of_the_muscle_are_none_of_a_mass(root):
    text = (root / "PectoralMuscle/Pectoral Muscle XML/20000002_muscle.xml").read_text()
    (root / "AllXML/20000008_muscle.xml").write_text(text.replace("Pectoral", "Mass"))
    samples, _ = read(inbreast(root))
    assert not samples["20000008"].mask.any()


@pytest.mark.parametrize("closed", ["MedicalReports", "medical reports", "__MACOSX"])
def test_reports_and_what_macos_adds_are_not_looked_into(tmp_path, closed):
    twin.write(tmp_path / "inbreast")
    for folder in ("AllDICOMs", "AllXML"):
        (tmp_path / closed / folder).mkdir(parents=True)
    (tmp_path / closed / "INbreast.csv").write_text("SENTINEL")
    assert len(inbreast(tmp_path).items) == 12


def test_two_releases_are_not_mixed(tmp_path):
    for name in ("a", "b"):
        twin.write(tmp_path / name)
    with pytest.raises(DataError, match=r"^a/AllDICOMs, b/AllDICOMs: must be one folder.*give the folder of one"):
        inbreast(tmp_path)
    assert len(inbreast(tmp_path / "b").items) == 12


def test_what_is_no_release(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        inbreast(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"^AllDICOMs/: no such folder"):
        inbreast(tmp_path)
    (tmp_path / "AllXML").mkdir()
    (tmp_path / "AllDICOMs").mkdir()
    (tmp_path / "AllDICOMs/1.dcm").write_bytes(b"")
    with pytest.raises(DataError, match=r"^AllDICOMs/: must hold files such as.*holds none \(AllDICOMs/1\.dcm\)"):
        inbreast(tmp_path)


def test_row_50_links_that_lead_out_are_faults(root, tmp_path):
    outside = tmp_path / "elsewhere.xml"
    outside.write_text(twin.plist(twin.roi("Mass", twin.box(20, 30, 20, 20))))
    (root / "AllXML/20000001.xml").unlink()
    (root / "AllXML/20000001.xml").symlink_to(outside)
    assert "leads out of the source folder" in inbreast(root).faults["AllXML/20000001.xml"]
    assert inbreast(root, allow_outside_root=True).faults == {}


@pytest.mark.parametrize("name", ["INbreast.csv", "AllDICOMs", "AllXML"])
def test_row_50_so_do_the_table_and_the_folders(root, tmp_path, name):
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=rf"^{name}: leads out of the source folder"):
        inbreast(root)
    assert len(read(inbreast(root, allow_outside_root=True))[0]) == 12


def test_row_35_loops_of_links(root):
    (root / "loop").symlink_to(root)
    (root / "AllDICOMs/loop").symlink_to(root / "AllDICOMs/loop")
    listing = inbreast(root)
    assert len(listing.items) == 12
    assert list(listing.left_out) == ["AllDICOMs/loop"]


def test_row_35_broken_links_and_missing_rights(root):
    (root / "AllXML/20000001.xml").unlink()
    (root / "AllXML/20000001.xml").symlink_to(root / "AllXML/gone.xml")
    assert "is a link to nothing" in inbreast(root).faults["AllXML/20000001.xml"]
