"""MONAI's datalists."""

import json

import numpy as np
import pytest
from PIL import Image

from massmatch.data import DataError
from massmatch.data.preparation.process import prepare_listing
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.data.readers.monai import monai
from massmatch.errors import UsageError


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    for name in "abcd":
        mask = np.zeros((40, 30), np.uint8)
        mask[5:15, 5:10] = 1
        Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(40, 30)).save(tmp_path / f"data/{name}.png")
        Image.fromarray(mask).save(tmp_path / f"data/{name}_label.png")
    return tmp_path / "data"


def entry(name, **more):
    return {"image": f"{name}.png", "label": f"./{name}_label.png", **more}


def write(root, **content):
    (root / "list.json").write_text(json.dumps({"name": "n", "licence": "CC0", **content}))
    return root / "list.json"


def test_a_datalist(root):
    path = write(root, training=[entry("a", fold=1, patient="p"), entry("b", fold=0, patient_id="p")], test=["c.png"])
    listing = monai(path)
    samples = {item.id: item.read() for item in listing.items}
    assert {id: (s.patient, s.facts["monai_fold"], int(s.mask.sum())) for id, s in samples.items()} == {
        "a": ("p", 1, 50),
        "b": ("p", 0, 50),
    }
    assert samples["a"].image.shape == (40, 30)  # rows first, unlike MONAI's readers
    assert listing.left_out == {"c.png": "has no label"}
    assert listing.licence == "CC0"
    assert "split" not in samples["a"].facts
    assert len(monai(root).items) == 2  # the folder's one json


@pytest.mark.parametrize("key", ["PatientID", "Patient_ID", "PATIENT ID"])
def test_a_patient_in_another_spelling_of_its_key(root, key):
    listing = monai(write(root, training=[entry("a", **{key: 7}), entry("b", patient="7")]))
    assert [item.patient for item in listing.items] == ["7", "7"]
    assert not listing.remarks


def test_two_patients_in_one_entry_are_refused(root):
    listing = monai(write(root, training=[entry("a", patient="p", PatientID="q"), entry("b", patient="p")]))
    assert listing.faults == {"a.png": "a.png: must have one patient, but has p and q: mend the entry"}


def test_parts_with_labels(root):
    path = write(root, training=[entry("a")], validation=[entry("b")], test=[entry("c"), "d.png"])
    listing = monai(path)
    assert {item.id: item.read().facts["split"] for item in listing.items} == {
        "a": "train",
        "b": "validation",
        "c": "test",
    }
    assert any(remark.startswith("entries without `patient`: each image counts") for remark in listing.remarks)


def test_lists_that_are_not_read_are_told(root):
    listing = monai(write(root, training=[entry("a", patient="p")], testing=[entry("b")], val=[entry("c")], fold=[]))
    assert listing.remarks == ["list.json: lists that are not read: testing, val (read are training, validation, test)"]


def test_patients_that_are_nobody_are_none(root):
    listing = monai(write(root, training=[entry("a", patient="Unknown"), entry("b", patient="removed")]))
    assert [item.patient for item in listing.items] == ["a", "b"]


@pytest.mark.parametrize("label", ["../secret.png", "/etc/passwd", "x/../../secret.png", "link.png"])
def test_row_50_paths_that_lead_out(root, tmp_path, label):
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(tmp_path / "secret.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    path = write(root, training=[{"image": "a.png", "label": label}, entry("b")])
    listing = monai(path)
    assert "leads out of the source folder" in listing.faults["a.png"]
    assert [item.id for item in listing.items] == ["b"]


def test_entries_that_are_none(root):
    path = write(
        root, training=[{"label": "a.png"}, {"image": "a.nii.gz", "label": "b.nii.gz"}, entry("gone"), entry("a")]
    )
    faults = monai(path).faults
    assert "list.json: entry 1 of training: must name an image" in faults["list.json: entry 1 of training"]
    assert "is NIfTI: convert it" in faults["a.nii.gz"]
    assert "gone.png: no such file" in faults["gone.png"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "cannot be read as JSON"), ("[]", "must be a datalist"), ('{"training": 3}', "must be a datalist")],
)
def test_what_is_no_datalist(root, text, told):
    (root / "list.json").write_text(text)
    with pytest.raises(DataError, match=rf"^list\.json: {told}"):
        monai(root)
    with pytest.raises(UsageError):
        monai(root / "nowhere")
    (root / "other.json").write_text("{}")
    with pytest.raises(DataError, match="has 2 json files: name the file itself"):
        monai(root)


# --- patients, folds, labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "patient"),
    [
        (0, "0"),
        (7, "7"),
        (7.0, "7"),
        ("7", "7"),
        ("7.0", "7"),
        (" p ", "p"),
        (None, "a"),
        (float("nan"), "a"),
        ("NA", "a"),
        ("", "a"),
    ],
)
def test_a_patient_is_what_it_says_and_gaps_are_none(root, given, patient):
    (item,) = monai(write(root, training=[entry("a", patient=given)])).items
    assert (item.patient, item.read().patient) == (patient, patient)


@pytest.mark.parametrize("given", [[1], {"x": 1}, True])
def test_a_patient_that_is_neither_text_nor_number_is_refused(root, given):
    listing = monai(write(root, training=[entry("a", patient=given)]))
    assert listing.faults == {"a.png": f"a.png: patient must be a text or a number, but is {given!r}: mend it"}


@pytest.mark.parametrize(("given", "taken"), [(float("nan"), True), (float("inf"), False)])
def test_a_fold_that_pandas_left_open_is_none_and_one_without_end_is_refused(root, given, taken):
    listing = monai(write(root, training=[entry("a", fold=given)]))
    assert ("a.png" not in listing.faults) == taken
    assert [item.read().facts.get("monai_fold") for item in listing.items] == [None] * taken


def test_empty_paths_and_labels_in_a_list_are_refused(root):
    path = write(root, training=[{"image": "", "label": "a_label.png"}, {"image": "b.png", "label": ""}])
    assert monai(path).faults.keys() == {"list.json: entry 1 of training", "b.png"}
    with pytest.raises(DataError, match=r"labels must be names by number, but are \['none', 'mass'\]"):
        monai(write(root, training=[entry("a")], labels=["none", "mass"]))


def test_a_fold_may_be_null_and_must_be_a_whole_number_otherwise(root):
    listing = monai(write(root, training=[entry("a", fold=None), entry("b", fold=1.0), entry("c", fold="x")]))
    assert {item.id: item.read().facts.get("monai_fold") for item in listing.items} == {"a": None, "b": 1}
    assert listing.faults == {"c.png": "c.png: fold must be a whole number or null, but is 'x': mend it"}


def test_a_label_may_be_null_and_is_a_path_otherwise(root):
    entries = [entry("a"), {"image": "b.png", "label": None}, {"image": "c.png", "label": 1}]
    listing = monai(write(root, training=entries))
    assert [item.id for item in listing.items] == ["a"]
    assert listing.left_out == {"b.png": "has no label"}
    assert listing.faults == {"c.png": "c.png: label must be the path of a mask, but is 1: mend it"}


def test_of_several_labels_one_is_the_mass(root):
    mask = np.zeros((40, 30), np.uint8)
    mask[5:15, 5:10], mask[25:30, 20:25] = 1, 2
    Image.fromarray(mask).save(root / "a_label.png")

    def area(labels, **options):
        (item,) = monai(write(root, training=[entry("a")], labels=labels), **options).items
        return int(item.read().mask.sum())

    named = {"0": "background", "1": "mass", "2": "calcification"}
    assert area(named) == 50
    assert area(named, label="calcification") == 25
    with pytest.raises(DataError, match=r"^list\.json: which label is the mass\? Give --label one of left, right"):
        area({"0": "background", "1": "left", "2": "right"})
    with pytest.raises(DataError, match=r"^a_label\.png: holds the values \[2\], which list\.json does not declare"):
        area({"0": "background", "1": "mass"})
    (item,) = monai(write(root, training=[entry("a")])).items  # without names, 1, 2, ... number the masses
    assert item.read().instances.max() == 2
    with pytest.raises(DataError, match="so --label mass names none"):
        monai(root / "list.json", label="mass")


@pytest.mark.parametrize(("one", "other"), [("7", "007"), ("p7", "P7"), ("Zo\u00e9", "Zoe\u0301")])
def test_one_patient_in_two_spellings_is_refused(root, one, other):
    write(root, training=[entry("a", patient=one), entry("b", patient=other), entry("c", patient="q")])
    with pytest.raises(DataError, match=r"^list\.json: patient must be spelt in one way .* for a\.png, b\.png"):
        monai(root)


def test_what_is_not_read_of_the_entries_is_told(root):
    listing = monai(write(root, training=[entry("a", side="L", patient="p"), entry("b", mask="x.png", patient="q")]))
    assert listing.remarks == ["list.json: entries hold what is not read: mask, side"]


def test_a_datalist_whose_entries_have_no_label_says_so(root, tmp_path):
    listing = monai(write(root, training=[{"image": "a.png", "mask": "a_label.png"}]))
    with pytest.raises(DataError, match=r"^no image is left:\na\.png: has no label"):
        prepare_listing(listing, tmp_path / "out", Preprocessing(), reader="monai", options={}, workers=1)
