"""Areas are kept: by exact fractions, for every size; no mass vanishes."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massmatch.data.preprocessing.resize import area_weights, linear_weights, resized, resized_labels

sides = st.integers(1, 40)


@given(sides, sides)
def test_area_weights_are_the_overlaps_of_the_pixels(source, target):
    found = area_weights(source, target).toarray()
    for i in range(target):
        low, high = Fraction(i * source, target), Fraction((i + 1) * source, target)
        for j in range(source):
            overlap = max(Fraction(0), min(high, Fraction(j + 1)) - max(low, Fraction(j)))
            assert found[i, j] == pytest.approx(float(overlap / (high - low)), abs=1e-6)


@given(sides, sides)
def test_linear_weights_keep_even_images_and_ramps(source, target):
    weights = linear_weights(source, target).toarray()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    np.testing.assert_allclose(weights @ np.arange(source), np.clip(centres, 0, source - 1), atol=1e-4)


@given(sides, sides, sides, sides, st.integers(0, 100))
def test_the_mean_grey_is_kept_where_an_image_shrinks(rows, cols, down, across, seed):
    image = np.random.default_rng(seed).integers(0, 65536, (rows, cols)).astype(np.uint16)
    small = resized(image, (min(rows, down), min(cols, across)))
    assert small.mean() == pytest.approx(image.mean(), rel=1e-4, abs=1e-3)


def test_a_third_of_a_pixel_counts_as_a_third():
    np.testing.assert_allclose(resized(np.array([[0, 30, 90]], np.uint8), (1, 2)), [[10, 70]], rtol=1e-6)


def test_nothing_is_changed_where_the_size_fits():
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    np.testing.assert_array_equal(resized(image, (3, 4)), image)
    labels, vanished = resized_labels(image.astype(np.uint8), (3, 4))
    np.testing.assert_array_equal(labels, image)
    assert vanished == []


def test_a_pixel_is_mass_where_half_of_it_is():
    labels = np.array([[1, 1, 0, 0, 0, 2, 2, 2]], np.uint8)
    found, vanished = resized_labels(labels, (1, 4))
    assert found.tolist() == [[1, 0, 2, 2]]
    assert vanished == []


def test_touching_masses_cover_a_pixel_together():
    """Of four native pixels one is of each mass: each covers a quarter, together half."""
    found, vanished = resized_labels(np.array([[1, 1, 1, 1, 1, 2, 0, 0, 2, 2, 2, 2]], np.uint8), (1, 3))
    assert found.tolist() == [[1, 1, 2]]
    assert vanished == []


def test_a_mass_too_small_keeps_the_pixel_that_it_covers_most():
    labels = np.zeros((40, 40), np.uint8)
    labels[5, 18:22] = 1  # across the border between the first and the second pixel of twenty columns
    labels[5, 22] = 1
    labels[39, 39] = 7
    found, vanished = resized_labels(labels, (2, 2))
    assert vanished == [1, 7]
    assert found.tolist() == [[0, 1], [0, 7]]


def test_enlarged_masses_keep_their_place():
    found, _ = resized_labels(np.array([[0, 3], [0, 0]], np.uint8), (4, 6))
    assert found.tolist() == [[0, 0, 0, 3, 3, 3]] * 2 + [[0] * 6] * 2
