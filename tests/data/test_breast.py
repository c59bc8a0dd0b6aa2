"""Drawn breasts, muscles and film frames."""

import numpy as np
import pytest

from mammograms import GLARES, glaring, mammogram
from massmatch.data.preprocessing.breast import (
    breast,
    breast_range,
    breast_window,
    chest_side,
    looks_inverted,
    pectoral,
    share_of_greys,
    tissue_top,
)


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


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("top", "value"), [(4000, 65535), (4000, 16000), (170, 255)])
@pytest.mark.parametrize("where", GLARES)
def test_what_is_far_brighter_than_tissue_changes_neither_breast_nor_side_nor_range(where, top, value, side):
    """Tissue reaches 0.6 of `top`. 65535 in 12-bit images, and white in images of 8 bits."""
    clean = mammogram(300, 240, top=top).astype(np.uint8 if value == 255 else np.uint16)
    spoilt, _ = glaring(clean, where, value)
    if side == "right":
        clean, spoilt = clean[:, ::-1], spoilt[:, ::-1]
    assert tissue_top(spoilt) == clean.max()
    assert (breast(spoilt) != breast(clean)).mean() < 0.02
    assert chest_side(spoilt) == side
    assert breast_range(spoilt) == pytest.approx(breast_range(clean), abs=0.03 * top)


def test_a_small_breast_and_plain_images_keep_all_their_greys():
    """Nothing stands above a gap, or what does is too large for a label, or there is nothing but air below it."""
    small = np.zeros((200, 160), np.uint16)
    small[60:130, :40] = mammogram(70, 40)
    even, square = np.full((9, 9), 7, np.uint8), np.zeros((50, 50), np.uint8)
    square[5:12, 5:12] = 200
    implant = mammogram(200, 160)
    implant[50:150, :50] = 16000
    for image in (small, mammogram(200, 160), implant, even, square):
        assert tissue_top(image) == image.max()
    assert breast_window(small) is not None


@pytest.mark.parametrize("noise", [0, 3, 12, 40, 80])
@pytest.mark.parametrize("skin", [0, 1200, 2200])
def test_a_small_breast_above_noisy_air_is_no_label(noise, skin):
    """It stands above a gap, too, and covers little: it was made air, and its side was wrong."""
    small = mammogram(150, 60) / 2400
    image = np.zeros((400, 320))
    image[100:250, :60] = np.where(small > 0.05, skin + 1800 * small, 0)
    image += np.abs(np.random.default_rng(0).normal(0, noise, image.shape))
    image = image.astype(np.uint16)
    assert tissue_top(image) == image.max()
    assert chest_side(image) == "left"


def test_a_dead_pixel_far_below_the_air_leaves_the_tissue_few_greys():
    image = mammogram(300, 240) + 20000
    assert share_of_greys(image, image) > 0.9
    image[5, 200] = 0
    assert share_of_greys(image, image) < 0.2


def test_the_tissues_share_of_the_greys():
    clean = mammogram(300, 240)
    assert share_of_greys(clean, clean) > 0.9
    for where in GLARES:
        spoilt, _ = glaring(clean, where)
        assert share_of_greys(spoilt, spoilt) == pytest.approx(2400 / 65535, rel=0.03)
    assert share_of_greys(spoilt, clean) > 0.9  # as a network sees it, the only hot pixel is averaged away


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
