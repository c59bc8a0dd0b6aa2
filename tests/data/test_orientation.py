"""How a cohort's breasts lie: seen per image, said of the whole."""

import json

import numpy as np
import pytest
from PIL import Image

from mammograms import listing, mammogram
from massmatch.data import Sample, open_cohort, write_cohort
from massmatch.data.preparation.process import prepare_listing
from massmatch.data.preprocessing.frame import Preprocessing


def write(root, sides):
    samples = [
        Sample(f"s{n}", f"p{n}", mammogram(60 + n, 50, side), np.zeros((60 + n, 50), np.uint8))
        for n, side in enumerate(sides)
    ]
    return write_cohort(samples, root, reader="test", options={}, licence="none")


def plain(root, sides):
    """A pair of folders that massmatch did not prepare."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for n, side in enumerate(sides):
        image = mammogram(60, 50, side)
        Image.fromarray(image).save(root / "images" / f"s{n}.png")
        Image.fromarray(np.zeros(image.shape, np.uint8)).save(root / "masks" / f"s{n}.png")
    (root / "facts.csv").write_text("id,patient\n" + "".join(f"s{n},p{n}\n" for n in range(len(sides))))
    return open_cohort(root)


ORIENTATIONS = [
    (["left"] * 4, "left"),
    (["right"] * 4, "right"),
    (["left", "right"] * 2, "mixed"),
    (["left"] * 19 + ["right"], "left"),  # 95 %
    (["left"] * 18 + ["right"], "mixed"),
]


@pytest.mark.parametrize("make", [write, plain])
@pytest.mark.parametrize(("sides", "orientation"), ORIENTATIONS)
def test_a_cohort_says_how_its_breasts_lie(tmp_path, make, sides, orientation):
    assert make(tmp_path / "c", sides).orientation == orientation


def test_a_written_cohort_records_the_side_of_each_image_and_of_the_whole(tmp_path):
    cohort = write(tmp_path / "c", ["left", "right", "right"])
    assert cohort.table["chest_side"].tolist() == ["left", "right", "right"]
    assert json.loads((tmp_path / "c" / "cohort.json").read_text())["orientation"] == "mixed"


@pytest.mark.parametrize("flip", ["left", "right"])
def test_a_flipped_cohort_lies_as_it_was_flipped(tmp_path, flip):
    (tmp_path / "source").mkdir()
    prepare_listing(
        listing(tmp_path / "source", 3),
        tmp_path / "c",
        Preprocessing(flip=flip, size=(32, 24)),
        reader="drawn",
        options={},
        workers=1,
    )
    cohort = open_cohort(tmp_path / "c")
    assert set(cohort.table["chest_side"]) == {flip}
    assert cohort.orientation == flip
