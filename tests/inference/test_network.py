"""Prediction comes out in the frame of the stored pixels, whatever was done to the image on the way in."""

import itertools
import shutil

import numpy as np
import pytest
import torch

from bright import Bright, facts, marked, predicted
from conftest import tiny
from mammograms import GLARES, glaring, mammogram, write_dicom
from massmatch.data import DataWarning
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.errors import UsageError
from massmatch.inference.network import load_network, orientation, segment, settle_orientation
from massmatch.runs.weights import load_weights, save_weights


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
        found = predicted(tmp_path / f"{name}.dcm", how=facts(crop="breast", flip="left", size="native"))
        np.testing.assert_array_equal(found.mask, truth)
        assert found.image.spacing_mm == (0.1, 0.2)
        assert found.image.instance


def test_weights_of_an_unprepared_cohort_pad_to_its_proportions():
    image, truth = marked("left")
    old = {"threshold": 0.5, "normalise": "min-max", "preprocessing": None, "size": (160, 160), "orientation": "left"}
    np.testing.assert_array_equal(segment(Bright(), old, image, None, "a") > 0.5, truth)


def test_what_is_padded_is_as_dark_as_the_air():
    """Fog of film was brighter than what was added, so that the tissue had fewer greys than in training."""
    image, _ = marked("left")
    wide = {"threshold": 0.5, "normalise": "min-max", "preprocessing": None, "size": (160, 320), "orientation": "left"}
    clear, fog = (segment(Bright(), wide, each, None, "a") for each in (image, image + 4000))
    np.testing.assert_array_equal(fog, clear)


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
    for along, sees in ((["A", "F"], True), ("", True)):
        path = write_dicom(tmp_path / "a.dcm", image, PatientOrientation=along, ImageLaterality="R")
        assert predicted(path, Leftish(), how).mask[truth].all() == sees
    path = write_dicom(tmp_path / "a.dcm", image, PatientOrientation=["P", "F"], ImageLaterality="R")
    with pytest.warns(DataWarning, match="puts the chest wall on the right, but the pixels show it on the left"):
        assert not predicted(path, Leftish(), how).mask[truth].all()
    assert predicted(path, Leftish(), facts("mixed", size="native")).mask[truth].all()  # it turns no image


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda image: 4095 - image, "the greys look inverted"),
        (lambda image: with_label(image), r"the tissue has [12]\d % of the greys, so that masses can be missed"),
        (lambda image: np.zeros_like(image) + (np.arange(image.shape[1]) == 3).astype(image.dtype), "no breast was"),
    ],
)
def test_greys_with_which_a_network_cannot_be_right_are_told(spoil, told):
    """The packaged network takes the greys from the darkest to the brightest of the whole image."""
    image = mammogram(300, 200)
    by_whole_image = facts("mixed") | {"preprocessing": None, "size": (96, 64)}
    segment(Bright(), by_whole_image, image, "CC", "a")  # without a warning, which would be an error here
    with pytest.warns(DataWarning, match=f"^a: .*{told}"):
        segment(Bright(), by_whole_image, spoil(image), "CC", "a")


def test_a_label_does_not_matter_where_the_breast_alone_gives_the_greys():
    segment(Bright(), facts("mixed", crop="breast", size=(96, 64)), with_label(mammogram(300, 200)), "CC", "a")


@pytest.mark.parametrize("where", [where for where in GLARES if where != "hot pixel"])
@pytest.mark.parametrize("how", [{}, {"range": "min-max"}, {"range": "min-max", "crop": "breast"}], ids=str)
def test_glare_is_told_or_changes_nothing(where, how):
    image = mammogram(300, 240)
    image[170:190, 30:48] = 4000
    truth = image == 4000
    spoilt, glare = glaring(image, where)
    facts_of_network = facts("right", size="native", **how)
    if how.get("range") != "min-max":
        found = segment(Rightish(), facts_of_network, spoilt, "CC", "a") > 0.5
        np.testing.assert_array_equal(found[~glare], truth[~glare])
    elif (how.get("crop"), where) not in (("breast", "plate"), ("breast", "letters on a plate")):
        with pytest.warns(DataWarning, match=r"^a: something is so bright .* [46] % of the greys"):
            segment(Rightish(), facts_of_network, spoilt, "CC", "a")


class Rightish(Bright):
    """A network that learnt right chest walls only: it is blind in the left half."""

    def forward(self, images):
        found = super().forward(images)
        half = images.shape[-1] // 2
        return torch.cat([found[..., :half] - 1000, found[..., half:]], dim=-1)


def with_label(image):
    """The mammogram with a label in the air, five times as bright as the tissue."""
    image = image.copy()
    image[20:60, 160:190] = 5 * image.max()
    return image


def test_weights_of_old_versions_know_their_orientation_by_the_flip_of_their_cohort():
    assert orientation({"preprocessing": {"flip": "right"}}) == "right"
    assert orientation({"preprocessing": {"flip": "none"}}) is None
    assert orientation({"preprocessing": None}) is None
    assert orientation({"preprocessing": {"flip": "none"}, "orientation": "left"}) == "left"


def test_of_weights_that_do_not_say_it_the_user_says_where_the_chest_wall_was():
    unknown, left = {"preprocessing": None}, {"preprocessing": None, "orientation": "left"}
    assert settle_orientation(unknown, "right")["orientation"] == "right"
    assert settle_orientation(left)["orientation"] == "left"
    with pytest.warns(DataWarning, match="do not say on which side"):
        assert settle_orientation(unknown)["orientation"] == "mixed"
    with pytest.raises(ValueError, match="is right, but the weights say that it was left"):
        settle_orientation(left, "right")
    with pytest.raises(ValueError, match="must be left, right or mixed, but is top"):
        settle_orientation(unknown, "top")


def test_the_weights_of_an_unfinished_training_are_told(trained, tmp_path):
    load_network(trained)  # without a warning, which would be an error here
    shutil.copytree(trained, tmp_path / "fold0")
    (tmp_path / "fold0" / "DONE").unlink()
    with pytest.warns(RuntimeWarning, match="best weights so far of a training: it is interrupted"):
        load_network(tmp_path / "fold0")


def test_a_run_with_the_weights_of_another_one_is_refused_and_a_file_is_followed_with_a_word(trained, cohort, tmp_path):
    """`predict --run`, `export` and `evaluate --out` took them in silence, under the name of the run."""
    run = tmp_path / "run/fold0"
    shutil.copytree(trained, run)
    model, known = load_weights(run / "best.safetensors")
    save_weights(run / "best.safetensors", model, tiny(cohort, seed=1), known["threshold"], (64, 64), cohort, 0)
    with pytest.raises(UsageError, match="is of another run: seed should be 0 but is 1; give that run, or this file"):
        load_network(run)
    with pytest.warns(RuntimeWarning, match="experiment.yaml: seed should be 0 but is 1; the file is followed"):
        load_network(run / "best.safetensors")
    (run / "experiment.yaml").write_text("{")  # the file says all that predicting needs
    assert load_network(run)[1]["experiment"]["seed"] == 1


def test_a_muscle_that_is_kept_for_want_of_a_view_is_told():
    """A network of images without muscles was given one, and found masses in it."""
    image = mammogram(200, 150)
    how = facts(pectoral="suppress")
    with pytest.warns(DataWarning, match=r"^a: its view is not known .* its muscle, if it shows, is kept"):
        segment(Bright(), how, image, None, "a")
    segment(Bright(), how, image, "CC", "a")
