"""The file for 3D Slicer, read as the NRRD standard says."""

import gzip

import numpy as np
import pytest

from massmatch.data.dicom import Mammogram
from massmatch.inference.findings import Prediction
from massmatch.inference.nrrd import seg_nrrd


def prediction(spacing, count=2):
    probability = np.zeros((60, 90), np.float32)
    for number in range(count):
        probability[3 * (number // 30) + 1, 3 * (number % 30) + 1] = 0.9
    image = Mammogram(np.zeros(probability.shape, np.uint8), spacing, "x", "L", None, "CC", "", "1", "1")
    return Prediction("a", image, probability, 0.5)


def parsed(data):
    """The fields of the header, the key-value pairs, and the pixels, the fastest axis last."""
    header, body = data.split(b"\n\n", 1)
    magic, *lines = header.decode("ascii").split("\n")
    assert magic == "NRRD0004"
    pairs = dict(line.split(":=", 1) for line in lines if ":=" in line)
    fields = dict(line.split(": ", 1) for line in lines if ":=" not in line)
    kind = {"unsigned char": "u1", "unsigned short": "<u2"}[fields["type"]]
    sizes = [int(size) for size in fields["sizes"].split()]
    return fields, pairs, np.frombuffer(gzip.decompress(body), kind).reshape(sizes[::-1])


@pytest.mark.parametrize("count", [0, 2, 300])
def test_it_holds_the_labels_with_their_size(count):
    found = prediction((0.1, 0.2), count)
    fields, pairs, pixels = parsed(seg_nrrd(found))
    np.testing.assert_array_equal(pixels, found.labels[None])
    assert fields["space"] == "left-posterior-superior"
    assert fields["space directions"] == "(0.2,0,0) (0,0.1,0) (0,0,1)"
    assert sum(name.endswith("_Name") for name in pairs) == count


def test_segments_are_named_and_know_their_extent():
    fields, pairs, _ = parsed(seg_nrrd(prediction(None)))
    assert pairs["Segment1_Name"] == "mass 2"
    assert pairs["Segment1_LabelValue"] == "2"
    assert pairs["Segment1_Extent"] == "4 4 1 1 0 0"  # columns, rows, slices
    assert fields["space directions"] == "(1,0,0) (0,1,0) (0,0,1)"
