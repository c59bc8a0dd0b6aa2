"""Distances between boundaries: brute force, SciPy, MONAI, and laws."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, directed_hausdorff

from massmatch.metrics import boundary, image_metrics, lesion_counts, surface
from shapes import EMPTY, drawn, square

SURFACES = ("hau_mm", "hau95_mm", "assd_mm", "nsd_2mm")


def outline_by_hand(mask):
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask & ~inner)


def mask_of(seed, shape=(11, 14), share=0.3):
    mask = np.random.default_rng(seed).random(shape) < share
    mask[tuple(np.array(shape) // 2)] = True  # never empty: the empties are in test_image.py
    return mask


masks = st.integers(0, 10_000).map(mask_of)
spacings = st.sampled_from([(1.0, 1.0), (0.07, 0.07), (0.5, 2.0), (1.117, 0.91)])


@given(prediction=masks, truth=masks, spacing=spacings)
def test_distances_equal_brute_force_and_scipy(prediction, truth, spacing):
    p, y = outline_by_hand(prediction) * spacing, outline_by_hand(truth) * spacing
    pairs = cdist(p, y)
    there, back = pairs.min(1), pairs.min(0)
    of = image_metrics(prediction, truth, spacing_mm=spacing)
    assert of["hau_mm"] == pytest.approx(max(there.max(), back.max()))
    assert of["hau_mm"] == pytest.approx(max(directed_hausdorff(p, y)[0], directed_hausdorff(y, p)[0]))
    assert of["hau95_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert of["assd_mm"] == pytest.approx(np.concatenate([there, back]).mean())
    assert of["nsd_2mm"] == pytest.approx(((there <= 2).sum() + (back <= 2).sum()) / (len(p) + len(y)))


def test_surface_dice_by_hand():
    of = image_metrics(drawn("#.##...#"), drawn("#......."), spacing_mm=(1.0, 0.5))
    assert of["nsd_2px"] == (1 + 2) / 5  # the pixel itself from both sides, and the one at 2 px; 3 and 7 are too far
    assert of["nsd_2mm"] == (1 + 3) / 5  # 0, 1 and 1.5 mm; 3.5 mm is too far


@given(seed=st.integers(0, 10_000), spacing=spacings)
def test_the_way_for_many_pixels_gives_the_same_numbers(seed, spacing):
    prediction, truth = mask_of(seed, (40, 33), 0.1), mask_of(seed + 1, (40, 33), 0.02)
    p, y = boundary(prediction), boundary(truth)
    for one, other in ((p, y), (y, p)):
        np.testing.assert_allclose(
            surface.by_transform(one, other, spacing), surface.by_tree(one, other, spacing), rtol=1e-12
        )


@given(prediction=masks, truth=masks, spacing=spacings)
def test_distances_do_not_care_which_mask_is_the_truth(prediction, truth, spacing):
    of, swapped = (image_metrics(*pair, spacing) for pair in ((prediction, truth), (truth, prediction)))
    assert [of[name] for name in SURFACES] == pytest.approx([swapped[name] for name in SURFACES])


@given(mask=masks, spacing=spacings)
def test_a_mask_lies_on_itself(mask, spacing):
    of = image_metrics(mask, mask, spacing)
    assert [of[name] for name in SURFACES] == [0, 0, 0, 1]


@given(row=st.integers(-20, 20), col=st.integers(-20, 20), spacing=spacings)
def test_a_moved_pixel_is_as_far_as_it_was_moved(row, col, spacing):
    still, moved = EMPTY.copy(), EMPTY.copy()
    still[30, 30], moved[30 + row, 30 + col] = True, True
    of = image_metrics(moved, still, spacing)
    assert of["hau_mm"] == of["hau95_mm"] == pytest.approx(np.hypot(row * spacing[0], col * spacing[1]))


@given(truth=masks, row=st.integers(0, 5), col=st.integers(0, 5))
def test_a_mask_is_at_most_as_far_from_itself_as_it_is_moved(truth, row, col):
    moved = np.zeros((16, 19), bool)
    still = moved.copy()
    still[:11, :14] = truth
    moved[row : row + 11, col : col + 14] = truth
    assert image_metrics(moved, still)["hau_px"] <= np.hypot(row, col) + 1e-9


@given(prediction=masks, truth=masks, spacing=spacings)
def test_flips_black_borders_and_turns_change_nothing(prediction, truth, spacing):
    of = image_metrics(prediction, truth, spacing)
    changed = [
        image_metrics(prediction[::-1], truth[::-1], spacing),
        image_metrics(prediction[:, ::-1], truth[:, ::-1], spacing),
        image_metrics(np.pad(prediction, 3), np.pad(truth, 3), spacing),
        image_metrics(prediction.T, truth.T, spacing[::-1]),
    ]
    for other in changed:
        for name in ("dsc", "hau_px", "hau95_px", "assd_px", "nsd_2px", *SURFACES):
            assert other[name] == pytest.approx(of[name]), name


@given(prediction=masks, truth=masks, scale=st.floats(0.01, 3))
def test_square_pixels_only_scale_the_distances(prediction, truth, scale):
    of = image_metrics(prediction, truth, (scale, scale))
    for name in ("hau", "hau95", "assd"):
        assert of[f"{name}_mm"] == pytest.approx(scale * of[f"{name}_px"])


@pytest.mark.parametrize("spacing", [(0.07, 0.1), (0.25, 0.1)])
def test_a_distance_of_2_mm_is_within_2_mm_wherever_the_masks_lie(spacing):
    """Places in mm are rounded: 24 * 0.1 - 4 * 0.1 is a little more than 2."""
    for shift in range(40):
        one, other = np.zeros((2, 30, 70), bool)
        one[shift // 2, shift] = other[shift // 2, shift + 20] = True
        assert image_metrics(one, other, spacing)["nsd_2mm"] == 1


def test_a_mask_at_the_border_of_the_image_has_a_boundary_there():
    assert len(boundary(np.ones((5, 6), bool))) == 18
    assert image_metrics(np.ones((5, 6), bool), square((0, 0), 1, 6)[:5])["hau_px"] == pytest.approx(np.hypot(4, 5))


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI warns of its own call
@given(seed=st.integers(0, 10_000))
def test_monai_agrees_where_nothing_is_empty(seed):
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    rng = np.random.default_rng(seed)
    a, b = (square(rng.integers(0, 50, 2), int(rng.integers(3, 20))) for _ in range(2))
    assume((a | b).any())
    spacing = (1.5, 0.5)
    tensors = [torch.from_numpy(m)[None, None].float() for m in (a, b)]
    of, known = image_metrics(a, b, spacing), {"include_background": True, "spacing": list(spacing)}
    hau = compute_hausdorff_distance(*tensors, **known)
    hau95 = compute_hausdorff_distance(*tensors, percentile=95, **known)
    nsd = compute_surface_dice(*tensors, class_thresholds=[2.0], **known)
    assert [of["hau_mm"], of["hau95_mm"], of["nsd_2mm"]] == pytest.approx([*map(float, (hau, hau95, nsd))], abs=1e-4)


def test_row_31_speckle_at_full_size_is_measured_exactly_in_less_than_a_gigabyte():
    rng = np.random.default_rng(0)
    speckle = rng.random((4084, 3328)) < 0.05
    truth = np.zeros_like(speckle)
    truth[2000:2100, 1500:1600] = True
    tracemalloc.start()
    of, lesions = image_metrics(speckle, truth, (0.07, 0.07)), lesion_counts(speckle, truth.astype(np.uint8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e9
    p, y = boundary(speckle), boundary(truth)
    assert len(p) + len(y) > surface.MANY
    corner = np.array([[0, 0], [0, 3327], [4083, 0], [4083, 3327]])
    nearest_corner = [np.abs(p - c).sum(1).argmin() for c in corner]  # the farthest speck is near one of them
    far = max(cdist(p[nearest_corner], y).min(1))
    assert far <= of["hau_px"] <= far + 10
    assert of["hau_mm"] == pytest.approx(0.07 * of["hau_px"])
    assert lesions["masses_found_iou10"] == 0
    assert lesions["pieces"] > 100_000
