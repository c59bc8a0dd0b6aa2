"""nnU-Net's raw datasets, there and back."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from massmatch.data import DataError, open_cohort
from massmatch.data.export import export_nnunet
from massmatch.data.preparation.process import prepare_listing
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.data.readers.nnunet import nnunet
from massmatch.errors import UsageError

FACTS = {"channel_names": {"0": "mg"}, "labels": {"background": 0, "mass": 1}, "numTraining": 2, "file_ending": ".png"}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "Dataset007_Mine"
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for case in ("a", "b"):
        label = np.zeros((40, 30), np.uint8)
        label[5:15, 5:10], label[25:30, 20:25] = 1, 2
        Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(40, 30)).save(root / f"imagesTr/{case}_0000.png")
        Image.fromarray(label).save(root / f"labelsTr/{case}.png")
    write(root, {**FACTS, "labels": {"background": 0, "mass": 1, "calcification": 2}})
    return root


def write(root, facts):
    (root / "dataset.json").write_text(json.dumps(facts))


def read(listing):
    return {item.id: item.read() for item in listing.items}


def test_the_label_that_is_the_mass(root):
    samples = read(nnunet(root))
    assert {id: int(s.mask.sum()) for id, s in samples.items()} == {"a": 50, "b": 50}
    assert int(read(nnunet(root, label="calcification"))["a"].mask.sum()) == 25
    write(root, {**FACTS, "labels": {"background": 0, "left": 1, "right": 2}})
    with pytest.raises(DataError, match=r"which label is the mass\? Give --label one of left, right"):
        nnunet(root)
    with pytest.raises(DataError, match="has no label 'mas', but left, right"):
        nnunet(root, label="mas")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"file_ending": ".nii.gz"}, "file_ending must be one of"),
        ({"channel_names": {"0": "a", "1": "b"}}, "must have one channel, but has a, b"),
        ({"labels": {"background": 0, "mass": [1, 2]}}, "without regions and ignore"),
        ({"labels": {"background": 0, "mass": 1, "ignore": 2}}, "without regions and ignore"),
        ({"labels": None}, "lacks labels|without regions"),
        ({"labels": ["mass"]}, r"labels must be an object, .* but is \['mass'\]"),
        ({"channel_names": []}, r"channel_names must be an object, .* but is \[\]"),
        ({"dataset": {"a": {"images": [], "label": "labelsTr/a.png"}}}, "case a must be"),
        ({"dataset": {"a": "imagesTr/a_0000.png"}}, "case a must be"),
    ],
)
def test_a_dataset_that_is_none_of_ours(root, change, told):
    facts = {name: value for name, value in {**FACTS, **change}.items() if value is not None}
    write(root, facts)
    with pytest.raises(DataError, match=rf"^dataset\.json: .*({told})"):
        nnunet(root)


def test_a_json_that_is_no_object_is_named(root):
    (root / "dataset.json").write_text("[]")
    with pytest.raises(DataError, match=r"^dataset\.json: must have channel_names, labels, file_ending"):
        nnunet(root)


@pytest.mark.parametrize(
    ("patients", "told"),
    [
        ("case,patient\na,NA\nb,NA\n", "filled in"),
        ("case,patient\na,7\nb,7.0\n", "spelt in one way"),
        ("case,patient\na,7\nb,07\n", "spelt in one way"),
        ("case,patient\na,p7\nb,P7\n", "spelt in one way .* capitals"),
        ("case,patient\na,Zo\u00e9\nb,Zoe\u0301\n", "spelt in one way .* Unicode"),
        ("case,patient,density\na,1,B\nb,2,3\n", "density must be 1, 2, 3 or 4"),
        ("name,patient\na,1\nb,2\n", "must have a column `case`"),
    ],
)
def test_the_table_of_patients_is_read_as_other_tables_are(root, patients, told):
    (root / "patients.csv").write_text(patients)
    with pytest.raises(DataError, match=rf"^patients\.csv: .*{told}"):
        nnunet(root)


def test_a_table_without_patients_is_told(root):
    (root / "patients.csv").write_text("\ufeffcase,side\na,left\nb,R\n", encoding="utf-8")
    listing = nnunet(root)
    assert any("cases without a `patient` in a patients.csv beside dataset.json" in told for told in listing.remarks)
    assert {id: sample.side for id, sample in read(listing).items()} == {"a": "L", "b": "R"}


def test_columns_that_prepare_writes_are_told(root):
    """`image_path` ended in "facts must not use the names of a sample's own fields", which names no table."""
    (root / "patients.csv").write_text("case,patient,image_path,spacing_source,age\na,1,x,y,50\nb,2,x,y,60\n")
    listing = nnunet(root)
    told = "patients.csv: `prepare` writes image_path, spacing_source itself: rename these columns to keep them"
    assert told in listing.remarks
    sample = read(listing)["a"]
    assert sample.facts == {"spacing_source": "none", "age": 50}


def test_a_case_that_ends_as_a_file_does_has_its_row(root):
    for file in ("imagesTr/a{}_0000.png", "labelsTr/a{}.png"):
        (root / file.format("")).rename(root / file.format(".dcm"))
    (root / "patients.csv").write_text("case,patient\na.dcm,1\nb.png,2\n")
    assert {item.id: item.patient for item in nnunet(root).items} == {"a.dcm": "1", "b": "2"}


def test_rows_of_the_table_without_a_case_are_told(root):
    """Such as names of images, which end in _0000: their patients and sides would be lost in silence."""
    (root / "patients.csv").write_text("case,patient\na,1\nb_0000.png,1\n")
    assert "patients.csv: names cases that are not there: b_0000" in nnunet(root).remarks


def test_files_that_lack(root):
    (root / "labelsTr/a.png").unlink()
    assert nnunet(root).faults == {"imagesTr/a_0000.png": "labelsTr/a.png: no such file: add it, or remove its partner"}
    (root / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"^dataset\.json: cannot be read as JSON"):
        nnunet(root)
    (root / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"^dataset\.json: no such file"):
        nnunet(root)


def test_row_50_a_file_map_that_leads_out(root, tmp_path):
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(tmp_path / "secret.png")
    entry = {"images": ["../secret.png"], "label": "labelsTr/a.png"}
    write(root, {**FACTS, "dataset": {"a": entry, "b": {"images": ["imagesTr/b_0000.png"], "label": "labelsTr/b.png"}}})
    listing = nnunet(root)
    assert "leads out of the source folder" in listing.faults["../secret.png"]
    assert [item.id for item in listing.items] == ["b"]


def test_spacing_from_a_sidecar_whose_name_lacks_the_channel_as_nnunet_has_it(root):
    before = nnunet(root).items[0]
    (root / "imagesTr/a.json").write_text(json.dumps({"spacing": [999, 0.1, 0.2]}))
    listing = nnunet(root)
    sample = read(listing)["a"]
    assert (sample.spacing_mm, sample.facts["spacing_source"]) == ((0.1, 0.2), "sidecar")
    assert set(listing.items[0].files) - set(before.files) == {"imagesTr/a.json"}  # so that a new one is noticed


def test_the_sidecar_of_a_file_map(root):
    entry = {"images": ["imagesTr/a_0000.png"], "label": "labelsTr/a.png"}
    write(root, {**FACTS, "labels": {"background": 0, "mass": 1, "calcification": 2}, "dataset": {"x": entry}})
    (root / "imagesTr/a.json").write_text(json.dumps({"spacing": [999, 0.1, 0.2]}))
    assert read(nnunet(root))["x"].spacing_mm == (0.1, 0.2)


@pytest.mark.parametrize("spacing", [[999, 0, 0.2], [999, 0.1, -1], [1, "nan", 1], [0.1], "0.1"])
def test_a_sidecar_without_a_spacing_is_refused(root, spacing):
    (root / "imagesTr/a.json").write_text(json.dumps({"spacing": spacing}))
    with pytest.raises(DataError, match=r"^imagesTr/a\.json: must hold a spacing of numbers above 0"):
        read(nnunet(root))


def test_there_and_back(cohort, tmp_path):
    out = export_nnunet(cohort, tmp_path / "Dataset042_Phantoms", folds=4)
    facts = json.loads((out / "dataset.json").read_text())
    assert facts["labels"] == {"background": 0, "mass": 1}
    assert facts["numTraining"] == len(list((out / "imagesTr").iterdir())) == len(cohort)
    assert set(np.unique(np.asarray(Image.open(next((out / "labelsTr").iterdir()))))) <= {0, 1}
    samples = read(nnunet(out))
    for id in cohort.ids:
        before, after = cohort.load(id), samples[id]
        np.testing.assert_array_equal(before.image, after.image)
        np.testing.assert_array_equal(before.mask, after.mask)
        assert (before.patient, before.side, before.view, before.density) == (
            *(after.patient, after.side, after.view, after.density),
        )
    folds = json.loads((out / "splits_final.json").read_text())
    patient = cohort.table.set_index("id")["patient"]
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(cohort.ids)
    for number, fold in enumerate(folds):
        assert not {patient[c] for c in fold["train"]} & {patient[c] for c in fold["val"]}
        assert all(samples[c].facts["nnunet_fold"] == number for c in fold["val"])


def test_cases_of_the_folds_that_are_not_there_are_named(cohort, tmp_path):
    out = export_nnunet(cohort, tmp_path / "Dataset001_X", folds=3)
    folds = json.loads((out / "splits_final.json").read_text())
    folds[0]["val"].append("gone")
    (out / "splits_final.json").write_text(json.dumps(folds))
    assert "splits_final.json: names cases that are not there: gone" in nnunet(out).remarks


def test_a_case_that_is_held_out_in_two_folds_is_refused(cohort, tmp_path):
    out = export_nnunet(cohort, tmp_path / "Dataset001_X", folds=3)
    folds = json.loads((out / "splits_final.json").read_text())
    case = folds[0]["val"][0]
    folds[2]["val"].append(case)
    (out / "splits_final.json").write_text(json.dumps(folds))
    with pytest.raises(DataError, match=rf"^splits_final\.json: {case} is in val of the folds 0 and 2"):
        nnunet(out)


def with_parts(cohort, column, part):
    return type(cohort)(cohort.root, cohort.table.assign(**{column: part}), cohort.masks, cohort.licence)


@pytest.mark.parametrize(
    ("column", "test"), [("split", "test"), ("split", " Test"), ("official_split", "test"), ("official_split", "TEST")]
)
def test_test_images_go_apart(cohort, tmp_path, column, test):
    """As the scheme "official" reads the column; those of `official_split` were among the images for training."""
    is_test = cohort.table["patient"].isin(sorted(set(cohort.table["patient"]))[:3])
    out = export_nnunet(
        with_parts(cohort, column, is_test.map({True: test, False: "train"})), tmp_path / "Dataset001_X", folds=3
    )
    assert len(list((out / "imagesTs").iterdir())) == len(list((out / "labelsTs").iterdir())) == is_test.sum()
    samples = read(nnunet(out))
    part = is_test.map({True: "test", False: "train"})
    assert {id: s.facts["split"] for id, s in samples.items()} == dict(zip(cohort.ids, part, strict=True))


def test_parts_that_the_scheme_official_refuses_are_not_exported(cohort, tmp_path):
    """`Testing` went to the images for training without a word, and so did a patient of both parts."""
    part = pd.Series("train", cohort.table.index)
    part[cohort.table["patient"] == cohort.table["patient"][0]] = "Testing"
    with pytest.raises(UsageError, match=r"column `split` must be train, validation, test, but is testing for"):
        export_nnunet(with_parts(cohort, "split", part), tmp_path / "Dataset001_X")
    assert cohort.table["patient"][0] == cohort.table["patient"][1]
    part = ["test", *["train"] * (len(cohort) - 1)]
    with pytest.raises(UsageError, match=r"column `split` puts 1 patients into train and test"):
        export_nnunet(with_parts(cohort, "split", part), tmp_path / "Dataset001_X")
    assert not list(tmp_path.iterdir())


def test_names_that_nnunet_cannot_have(cohort, tmp_path):
    names = [f"benign ({n})" for n in range(len(cohort) - 1)] + ["benign_0"]
    table = cohort.table.assign(id=names)
    renamed = type(cohort)(cohort.root, table, cohort.masks, cohort.licence)
    out = export_nnunet(renamed, tmp_path / "Dataset001_X", folds=3)
    cases = pd.read_csv(out / "patients.csv")
    assert cases["case"].is_unique
    assert cases["case"].str.fullmatch(r"[A-Za-z0-9_]+").all()
    assert set(read(nnunet(out))) == set(names)


def test_where_it_may_be_written(cohort, tmp_path):
    with pytest.raises(ValueError, match="nnU-Net wants a folder named like Dataset101_Mass"):
        export_nnunet(cohort, tmp_path / "mine")
    (tmp_path / "Dataset001_X").mkdir()
    (tmp_path / "Dataset001_X/precious").write_text("mine")
    with pytest.raises(UsageError):
        export_nnunet(cohort, tmp_path / "Dataset001_X")


def test_it_can_be_prepared(root, tmp_path):
    prepare_listing(nnunet(root), tmp_path / "c", Preprocessing(size=(20, 16)), reader="nnunet", options={}, workers=1)
    assert open_cohort(tmp_path / "c").load("a").image.shape == (20, 16)


# --- what would be lost in silence -----------------------------------------------------------------------------------


def test_values_that_are_not_declared_are_refused(root):
    """0 and 255 under {"mass": 1} gave an empty mask."""
    label = np.zeros((40, 30), np.uint8)
    label[5:15, 5:10] = 255
    Image.fromarray(label).save(root / "labelsTr/a.png")
    (item,) = (item for item in nnunet(root).items if item.id == "a")
    with pytest.raises(DataError, match=r"^labelsTr/a\.png: holds the values \[255\], which dataset\.json does not"):
        item.read()


def test_endings_in_capitals_are_read_and_what_macos_leaves_is_not(root):
    (root / "imagesTr/a_0000.png").rename(root / "imagesTr/a_0000.PNG")
    (root / "labelsTr/b.png").rename(root / "labelsTr/b.PNG")
    for file in ("imagesTr/._a_0000.png", "labelsTr/._b.png"):
        (root / file).write_bytes(b"resource fork")
    listing = nnunet(root)
    assert listing.faults == listing.skipped == {}
    assert {id: int(sample.mask.sum()) for id, sample in read(listing).items()} == {"a": 50, "b": 50}


def test_a_case_with_two_files_is_refused(root):
    """One of them would have been read, the other dropped in silence."""
    Image.fromarray(np.ones((40, 30), np.uint8)).save(root / "labelsTr/a.PNG")
    with pytest.raises(DataError, match=r"^labelsTr/a\.png: a\.PNG is the same case, 'a': remove one of them"):
        nnunet(root)


def test_files_of_another_ending_are_named(root):
    (root / "imagesTr/c_0000.nii.gz").write_bytes(b"x")
    listing = nnunet(root)
    assert listing.skipped == {
        "imagesTr/c_0000.nii.gz": "imagesTr/c_0000.nii.gz: its name does not end in .png, as dataset.json says"
    }
    assert len(listing.items) == 2


def test_images_of_a_second_channel_are_named(root):
    """dataset.json has one channel, so nobody would have read it."""
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(root / "imagesTr/a_0001.png")
    told = "imagesTr/a_0001.png: its name does not end in _0000.png, as dataset.json says"
    assert nnunet(root).skipped == {"imagesTr/a_0001.png": told}


def test_labels_of_the_test_part_without_its_images_are_named(root):
    (root / "labelsTs").mkdir()
    listing = nnunet(root)
    assert listing.skipped == {"labelsTs/": "labelsTs/: there is no imagesTs/ beside it"}
    assert all("split" not in sample.facts for sample in read(listing).values())


def test_a_patient_called_na_stays_one(root):
    (root / "patients.csv").write_text("case,id,patient,side,density\na,a,NA,L,\nb,b,007,,3\n")
    samples = read(nnunet(root))
    assert {id: (s.patient, s.side, s.density) for id, s in samples.items()} == {
        "a": ("NA", "L", None),
        "b": ("007", None, 3),
    }
