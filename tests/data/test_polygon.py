"""Polygons by hand, and against a slow test of every pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massmatch.data.readers.inbreast.polygon import area, filled


def test_a_rectangle_has_its_pixels():
    """Corners on pixel centres: the left and upper edges belong to it, the others do not, so the count is w x h."""
    points = np.array([(2, 3), (7, 3), (7, 5), (2, 5)], float)
    mask, lost = filled(points, (10, 12))
    expected = np.zeros((10, 12), bool)
    expected[3:5, 2:7] = True
    np.testing.assert_array_equal(mask, expected)
    assert lost == 0
    assert area(points) == 10


def test_columns_come_first():
    mask, _ = filled(np.array([(10, 1), (14, 1), (14, 2), (10, 2)], float), (3, 20))
    assert np.argwhere(mask).tolist() == [[1, 10], [1, 11], [1, 12], [1, 13]]


def test_closed_or_not_clockwise_or_not_is_the_same():
    points = np.array([(2.3, 3.1), (8.7, 2.2), (6.1, 9.9)])
    for other in (np.vstack([points, points[:1]]), points[::-1]):
        np.testing.assert_array_equal(filled(other, (12, 12))[0], filled(points, (12, 12))[0])
        assert area(other) == pytest.approx(area(points))


def test_what_lies_outside_is_cut_and_told():
    mask, lost = filled(np.array([(-4, 10), (16, 10), (16, 20), (-4, 20)], float), (96, 80))
    assert mask.sum() == 160
    assert lost == pytest.approx(0.2)
    mask, lost = filled(np.array([(90, 10), (99, 10), (99, 20)], float), (96, 80))
    assert not mask.any()
    assert lost == 1
    assert filled(np.array([(1e9, 0), (1e9 + 5, 0), (1e9, 5)]), (96, 80))[1] == 1  # at once


def slow(points, shape):
    """Even-odd rule pixel by pixel: cast a ray to the left."""
    mask = np.zeros(shape, bool)
    for r in range(shape[0]):
        for c in range(shape[1]):
            crossings = 0
            for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
                if (y0 <= r) != (y1 <= r):
                    crossings += x0 + (r - y0) * (x1 - x0) / (y1 - y0) <= c
            mask[r, c] = crossings % 2
    return mask


coordinates = st.floats(-5, 20, allow_nan=False).map(lambda x: round(x, 2))


@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8))
def test_any_polygon_against_the_slow_test(points):
    points = np.array(points)
    np.testing.assert_array_equal(filled(points, (14, 16))[0], slow(points, (14, 16)))


def test_a_circle_has_the_area_of_a_circle():
    turn = np.arange(200) * 2 * np.pi / 200
    points = np.stack([300 + 100 * np.cos(turn), 250 + 80 * np.sin(turn)], axis=1)
    assert filled(points, (500, 600))[0].sum() == pytest.approx(np.pi * 8000, rel=2e-3)
    assert area(points) == pytest.approx(np.pi * 8000, rel=2e-3)
