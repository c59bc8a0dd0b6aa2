"""Sizes and bits in the words of other writers' codestreams."""

import io

import numpy as np
import pytest
from PIL import Image

from massmatch.data.codestream import frame_of


def encoded(form, **options):
    file = io.BytesIO()
    Image.fromarray(np.zeros((48, 80), np.uint8)).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"a" * 300}])
def test_jpeg(options):
    assert frame_of(encoded("JPEG", **options)) == (48, 80, 8, False)


@pytest.mark.parametrize("no_jp2", [True, False])
def test_jpeg_2000_bare_and_in_its_box(no_jp2):
    assert frame_of(encoded("JPEG2000", no_jp2=no_jp2)) == (48, 80, 8, False)


@pytest.mark.parametrize("length", range(0, 60, 7))
def test_a_torn_stream_says_nothing_or_the_same(length):
    for form in ("JPEG", "JPEG2000", "PNG"):
        assert frame_of(encoded(form)[:length]) in (None, (48, 80, 8, False))
