"""Images of a cohort on the loss bench: the true masses, what the network finds, and the page that shows them."""

import base64
import warnings

import numpy as np
import pytest
from PIL import Image

from bright import Bright, facts, marked
from browser import needs_browser, opened, until
from massmatch import prepare
from massmatch.app.reading import Reading
from massmatch.app.runs import from_runs
from massmatch.app.server import build
from massmatch.data import open_cohort
from massmatch.explanations.placements import SIDE
from massmatch.inference.evaluation import evaluate_weights
from massmatch.inference.network import load_network, segment, settle_orientation
from massmatch.training.evaluate import predicted_as_learned
from serving import client, served

SHAPE = (SIDE, SIDE)


@pytest.fixture
def small(tmp_path):
    """A cohort of two images of 160 x 120, with one mass each."""
    for name, side in (("a", "left"), ("b", "right")):
        image, truth = marked(side)
        for folder, pixels in (("images", image), ("masks", truth.astype(np.uint8) * 255)):
            (tmp_path / "cohort" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "cohort" / folder / f"{name}.png")
    (tmp_path / "cohort/patients.csv").write_text("id,patient\na,1\nb,2\n")
    return open_cohort(tmp_path / "cohort")


def test_an_image_comes_with_its_masses_and_what_the_network_finds(small, weights):
    ask = client(build([weights], cohort=small))
    assert ask.get("/api/cohort").json() == {"name": "cohort", "ids": ["a", "b"]}
    told = ask.get("/api/cohort/1").json()
    sample = small.load("b")
    rows, cols = np.nonzero(from_runs(told["truth"], SHAPE))
    true_rows, true_cols = (
        where * SIDE / 160 for where in np.nonzero(sample.mask)
    )  # the longer side fills the picture
    np.testing.assert_allclose([rows.mean(), cols.mean()], [true_rows.mean(), true_cols.mean()], atol=0.5)
    np.testing.assert_allclose(len(rows), sample.mask.sum() * (SIDE / 160) ** 2, rtol=0.15)
    grey = np.frombuffer(base64.b64decode(told["grey"]), np.uint8).reshape(SHAPE)
    assert grey[:, 96:].max() == 0  # 120 of 160 columns; what fills up the square is black
    assert grey.max() == 255
    model, known = load_network(weights)
    found = segment(model, settle_orientation(known), sample.image, None, "b") > known["threshold"]
    share = from_runs(told["prediction"], SHAPE)[:, :96].mean()
    assert share == pytest.approx(found.mean(), abs=0.02)
    assert told["title"].startswith("b at 128 x 128: 1 true mass, and")


@pytest.mark.parametrize("how", [{"crop": "breast", "size": (64, 64), "normalise": "z-score"}, {"size": (64, 64)}])
def test_images_that_were_prepared_are_given_to_the_network_as_evaluate_does(small, weights, tmp_path, how):
    prepared = prepare("folder", small.root, tmp_path / "prepared", workers=1, **how).cohort
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        evaluate_weights(weights, prepared.root, tmp_path / "measured")
    measured = tmp_path / "measured/predictions"
    for id in prepared.ids:
        found, threshold, said = Reading([weights]).probability(prepared, prepared.load(id))
        stored = np.asarray(Image.open(measured / f"{id}.png")) / 65535
        np.testing.assert_allclose(found, stored, atol=1e-4)
        assert threshold == 0.5
        assert {str(each.message) for each in told} <= {*said}


def test_an_image_of_a_cropped_cohort_is_found_where_evaluate_finds_it(small, tmp_path):
    prepared = prepare("folder", small.root, tmp_path / "prepared", workers=1, crop="breast", size=(128, 96)).cohort
    reading, model = Reading([]), Bright()
    model.gain.data.fill_(5)  # each grey has a probability of its own
    reading.network = (model, {**facts("left", crop="breast", size=(128, 96)), "size": (128, 96)})
    for id in prepared.ids:  # one of them shows its chest wall on the right
        sample = prepared.load(id)
        expected = predicted_as_learned(model, sample, "min-max", "left")
        assert np.ptp(expected) > 0.5
        np.testing.assert_allclose(reading.probability(prepared, sample)[0], expected, atol=1e-6)


def test_without_a_cohort_there_is_no_image_and_no_other_number_either(small, weights):
    assert client(build([weights])).get("/api/cohort").json() == {"name": "", "ids": []}
    for app, number in ((build([weights]), 0), (build([weights], cohort=small), 2)):
        refused = client(app).get(f"/api/cohort/{number}")
        assert (refused.status_code, refused.json()) == (400, {"error": "there is no such image"})


def test_a_file_that_is_broken_is_told_in_words(small, weights):
    (small.root / "images/a.png").write_bytes(b"no picture")
    refused = client(build([weights], cohort=small)).get("/api/cohort/0")
    assert refused.status_code == 400
    assert "a.png" in refused.json()["error"]


@needs_browser
def test_the_page_shows_an_image_and_undo_brings_the_pair_back(small, weights):
    picture = "document.querySelector('#painted').toDataURL()"
    with served(build([weights], cohort=small)) as address, opened(f"{address}/bench") as view:
        until(view, "() => document.querySelector('#image').options.length === 3")
        before = view.page.evaluate(picture)
        view.page.get_by_role("button", name="next").click()
        until(view, "() => document.querySelector('#claim').textContent.startsWith('a at 128 x 128')")
        assert view.page.locator("#image").input_value() == "0"
        view.page.locator("#image").select_option("b")
        until(view, "() => document.querySelector('#claim').textContent.startsWith('b at 128 x 128')")
        assert view.page.evaluate(picture) != before
        for _ in range(2):
            view.page.get_by_role("button", name="undo").click()
        assert view.page.evaluate(picture) == before
        assert view.page.locator("#image").input_value() == ""
        assert view.complaints == []
        assert view.overflow == 0


@needs_browser
def test_without_a_cohort_the_page_offers_none(weights):
    with served(build([weights])) as address, opened(f"{address}/bench") as view:
        until(view, "() => document.querySelector('#presets').children.length > 0")
        assert not view.page.locator("#cohort").is_visible()
