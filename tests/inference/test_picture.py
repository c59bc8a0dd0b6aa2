"""The picture for a person: visible lines at any size, never black, and a legend that does not hide a mass."""

import numpy as np
import pytest

from mammograms import mammogram
from massmatch.data.dicom import Mammogram
from massmatch.inference.findings import Prediction
from massmatch.inference.picture import BLUE, ORANGE, contour_picture, displayed


def drawn(image, boxes, spacing=(0.07, 0.07), side="L", threshold=0.5):
    probability = np.zeros(image.shape, np.float32)
    for box in boxes:
        probability[box] = 0.9
    return contour_picture(
        Prediction("a", Mammogram(image, spacing, "x", side, None, "CC", "", "1", "1"), probability, threshold)
    )


def share(pixels, colour):
    return (np.asarray(pixels) == colour).all(axis=-1)


@pytest.mark.parametrize(("rows", "cols"), [(3328, 2560), (160, 120)])
def test_lines_show_where_the_picture_is_shown_small(rows, cols):
    image = mammogram(rows, cols)
    box = (slice(rows // 2, rows // 2 + rows // 20), slice(cols // 4, cols // 4 + cols // 20))
    picture = drawn(image, [box])
    scale = picture.width // cols
    line = share(picture, BLUE)[: rows * scale]
    assert line.any()
    small = picture.resize((500, 500 * picture.height // picture.width))  # as in a browser
    blue = np.asarray(small).astype(int)[..., 2] - np.asarray(small)[..., 0]
    assert (blue > 60).sum() > 20
    inside = line[(rows // 2 + rows // 60) * scale : (rows // 2 + rows // 30) * scale]
    across = inside[:, (cols // 4 + cols // 60) * scale : (cols // 4 + cols // 30) * scale]
    assert not across.any()  # the mass itself is not painted over


def test_the_number_of_a_finding_at_the_lower_edge_does_not_lie_under_the_legend():
    image = mammogram(160, 120)
    found = []
    for row in (100, 158):
        picture = drawn(image, [(slice(row, row + 2), slice(20, 24))])
        scale = picture.width // 120
        beside = share(picture, BLUE)[: 160 * scale, 26 * scale :]  # the number alone, not the line
        found.append(beside.sum())
    assert found[0] == found[1] > 0


def test_thresholds_near_0_and_1_are_told_apart_in_the_legend():
    image = mammogram(600, 500)
    for one, other in ((7.6e-6, 0.001), (0.9999, 0.9999924)):
        assert drawn(image, [], threshold=one).tobytes() != drawn(image, [], threshold=other).tobytes()


def test_a_hot_pixel_does_not_make_the_picture_black():
    image = mammogram(300, 200)
    image[10, 190] = 65535
    assert np.median(np.asarray(displayed(image))[120:180, 5:60]) > 200
    assert np.asarray(displayed(np.full((20, 20), 7, np.uint16))).max() > 100


def test_what_lies_outside_of_the_breast_has_its_own_colour_and_line_in_the_legend():
    image = mammogram(160, 120)
    within, without = (slice(70, 80), slice(20, 30)), (slice(5, 15), slice(105, 115))
    plain, told = drawn(image, [within]), drawn(image, [within, without])
    assert not share(plain, ORANGE).any()
    assert share(told, ORANGE).any()
    assert told.height > plain.height


def test_a_picture_too_narrow_for_a_scale_bar_or_without_spacing_has_none():
    image = mammogram(160, 120)
    with_bar, without = drawn(image, []), drawn(image, [], spacing=None)
    assert with_bar.height > without.height
    assert drawn(image, [], spacing=(9.0, 9.0)).height > without.height
    assert drawn(image[:, :2].copy(), []).height == drawn(image[:, :2].copy(), [], spacing=None).height
