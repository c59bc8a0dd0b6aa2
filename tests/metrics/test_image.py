"""Metrics against hand-computed numbers, brute force, SciPy and MONAI; every empty case is a line."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, directed_hausdorff

from massmatch.metrics import Counts, boundary, image_metrics, summary
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
    "both": (EMPTY, EMPTY, "dsc=1 iou=1 sen=nan precision=nan delta_a=0 acc=1 hau_px=0 hau95_px=0 hau_raw_px=0"),
    "prediction": (
        EMPTY,
        square((5, 5)),
        f"dsc=0 iou=0 sen=0 precision=nan delta_a=1 delta_a_signed=-1 hau_px={DIAGONAL} hau95_px={DIAGONAL} "
        "hau_raw_px=inf missed=1",
    ),
    "truth": (
        square((5, 5)),
        EMPTY,
        f"dsc=0 iou=0 sen=nan precision=0 delta_a=nan hau_px={DIAGONAL} hau_raw_px=inf missed=0",
    ),
}


@pytest.mark.parametrize("case", EMPTIES)
def test_empties_are_defined(case):
    prediction, truth, expected = EMPTIES[case]
    of = image_metrics(prediction, truth)
    for name, value in (pair.split("=") for pair in expected.split()):
        assert of[name] == pytest.approx(float(value), nan_ok=True), name


def test_a_miss_without_overlap_is_counted():
    assert image_metrics(square((40, 40)), square((5, 5)))["missed"] is True


def outline_by_hand(mask):
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask & ~inner)


masks = st.integers(0, 10_000).map(lambda seed: np.random.default_rng(seed).random((11, 14)) < 0.3)


@given(prediction=masks, truth=masks, spacing=st.sampled_from([(1.0, 1.0), (0.5, 2.0)]))
def test_distances_equal_brute_force(prediction, truth, spacing):
    p, y = outline_by_hand(prediction) * spacing, outline_by_hand(truth) * spacing
    pairs = cdist(p, y)
    there, back = pairs.min(1), pairs.min(0)
    of = image_metrics(prediction, truth, spacing_mm=spacing)
    assert of["hau_mm"] == pytest.approx(max(there.max(), back.max()))
    assert of["hau_mm"] == pytest.approx(max(directed_hausdorff(p, y)[0], directed_hausdorff(y, p)[0]))
    assert of["hau95_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert of["assd_mm"] == pytest.approx(np.concatenate([there, back]).mean())


@given(truth=masks, row=st.integers(0, 5), col=st.integers(0, 5))
def test_a_mask_is_at_most_as_far_from_itself_as_it_is_moved(truth, row, col):
    moved = np.zeros((16, 19), bool)
    still = moved.copy()
    still[:11, :14] = truth
    moved[row : row + 11, col : col + 14] = truth
    assert image_metrics(moved, still)["hau_px"] <= np.hypot(row, col) + 1e-9
    assert image_metrics(still, still)["hau_px"] == 0


@given(prediction=masks, truth=masks)
def test_metrics_do_not_care_about_flips_order_and_black_borders(prediction, truth):
    of = image_metrics(prediction, truth)
    flipped = image_metrics(prediction[::-1, ::-1], truth[::-1, ::-1])
    swapped, wider = image_metrics(truth, prediction), image_metrics(np.pad(prediction, 3), np.pad(truth, 3))
    for name in ("dsc", "hau_px", "hau95_px", "assd_px"):
        assert flipped[name] == pytest.approx(of[name])
        assert swapped[name] == pytest.approx(of[name])
        assert wider[name] == pytest.approx(of[name])


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI warns of its own call
def test_monai_agrees_where_nothing_is_empty():
    from monai.metrics import compute_hausdorff_distance

    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = (square(rng.integers(0, 40, 2), int(rng.integers(3, 20))) for _ in range(2))
        tensors = [torch.from_numpy(m)[None, None].float() for m in (a, b)]
        of = image_metrics(a, b)
        assert of["hau_px"] == pytest.approx(
            float(compute_hausdorff_distance(*tensors, include_background=True)), abs=1e-4
        )
        assert of["hau95_px"] == pytest.approx(
            float(compute_hausdorff_distance(*tensors, include_background=True, percentile=95)), abs=1e-4
        )


def test_the_border_of_the_image_is_outside():
    assert len(boundary(np.ones((5, 6), bool))) == 18


def test_wrong_masks_are_named():
    with pytest.raises(ValueError, match=r"prediction must have the shape of truth, \(64, 64\), but has \(4, 6\)"):
        image_metrics(FOUND, EMPTY)
    with pytest.raises(ValueError, match=r"truth must be a mask of two axes"):
        image_metrics(EMPTY, EMPTY[None])
    with pytest.raises(ValueError, match=r"prediction must hold 0 and 1 only, but ranges from 0 to 255"):
        image_metrics(255 * FOUND.astype(np.uint8), TRUTH)
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
    assert (line["sen_n"], line["dsc_n"], line["both_empty"], line["truth_empty"]) == (1, 2, 1, 1)
