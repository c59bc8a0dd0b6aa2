"""A sample checks itself."""

import numpy as np
import pytest

from massmatch.data import Sample

IMAGE = np.zeros((4, 4), np.uint8)


def test_the_mask_is_where_any_instance_is():
    instances = np.array([[0, 1], [2, 0]], np.uint16)
    sample = Sample("x", "p", np.zeros((2, 2), np.uint16), instances)
    assert sample.mask.dtype == bool
    assert sample.mask.tolist() == [[False, True], [True, False]]


def test_a_sample_cannot_be_changed():
    with pytest.raises(AttributeError):
        Sample("x", "p", IMAGE, IMAGE).id = "y"


@pytest.mark.parametrize(
    ("image", "instances", "known", "message"),
    [
        (
            IMAGE,
            np.zeros((4, 5), np.uint8),
            {},
            r"x: image and instances must have one shape, not \(4, 4\) and \(4, 5\)",
        ),
        (IMAGE.astype(float), IMAGE, {}, r"x: image must be \(H, W\) of uint8 or uint16, but is \(4, 4\) of float64"),
        (IMAGE, IMAGE.astype(np.int64), {}, r"x: instances must be \(H, W\) of uint8 or uint16, but is .* of int64"),
        (np.zeros((4, 4, 3), np.uint8), IMAGE, {}, r"x: image must be \(H, W\) of uint8 or uint16, but is \(4, 4, 3\)"),
        (IMAGE[:0], IMAGE[:0], {}, r"x: image and instances must have pixels, but have the shape \(0, 4\)"),
        (IMAGE, IMAGE, {"density": 5}, r"x: density must be an ACR category from 1 to 4, but is 5"),
        (IMAGE, IMAGE, {"density": 0}, r"x: density must be an ACR category from 1 to 4, but is 0"),
    ],
)
def test_what_does_not_fit_is_named(image, instances, known, message):
    with pytest.raises(ValueError, match=message):
        Sample("x", "p", image, instances, **known)
