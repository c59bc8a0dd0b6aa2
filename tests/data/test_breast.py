"""Drawn breasts, muscles and film frames."""

import numpy as np
import pytest

from mammograms import mammogram
from massmatch.data.preprocessing.breast import breast, breast_window, chest_side, looks_inverted, pectoral


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_window_holds_the_breast_with_a_margin_and_little_more(side):
    image = mammogram(400, 320, side)
    top, left, rows, cols = breast_window(image)
    tissue = np.argwhere(image > 400)  # a tenth of the range: well above the air's noise
    low, high = tissue.min(axis=0), tissue.max(axis=0)
    assert (top, left) <= tuple(low)
    assert top + rows > high[0]
    assert left + cols > high[1]
    assert rows * cols < 1.5 * np.prod(high - low + 1)


def test_letters_and_film_frames_are_no_breast():
    image = mammogram(400, 320)
    image[:, -4:] = 4000  # a white frame at the outer edge
    image[20:40, 295:312] = 4000  # a label in the air
    clean, found = breast(mammogram(400, 320)), breast(image)
    assert (clean != found).mean() < 0.02
    _, left, _, cols = breast_window(image)
    assert left + cols < 290


@pytest.mark.parametrize("image", [np.zeros((100, 80), np.uint8), np.full((100, 80), 9, np.uint16)])
def test_no_breast_on_an_even_image(image):
    assert breast_window(image) is None


@pytest.mark.parametrize("shape", [(60, 40), (1000, 300), (300, 1000)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_chest_wall_is_found(shape, side):
    assert chest_side(mammogram(*shape, side)) == side


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_label_in_the_air_does_not_turn_the_chest_wall_round(side):
    image = mammogram(200, 150, "left")
    image[10:24, -26:-4] = 65535
    assert chest_side(image if side == "left" else image[:, ::-1]) == side


def test_inversion_is_seen():
    image = mammogram(200, 150)
    assert not looks_inverted(image)
    assert looks_inverted(image.max() - image)
    assert not looks_inverted(mammogram(200, 150, "right"))
    assert looks_inverted(image.max() - image[:, ::-1])


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_muscle_is_the_corner_above_its_edge(side):
    """Drawn with its edge from (0.4 rows, 0) to (0, 0.3 columns)."""
    image = mammogram(400, 300, side, muscle=True)
    found = pectoral(image)
    row, col = np.mgrid[:400, :300]
    true = row / 160 + col / 90 < 1
    true = true if side == "left" else true[:, ::-1]
    assert (found & true).sum() > 0.9 * (found | true).sum()
