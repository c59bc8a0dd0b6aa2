"""Tables and pictures show what the rows say."""

import numpy as np
import pandas as pd
import pytest

from made_up_runs import write_run
from mammograms import glaring, mammogram
from massmatch.cli.screen import show
from massmatch.cli.screen import tested_images as images_of
from massmatch.errors import UsageError
from massmatch.metrics import image_metrics
from massmatch.pictures import BLUE, GREEN, overlay
from massmatch.reports.tables import comparison, markdown


def square(at, side=10):
    mask = np.zeros((40, 60), bool)
    mask[at : at + side, at : at + side] = True
    return mask


def rows(*predictions):
    measured = [image_metrics(prediction, square(5)) for prediction in predictions]
    return pd.DataFrame([{"id": str(n), "patient": f"p{n}", **each} for n, each in enumerate(measured)])


def test_the_comparison_shows_percent_pixels_and_misses():
    table = comparison({"good": rows(square(5), square(5)), "half": rows(square(5), square(5) & False)})
    assert table.loc["good", "DSC"] == "100.00"
    assert table.loc["half", "DSC"] == "50.00"
    assert table.loc["half", "DSC pooled"] == "66.67"
    assert table.loc["half", "HAU px, hits"] == "0.00"
    assert (table.loc["half", "missed"], table.loc["half", "images"]) == ("1", "2")
    assert (table.loc["half", "DSC, SD of images"], table.loc["half", "DSC, median"]) == ("70.71", "50.00")
    assert table.loc["half", "DSC, 95 % interval"] == "0.0 to 100.0"
    assert table.loc["half", "without mass"] == "0"
    assert markdown(table).splitlines()[2].startswith("| good | 100.00 |")


def test_runs_that_tested_other_images_are_refused_with_what_to_compare_and_what_averages():
    one = rows(square(5), square(5))
    with pytest.raises(UsageError, match="same scheme, fold and seed, take `massmatch report` for several folds"):
        images_of({"kfold": one, "official": one.iloc[1:]}, unpaired=False)


def test_runs_of_one_loss_are_all_told_by_their_folders(tmp_path):
    one, other, bce = (write_run(tmp_path, **of) for of in ({"seed": 0}, {"seed": 1}, {"loss": "bce"}))
    assert show([one, other, bce]) == {f"hybrid ({one})": one, f"hybrid ({other})": other, "bce": bce}


def test_a_contour_is_as_wide_as_a_picture_of_that_size_needs_and_a_hot_pixel_leaves_the_tissue_visible():
    image = np.zeros((1664, 1280), np.uint16)
    image[:, :600] = np.linspace(1000, 2000, 600)  # the breast, beside air
    image[5, 1270], image[100:104, 1000:1004] = 65535, 60000
    truth = np.zeros(image.shape, bool)
    truth[400:900, 100:500] = True
    picture = np.asarray(overlay(image, truth=truth))
    line = (picture[650] == GREEN).all(-1)
    assert line[100:150].sum() == 3  # 1664 / 512; seen at a third of the size it is still a line
    assert not line[:100].any()
    grey = picture[1000, :600].astype(int)
    assert grey.max() > 240
    assert 100 < grey[300, 0] < 220  # between black and white, not lost below a hot pixel


def test_a_plate_far_brighter_than_the_tissue_does_not_darken_the_picture():
    image = mammogram(512, 512)
    clean, marked = (np.asarray(overlay(each)) for each in (image, glaring(image, "plate")[0]))
    assert marked[256, 50, 0] == pytest.approx(clean[256, 50, 0], abs=2)
    assert clean[256, 50, 0] > 100


def test_contours_run_along_the_masks_in_the_papers_colours():
    picture = np.asarray(overlay(np.full((40, 60), 500, np.uint16), truth=square(5), prediction=square(20)))
    scale = picture.shape[0] // 40
    assert picture.shape == (40 * scale, 60 * scale, 3)
    assert max(picture.shape) >= 512
    assert tuple(picture[5 * scale, 5 * scale]) == GREEN
    assert tuple(picture[20 * scale, 20 * scale]) == BLUE
    assert tuple(picture[10 * scale, 10 * scale]) not in (GREEN, BLUE)  # inside, the mammogram stays visible
