"""Row 33: masks of every kind, by exact labels."""

import warnings

import numpy as np
import pytest
from PIL import Image

from massmatch.data import DataError, DataWarning
from massmatch.data.masks import merged, speck_limit, to_instances, without_specks


def two(top=1, kind=np.uint8):
    mask = np.zeros((30, 40), kind)
    mask[2:10, 3:12] = top
    mask[15:25, 20:38] = top
    return mask


@pytest.mark.parametrize(("top", "kind"), [(1, np.uint8), (255, np.uint8), (128, np.uint8), (65535, np.uint16)])
def test_row_33_one_value_is_cut_into_components(top, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = to_instances(two(top, kind), "m.png")
    assert np.bincount(labels.ravel())[1:].tolist() == [72, 180]


def test_row_33_diagonal_neighbours_are_one_mass():
    mask = np.zeros((6, 6), np.uint8)
    mask[2, 2] = mask[3, 3] = 1
    assert to_instances(mask, "m.png").max() == 1


def test_row_33_labels_stay_labels_also_where_they_touch():
    mask = two()
    mask[2:10, 12:15] = 2
    np.testing.assert_array_equal(to_instances(mask, "m.png"), mask)


def test_row_33_an_empty_mask_has_no_mass():
    assert not to_instances(np.zeros((5, 5), np.uint8), "m.png").any()


def test_row_33_greys_are_cut_at_half_range_and_told_from_one_percent():
    mask = two(255)
    mask[2:10, 2] = 100  # 8 of 252 pixels
    with pytest.warns(DataWarning, match=r"^m\.png: 3\.2 % of the mass's area is grey"):
        labels = to_instances(mask, "m.png")
    np.testing.assert_array_equal(labels > 0, two() > 0)
    few = two(255)
    few[2, 2], few[3, 2] = 100, 250
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (to_instances(few, "m.png") > 0).sum() == 253


@pytest.mark.parametrize("levels", [(128, 255), (85, 170, 255)])
def test_row_33_more_than_two_levels_are_refused(levels):
    mask = np.zeros((30, 40), np.uint8)
    for n, level in enumerate(levels):
        mask[10 * n : 10 * n + 8, 5:30] = level
    with pytest.raises(
        DataError, match=r"^m\.png: a mask must hold 0 and one other value, or labels.*but holds the levels"
    ):
        to_instances(mask, "m.png")


def test_row_33_an_image_is_no_mask():
    picture = np.random.default_rng(0).integers(0, 255, (60, 60)).astype(np.uint8)
    with pytest.raises(DataError, match=r"^m\.png: must be a mask.*is it an image"):
        to_instances(picture, "m.png")


def test_several_masks_of_an_image_count_on():
    first, second = two(), np.zeros((30, 40), np.uint8)
    second[0, 0] = 1
    labels = merged([to_instances(first, "a"), second])
    assert labels.max() == 3
    assert labels[0, 0] == 3


@pytest.mark.parametrize(
    ("shape", "limit"), [((256, 256), 10), ((128, 128), 2), ((64, 64), 1), ((8, 8), 1), ((3328, 2560), 1300)]
)
def test_what_is_a_speck_follows_from_the_size_of_the_image(shape, limit):
    assert speck_limit(shape) == limit


def test_specks_are_dropped_by_their_area():
    instances = np.zeros((30, 30), np.uint8)
    instances[2:8, 2:8] = 1  # 36 pixels
    instances[20, 20:23], instances[25, 5] = 1, 2  # 3 and 1
    cleaned, dropped = without_specks(instances, 4)
    assert dropped == [1, 3]
    assert np.array_equal(np.argwhere(cleaned), np.argwhere(instances[:9] == 1))
    assert instances[25, 5] == 2  # the map that was given stays
    assert without_specks(instances, 3)[1] == [1]
    assert without_specks(instances, 0)[0] is instances
    assert without_specks(np.zeros((5, 5), np.uint8), 4)[1] == []


@pytest.mark.parametrize("top", [3, 9])
def test_the_steps_of_a_blurred_edge_are_no_labels(top):
    """A mass of number `top` that was saved in JPEG and then as PNG, or smoothed: its rings are numbered 1 to `top`."""
    row, col = np.mgrid[:40, :60]
    steps = np.clip(15 - np.hypot(row - 20, col - 30), 0, top).astype(np.uint8)
    with pytest.raises(DataError, match=rf"^m\.png: its labels 1 to {top} lie around one another"):
        to_instances(steps, "m.png")


def test_masses_that_touch_are_labels():
    """Three in a row of which two touch, and two of which one lies around the other."""
    three = np.zeros((20, 60), np.uint8)
    three[5:15, 5:15], three[5:15, 15:25], three[5:15, 40:50] = 1, 2, 3
    around = np.zeros((20, 60), np.uint8)
    around[2:18, 2:18], around[6:14, 6:14] = 1, 2
    for mask in (three, around):
        assert np.array_equal(to_instances(mask, "m.png"), mask)


def blurred():
    """A mass of number 1 that was saved in JPEG of high quality and then as PNG: some pixels of its rim became 2."""
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 5:25] = 1
    mask[5, 8:15], mask[19, 12:14], mask[10:14, 5:7] = 2, 2, 2
    return mask


def test_row_33_a_fringe_that_a_jpeg_left_is_told():
    with pytest.warns(DataWarning, match=r"^m\.png: labels hold strips of one or two pixels along another label"):
        assert np.array_equal(to_instances(blurred(), "m.png"), blurred())


def test_row_33_the_fringe_of_one_mass_among_several_is_told():
    mask = blurred()
    mask[22:28, 28:38] = 2  # a mass of its own, so that only pieces of label 2 are strips
    with pytest.warns(DataWarning, match="strips"):
        to_instances(mask, "m.png")


def test_a_mask_of_0_and_1_that_was_a_jpeg_is_told_and_the_drawn_one_is_not(tmp_path):
    """At quality 75 it has no greys: the blocks of its outline are all that is left to see."""
    row, column = np.mgrid[:96, :96]
    drawn = ((row - 47) ** 2 / 2 + (column - 50) ** 2 < 500).astype(np.uint8)
    assert to_instances(drawn, "a.png").max() == 1
    Image.fromarray(drawn).save(tmp_path / "a.jpg", quality=75)
    lossy = np.asarray(Image.open(tmp_path / "a.jpg"))
    assert lossy.max() == 1
    with pytest.warns(DataWarning, match=r"^a\.png: most of the mask's outline runs between blocks of 8 x 8 pixels"):
        to_instances(lossy, "a.png")
    box = np.zeros((96, 96), np.uint8)
    box[16:40, 8:64] = 1  # as somebody may draw it
    assert to_instances(box, "a.png").max() == 1
