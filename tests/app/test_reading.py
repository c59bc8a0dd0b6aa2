"""What the page "Read" is given: findings as `predict` makes them, files to keep, refusals in words, bounded memory."""

import csv
import errno
import io
import shutil
import tempfile
from urllib.parse import quote

import numpy as np
import pydicom
import pytest
from PIL import Image

from bright import marked
from mammograms import mammogram, write_dicom
from massmatch.app import reading, server
from massmatch.app.reading import Reading, safe_name
from massmatch.app.server import build
from massmatch.data.dicom import Mammogram
from massmatch.errors import DataError, UsageError
from massmatch.inference.batch import predict
from massmatch.inference.findings import Prediction
from serving import client


@pytest.fixture
def dicom(tmp_path):
    return write_dicom(tmp_path / "a.dcm", marked("left")[0], ImagerPixelSpacing=[0.1, 0.2])


@pytest.fixture
def held(weights, dicom):
    """A client with one image, and what was said of it."""
    ask = client(build([weights]))
    return ask, ask.post("/api/images?name=a.dcm", content=dicom.read_bytes()).json()


def kept(held, kind, threshold):
    ask, about = held
    return ask.get(f"/api/images/{about['id']}/files/{kind}?threshold={threshold}")


def csv_of(folder):
    return (folder / "out/findings.csv").read_text()


def test_an_image_is_told_and_comes_back_to_the_pixel(held):
    ask, about = held
    assert (about["rows"], about["columns"], about["side"], about["dicom"]) == (160, 120, "L", True)
    pixels = np.frombuffer(ask.get(f"/api/images/{about['id']}/pixels").content, "<u2").reshape(160, 120)
    np.testing.assert_array_equal(pixels, marked("left")[0] - marked("left")[0].min())


def test_files_are_what_predict_writes(held, weights, dicom, tmp_path):
    predict(dicom, tmp_path / "out", weights=weights, threshold=0.45, dicom=True, nrrd=True)
    (stem,) = {path.name.removesuffix("_mask.png") for path in (tmp_path / "out").glob("*_mask.png")}
    for kind, name in (("mask", "_mask.png"), ("contour", "_contour.png")):
        expected = np.asarray(Image.open(tmp_path / f"out/{stem}{name}"))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(kept(held, kind, 0.45).content))), expected)
    rows = [list(csv.DictReader(io.StringIO(text))) for text in (csv_of(tmp_path), kept(held, "csv", 0.45).text)]
    assert rows[0] == rows[1] != []
    assert kept(held, "nrrd", 0.45).content == (tmp_path / f"out/{stem}.seg.nrrd").read_bytes()
    for kind in ("seg", "sr"):
        made = pydicom.dcmread(io.BytesIO(kept(held, kind, 0.45).content))
        assert made.Modality == kind.upper()


def test_findings_at_any_threshold_lie_where_the_full_size_has_them(held):
    ask, about = held
    for threshold in (0.3, 0.45, 0.5):
        shown = ask.get(f"/api/images/{about['id']}/findings?threshold={threshold}").json()
        rows = list(csv.DictReader(io.StringIO(kept(held, "csv", threshold).text)))
        assert [round(each["area_mm2"], 2) for each in shown] == [float(row["area_mm2"]) for row in rows]
        for each, row in zip(shown, rows, strict=True):
            assert each["centre"][0] == pytest.approx(float(row["centroid_row"]) + 0.5, abs=0.01)


def test_a_large_image_is_looked_at_smaller_and_told_in_its_own_pixels():
    image = mammogram(1600, 1200)
    probability = np.zeros(image.shape, np.float32)
    probability[400:480, 300:420] = 0.9
    found = Prediction("a", _mammogram(image), probability, 0.5)
    small = reading._small(found)
    assert max(small.probability.shape) == 512
    (each,) = small.findings
    shown = reading._shown(each, (1600 / 512, 1200 / 384))
    assert shown["area_px"] == pytest.approx(80 * 120, rel=0.05)
    assert shown["area_mm2"] == pytest.approx(80 * 120 * 0.02, rel=0.05)
    assert shown["centre"] == pytest.approx([440, 360], abs=2)
    assert np.array(shown["outlines"][0]).min(axis=0) == pytest.approx([400, 300], abs=3)


def _mammogram(image):
    return Mammogram(image, (0.1, 0.2), "x", "L", None, "CC", "", "1", "1")


@pytest.mark.parametrize(("name", "stem"), [("left cc.png", "left cc"), ("Müller 日本.tif", "Müller 日本")])
def test_what_is_kept_of_a_picture_is_called_after_it(weights, name, stem):
    data = io.BytesIO()
    Image.fromarray(marked("left")[0]).save(data, "png" if name.endswith("png") else "tiff")
    ask = client(build([weights]))
    about = ask.post("/api/images", params={"name": name}, content=data.getvalue()).json()
    table = kept((ask, about), "csv", 0.45)
    assert {row["id"] for row in csv.DictReader(io.StringIO(table.text))} == {stem}
    said = table.headers["content-disposition"]
    assert said == f"attachment; filename*=UTF-8''{quote(stem)}_findings.csv"


def test_a_long_name_is_cut_where_a_file_system_would_refuse_it():
    assert safe_name("日" * 100 + ".png") == "日" * 32 + ".png"
    assert safe_name("x" * 400 + ".png") == "x" * 96 + ".png"


def test_nothing_found_has_a_report_and_no_segmentation(held):
    answer = kept(held, "seg", 0.99999)
    assert (answer.status_code, "take the report" in answer.json()["error"]) == (400, True)
    assert kept(held, "sr", 0.99999).status_code == 200


@pytest.mark.parametrize("threshold", ["", "x", "nan", "inf", "-1", "1", "1e400"])
def test_a_threshold_that_is_none_is_refused(held, threshold):
    answer = kept(held, "csv", threshold)
    assert (answer.status_code, "threshold" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.png", b"", "a.png: cannot be read as an image"),
        ("a.dcm", b"no", "a.dcm: is no DICOM file"),
        ("a", b"\0" * 128 + b"DICM" + b"\xff" * 99, "a: "),
        ("../../etc/a.png", b"x", "a.png: cannot be read"),
        ("<b>.png", b"x", "_b_.png: cannot be read"),
        ("", b"x", "image: cannot be read"),
    ],
)
def test_broken_and_hostile_files_are_answered_in_words(weights, name, data, words):
    answer = client(build([weights])).post("/api/images", params={"name": name}, content=data)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(words)


def test_what_is_wrong_with_the_weights_is_told_with_every_image(trained, dicom, tmp_path):
    """The first image alone told it, and a page that was opened again had forgotten it."""
    shutil.copytree(trained, run := tmp_path / "run/fold0")
    (run / "DONE").unlink()
    ask = client(build([run]))
    for _ in range(2):
        said = ask.post("/api/images?name=a.dcm", content=dicom.read_bytes()).json()["said"]
        assert len([each for each in said if "has the best weights so far of a training" in each]) == 1


def test_a_png_has_no_dicom_objects(weights, tmp_path):
    Image.fromarray(marked("left")[0]).save(tmp_path / "a.png")
    ask = client(build([weights]))
    about = ask.post("/api/images?name=a.png", content=(tmp_path / "a.png").read_bytes()).json()
    assert not about["dicom"]
    answer = ask.get(f"/api/images/{about['id']}/files/sr?threshold=0.5")
    assert "must be DICOM" in answer.json()["error"]


def test_a_file_that_is_too_large_is_refused(weights, monkeypatch):
    monkeypatch.setattr(server, "MOST_OF_A_FILE", 1000)
    answer = client(build([weights])).post("/api/images?name=a.png", content=b"x" * 1001)
    assert (answer.status_code, answer.json()["error"]) == (413, "at most 0.001 MB are taken")


def test_only_the_latest_images_are_held_and_their_files_go(weights, dicom, monkeypatch):
    monkeypatch.setattr(reading, "MOST_HELD", 2)
    held = Reading([weights])
    ids = [held.take("a.dcm", dicom.read_bytes())["id"] for _ in range(2)]
    folders = [held.of(id).file.root for id in ids]
    held.of(ids[0])  # now the second was used longest ago
    ids.append(held.take("a.dcm", dicom.read_bytes())["id"])
    with pytest.raises(UsageError, match="no longer held"):
        held.of(ids[1])
    assert [folder.exists() for folder in folders] == [True, False]
    monkeypatch.setattr(reading, "MOST_PIXELS", 1)
    held.take("a.dcm", dicom.read_bytes())
    assert len(held.held) == 1
    with pytest.raises(DataError):
        held.take("a.dcm", b"no")
    assert len(list(held.folder.iterdir())) == 1
    folder = held.folder
    del held
    assert not folder.exists()


@pytest.mark.parametrize("path", ["/api/images/none/pixels", "/api/images/none/findings?threshold=0.5"])
def test_an_image_that_is_not_held_is_said(path):
    answer = client(build()).get(path)
    assert (answer.status_code, "drop its file again" in answer.json()["error"]) == (400, True)


def test_an_unknown_kind_of_file_is_said(held):
    assert "must be one of csv" in kept(held, "exe", 0.5).json()["error"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [("a b-c.dcm", "a b-c.dcm"), ("C:\\x\\a.dcm", "a.dcm"), ("..", "image"), ("/", "image"), ("ä\n\0.png", "ä__.png")],
)
def test_names_are_made_safe(name, safe):
    assert safe_name(name) == safe
    assert len(safe_name("x" * 999 + ".png")) == 100


def test_a_full_disk_is_told_on_the_page(monkeypatch):
    """It was an answer that the page could not read."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(reading.Path, "write_bytes", full)
    answer = client(build()).post("/api/images?name=a.dcm", content=b"DICM")
    assert answer.status_code == 500
    assert answer.json() == {"error": f"{tempfile.gettempdir()}: No space left on device"}
