"""Metrics against hand-computed numbers, brute force, SciPy and MONAI; every empty case is a line."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from massmatch.metrics import Counts, image_metrics, summary
from shapes import EMPTY, drawn, square

TRUTH = drawn("......", ".###..", ".###..", "......")
FOUND = drawn("......", "..###.", "..###.", "..#...")


def test_counts_and_their_formulas_by_hand():
    assert Counts.of(FOUND, TRUTH) == (4, 3, 2, 15)
    of = image_metrics(FOUND, TRUTH)
    assert of["dsc"] == pytest.approx(8 / 13)
    assert of["iou"] == pytest.approx(4 / 9)
    assert of["sen"] == pytest.approx(4 / 6)
    assert of["precision"] == pytest.approx(4 / 7)
    assert of["specificity"] == pytest.approx(15 / 18)
    assert of["acc"] == pytest.approx(19 / 24)
    assert of["delta_a"] == of["delta_a_signed"] == pytest.approx(1 / 6)
    assert image_metrics(TRUTH, FOUND)["delta_a_signed"] == pytest.approx(-1 / 7)
    assert (of["rows"], of["cols"], of["missed"], of["truth_empty"]) == (4, 6, False, False)


def test_distances_by_hand_and_in_millimetres():
    truth, found = drawn("#......."), drawn("...##...")
    of = image_metrics(found, truth, spacing_mm=(5.0, 0.1))
    assert of["hau_px"] == 4  # the far end of the prediction
    assert of["hau_mm"] == pytest.approx(0.4)
    assert of["assd_px"] == pytest.approx((3 + 4 + 3) / 3)
    assert of["hau95_px"] == pytest.approx(3.95)  # 95th percentile of 3 and 4; the other direction has 3
    assert math.isnan(image_metrics(found, truth)["hau_mm"])
    standing = image_metrics(found.T, truth.T, spacing_mm=(5.0, 0.1))
    assert standing["hau_mm"] == pytest.approx(20)


def test_the_shifted_square_of_the_literature():
    of = image_metrics(square((12, 14)), square((10, 10)))
    assert of["hau_px"] == pytest.approx(4.472, abs=1e-3)
    assert of["hau95_px"] == pytest.approx(4.031, abs=1e-3)


DIAGONAL = 64 * 2**0.5
EMPTIES = {  # prediction, truth, and what both, an empty prediction and an empty truth come to
    "both": (
        EMPTY,
        EMPTY,
        "dsc=1 iou=1 sen=nan precision=nan delta_a=0 acc=1 hau_px=0 hau95_px=0 hau_raw_px=0 "
        "assd_px=0 nsd_2px=1 missed=0 false_positive=0 fp_area_px=0",
    ),
    "prediction": (
        EMPTY,
        square((5, 5)),
        f"dsc=0 iou=0 sen=0 precision=nan delta_a=1 delta_a_signed=-1 hau_px={DIAGONAL} hau95_px={DIAGONAL} "
        "nsd_2px=0 hau_raw_px=inf missed=1 false_positive=0 fp_area_px=nan fp_area_mm2=nan",
    ),
    "truth": (
        square((5, 5)),
        EMPTY,
        f"dsc=0 iou=0 sen=nan precision=0 delta_a=nan hau_px={DIAGONAL} hau_raw_px=inf nsd_2px=0 missed=0 "
        "false_positive=1 fp_area_px=100 fp_area_mm2=nan hau_mm=nan nsd_2mm=nan",
    ),
}


@pytest.mark.parametrize("case", EMPTIES)
def test_row_27_empties_are_defined(case):
    prediction, truth, expected = EMPTIES[case]
    of = image_metrics(prediction, truth)
    for name, value in (pair.split("=") for pair in expected.split()):
        assert of[name] == pytest.approx(float(value), nan_ok=True), name


def test_row_27_empties_in_millimetres_are_those_in_pixels_of_that_size():
    diagonal = math.hypot(64 * 0.5, 64 * 0.25)
    miss = image_metrics(EMPTY, square((5, 5)), (0.5, 0.25))
    false = image_metrics(square((5, 5)), EMPTY, (0.5, 0.25))
    assert [miss[f"{m}mm"] for m in ("hau_", "hau95_", "assd_", "nsd_2")] == [diagonal, diagonal, diagonal, 0]
    assert [false[f"{m}mm"] for m in ("hau_", "hau95_", "assd_", "nsd_2")] == [diagonal, diagonal, diagonal, 0]
    assert false["fp_area_mm2"] == 100 * 0.5 * 0.25
    nothing = image_metrics(EMPTY, EMPTY, (0.5, 0.25))
    assert [nothing[f"{m}mm"] for m in ("hau_", "hau95_", "assd_", "nsd_2")] == [0, 0, 0, 1]


def test_a_miss_without_overlap_is_counted():
    assert image_metrics(square((40, 40)), square((5, 5)))["missed"] is True


def test_wrong_masks_are_named():
    with pytest.raises(ValueError, match=r"prediction must have the shape of truth, \(64, 64\), but has \(4, 6\)"):
        image_metrics(FOUND, EMPTY)
    with pytest.raises(ValueError, match=r"truth must be a mask of two axes"):
        image_metrics(EMPTY, EMPTY[None])
    with pytest.raises(ValueError, match=r"prediction must hold 0 and 1 only, but ranges from 0 to 255"):
        image_metrics(255 * FOUND.astype(np.uint8), TRUTH)
    for spacing in ((0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match=r"spacing_mm must be two positive lengths"):
            image_metrics(FOUND, TRUTH, spacing)
    assert image_metrics(FOUND.astype(np.uint8), torch.from_numpy(TRUTH))["dsc"] == pytest.approx(8 / 13)


def test_the_summary_pools_and_averages_by_hand():
    rows = pd.DataFrame(
        [image_metrics(FOUND, TRUTH), image_metrics(TRUTH, TRUTH), image_metrics(~TRUTH & False, TRUTH)]
    )
    line = summary(rows)
    assert line["dsc"] == pytest.approx((8 / 13 + 1 + 0) / 3)
    assert line["dsc_pooled"] == pytest.approx(2 * 10 / (2 * 10 + 3 + 8))
    assert line["sen_pooled"] == pytest.approx(10 / 18)
    assert line["delta_a_pooled"] == pytest.approx(5 / 18)
    assert (line["n"], line["missed"], line["prediction_empty"], line["hits_n"]) == (3, 1, 1, 2)
    assert line["hau_px"] > line["hau_px_hits"]


def test_undefined_values_are_counted_not_dropped_in_silence():
    line = summary(pd.DataFrame([image_metrics(EMPTY, EMPTY), image_metrics(square((5, 5)), square((5, 5)))]))
    assert (line["sen_n"], line["dsc_n"], line["both_empty"], line["truth_empty"]) == (1, 1, 1, 1)


def test_row_28_three_missed_of_ten_are_in_one_mean_and_out_of_the_other_and_counted():
    truth, hit = square((20, 20)), square((22, 24))
    rows = pd.DataFrame([image_metrics(p, truth, (0.5, 0.5)) for p in [hit] * 7 + [EMPTY] * 3])
    line = summary(rows)
    assert (line["n"], line["missed"], line["hits_n"], line["hits_mm_n"]) == (10, 3, 7, 7)
    assert line["hau95_px_n"] == 10
    assert line["hau95_px_hits"] == pytest.approx(4.031, abs=1e-3)
    assert line["hau95_px"] == pytest.approx((7 * line["hau95_px_hits"] + 3 * DIAGONAL) / 10)
    assert line["hau_mm_hits"] == pytest.approx(20**0.5 / 2)
    assert line["hau_mm"] == pytest.approx((7 * line["hau_mm_hits"] + 3 * DIAGONAL / 2) / 10)


def test_false_areas_are_averaged_over_the_images_without_mass():
    pairs = [(square((5, 5)), EMPTY), (EMPTY, EMPTY), (square((5, 5)), square((5, 5)))]
    line = summary(pd.DataFrame([image_metrics(p, y) for p, y in pairs]))
    assert (line["fp_area_px"], line["fp_area_px_n"], line["false_positive"]) == (50, 2, 1)
    assert (line["fp_area_mm2_n"], line["hau_mm_n"], line["hits_mm_n"]) == (0, 0, 0)
