"""Prediction comes out in the frame of the stored pixels, whatever was done to the image on the way in."""

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mammograms import NAME, mammogram, write_dicom
from massmatch.cli.predicting import predict_all
from massmatch.data import CohortError
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.errors import UsageError
from massmatch.inference.contours import outlines
from massmatch.inference.predict import Prediction, image_files, orientation, predict, segment
from massmatch.runs.weights import load_weights, save_weights


class Bright(nn.Module):
    """A "network" that finds what is brighter than 0.8 of the range: then the right answer is known."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(200.0))

    def forward(self, images):
        return self.gain * (images - 0.8)


def facts(orientation="mixed", **how):
    prepared = Preprocessing(**how).model_dump(mode="json")
    return {"threshold": 0.5, "normalise": "min-max", "preprocessing": prepared, "orientation": orientation}


def marked(side):
    """A drawn mammogram with a bright rectangle of 12 x 9 pixels, off centre in both directions."""
    image = mammogram(160, 120, side)
    rows, cols = slice(50, 62), slice(20, 29) if side == "left" else slice(91, 100)
    image[rows, cols] = 8000
    truth = np.zeros(image.shape, bool)
    truth[rows, cols] = True
    return image, truth


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "how",
    [
        {"crop": crop, "flip": flip, "size": size, "bits": bits}
        for crop, flip, size, bits in itertools.product(
            ("none", "breast"), ("none", "left", "right"), ("native", (160, 96)), (8, 16)
        )
    ],
    ids=str,
)
def test_what_is_bright_is_found_where_it_is(how, side):
    image, truth = marked(side)
    probability = segment(Bright(), facts(**how), image, "CC", "a")
    assert probability.shape == image.shape
    found = probability > 0.5
    if how["size"] == "native":
        np.testing.assert_array_equal(found, truth)
    else:
        assert (found & truth).sum() > 0.75 * (found | truth).sum()


def test_dicom_is_predicted_in_its_stored_frame_also_inverted(tmp_path):
    image, truth = marked("right")
    for name, tags in (("a", {}), ("b", {"PhotometricInterpretation": "MONOCHROME1"})):
        stored = image if name == "a" else image.max() - image
        write_dicom(tmp_path / f"{name}.dcm", stored, ImagerPixelSpacing=[0.1, 0.2], **tags)
        found = predict(Bright(), facts(crop="breast", flip="left", size="native"), tmp_path / f"{name}.dcm")
        np.testing.assert_array_equal(found.mask, truth)
        assert found.spacing_mm == (0.1, 0.2)
        assert found.instance


def test_weights_of_an_unprepared_cohort_pad_to_its_proportions():
    image, truth = marked("left")
    old = {"threshold": 0.5, "normalise": "min-max", "preprocessing": None, "size": (160, 160), "orientation": "left"}
    np.testing.assert_array_equal(segment(Bright(), old, image, None, "a") > 0.5, truth)


def test_outlines_enclose_the_masses():
    probability = np.zeros((20, 30), np.float32)
    probability[2:7, 3:9] = 0.9
    probability[10:12, 20:30] = 0.8  # to the border
    found = Prediction("a", probability, probability, probability > 0.5, (0.1, 0.2), "PixelSpacing", "1.2.3")
    told = outlines(found, 0.5)
    assert (told["rows"], told["columns"], told["count"]) == (20, 30, 2)
    first, second = told["masses"]
    assert (first["area_px"], first["area_mm2"]) == (30, 0.6)
    assert (first["mean_probability"], second["highest_probability"]) == (0.9, 0.8)
    for mass, (low, high) in ((first, ((2, 3), (6, 8))), (second, ((10, 20), (11, 29)))):
        (line,) = mass["lines"]
        assert line[0] == line[-1]
        points = np.array(line)
        assert ((np.array(low) - 1 <= points.min(axis=0)) & (points.min(axis=0) < low)).all()
        assert ((np.array(high) < points.max(axis=0)) & (points.max(axis=0) <= np.array(high) + 1)).all()
    json.dumps(told)


def test_a_line_follows_the_probability():
    """Between 0.9 and 0.1 the level 0.5 is half-way, between 0.9 and 0.4 four fifths of the way."""
    probability = np.full((9, 9), 0.1, np.float32)
    probability[3:6, 3:6] = 0.9
    probability[3:6, 6] = 0.4
    found = Prediction("a", probability, probability, probability > 0.5, None, "none", None)
    (line,) = outlines(found, 0.5)["masses"][0]["lines"]
    on_row_four = sorted(col for row, col in line if row == 4)
    assert on_row_four == [2.5, 5.8]


@pytest.fixture
def weights(cohort, trained, tmp_path):
    """A trained network that asks for a crop, a flip and z-scores."""
    from conftest import tiny

    model, _ = load_weights(trained / "best.safetensors")

    class Prepared:
        normalise, licence, orientation = "z-score", "made up", "left"
        preprocessing = Preprocessing(crop="breast", flip="left", normalise="z-score", size=(64, 64))

    save_weights(tmp_path / "w.safetensors", model, tiny(cohort), 0.5, (64, 64), Prepared)
    return tmp_path / "w.safetensors"


def test_the_preparation_is_stored_with_the_weights(weights):
    _, known = load_weights(weights)
    assert Preprocessing(**known["preprocessing"]).crop == "breast"
    assert (known["normalise"], known["orientation"]) == ("z-score", "left")


class Leftish(Bright):
    """A network that learnt left chest walls only: it is blind in the right half."""

    def forward(self, images):
        found = super().forward(images)
        half = images.shape[-1] // 2
        return torch.cat([found[..., :half], found[..., half:] - 1000], dim=-1)


@pytest.mark.parametrize("crop", ["none", "breast"])
@pytest.mark.parametrize("bits", [8, None])
@pytest.mark.parametrize("known", ["left", "right"])
def test_the_prediction_of_the_mirrored_image_is_the_mirrored_prediction(known, bits, crop):
    how = facts(known, crop=crop, size=(96, 80))
    if bits is None:
        how |= {"preprocessing": None, "size": (96, 80)}
    image, truth = marked("left")
    found = segment(Leftish(), how, image, "CC", "a")
    np.testing.assert_array_equal(segment(Leftish(), how, image[:, ::-1], "CC", "a"), found[:, ::-1])
    assert (found[truth].mean() > 0.5) == (known == "left")


def test_the_header_decides_where_the_chest_wall_is(tmp_path):
    """The patient's orientation along the rows; the side of the breast says nothing of how its pixels are stored."""
    image, truth = marked("left")
    how = facts("left", size="native")
    for along, sees in ((["A", "F"], True), (["P", "F"], False), ("", True)):
        path = write_dicom(tmp_path / "a.dcm", image, PatientOrientation=along, ImageLaterality="R")
        assert predict(Leftish(), how, path).mask[truth].all() == sees


def test_weights_of_old_versions_know_their_orientation_by_the_flip_of_their_cohort():
    assert orientation({"preprocessing": {"flip": "right"}}) == "right"
    assert orientation({"preprocessing": {"flip": "none"}}) is None
    assert orientation({"preprocessing": None}) is None
    assert orientation({"preprocessing": {"flip": "none"}, "orientation": "left"}) == "left"


def test_row_52_results_of_dicom_do_not_carry_the_files_name(weights, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    image, _ = marked("left")
    write_dicom(tmp_path / "in/SENTINEL_Jane.dcm", image)
    predict_all(weights, [tmp_path / "in"], tmp_path / "out")
    written = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert len(written) == 3
    assert {len(name.split("_")[0]) for name in written} == {12}
    assert np.asarray(Image.open(tmp_path / "out" / written[2])).shape == image.shape
    everything = (
        capsys.readouterr().out
        + "".join(written)
        + "".join(p.read_bytes().decode("latin1") for p in (tmp_path / "out").iterdir())
    )
    assert "SENTINEL" not in everything
    assert NAME not in everything
    predict_all(weights, [tmp_path / "in"], tmp_path / "kept", keep_names=True)
    assert (tmp_path / "kept/SENTINEL_Jane_mask.png").is_file()


def test_row_45_a_broken_file_does_not_stop_the_others(weights, tmp_path, capsys):
    image, _ = marked("left")
    (tmp_path / "in/deep").mkdir(parents=True)
    for name in ("a", "b", "d"):
        write_dicom(tmp_path / f"in/{name}.dcm", image)
    (tmp_path / "in/b.dcm").write_bytes(b"")
    (tmp_path / "in/c.png").write_text("text")
    (tmp_path / "in/._a.dcm").write_text("what a Mac leaves behind")
    Image.fromarray(image).save(tmp_path / "in/deep/e.png")
    with pytest.raises(SystemExit) as stopped:
        predict_all(weights, [tmp_path / "in"], tmp_path / "out")
    assert stopped.value.code == 3
    assert len(list((tmp_path / "out").glob("*_mask.png"))) == 3
    told = capsys.readouterr()
    assert "b.dcm: is no DICOM file" in told.err
    assert "c.png: cannot be read as an image" in told.err
    assert "3 of 5 images segmented" in told.out


def test_row_60_of_many_files_only_the_broken_one_is_missing(trained, cohort, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    whole = (cohort.root / "images" / f"{cohort.ids[0]}.png").read_bytes()
    for number in range(60):
        content = whole if number != 30 else whole[: len(whole) // 2]  # as after a copy that was cut off
        (tmp_path / f"in/{number:02}.png").write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        predict_all(trained, [tmp_path / "in"], tmp_path / "out")
    assert stopped.value.code == 3
    found = {path.name.split("_")[0] for path in (tmp_path / "out").glob("*_mask.png")}
    assert found == {f"{number:02}" for number in range(60)} - {"30"}
    masks = {path.read_bytes() for path in (tmp_path / "out").glob("*_mask.png")}
    assert len(masks) == 1  # those after the broken one are as those before it
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "30.png: cannot be read as an image" in told.err
    assert "59 of 60 images segmented" in told.out


def test_the_same_result_is_not_written_twice(weights, tmp_path, capsys):
    image, _ = marked("left")
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        Image.fromarray(image).save(tmp_path / folder / "a.png")
    with pytest.raises(SystemExit):
        predict_all(weights, [tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    assert "a.png: its result would replace that of a.png" in capsys.readouterr().err


def test_files_and_folders(tmp_path):
    with pytest.raises(UsageError, match="no such image"):
        list(image_files([tmp_path / "nowhere"]))
    with pytest.raises(CohortError, match="must hold images, but has none"):
        list(image_files([tmp_path]))
