"""Findings and their contours, against numbers worked out by hand."""

import json

import numpy as np

from bright import Bright, facts, marked, predicted
from mammograms import write_dicom
from massmatch.data.dicom import Mammogram
from massmatch.inference.findings import Prediction, described, longest_axis


def prediction(probability, spacing=None):
    """On an image that is even, so that no breast is found."""
    image = Mammogram(np.zeros(probability.shape, np.uint8), spacing, "PixelSpacing", "L", None, "CC", "", "1.2", "1")
    return Prediction("a", image, probability, 0.5)


def two_blocks():
    probability = np.zeros((20, 30), np.float32)
    probability[2:7, 3:9] = 0.9
    probability[10:12, 20:30] = 0.8  # to the border
    return probability


def test_a_finding_has_the_numbers_of_its_pixels():
    first, second = prediction(two_blocks(), (0.1, 0.2)).findings
    row = first.row()
    assert (row["area_px"], row["area_mm2"]) == (30, 0.6)
    assert [row[f"box_{side}"] for side in ("row", "col", "rows", "cols")] == [2, 3, 5, 6]
    assert (row["centroid_row"], row["centroid_col"]) == (4, 5.5)
    assert (row["longest_axis_mm"], row["longest_axis_px"]) == (1.3, 7.81)  # 5 x 0.1 by 6 x 0.2 mm; 5 by 6 pixels
    assert (row["mean_probability"], second.row()["highest_probability"]) == (0.9, 0.8)
    assert row["inside_breast"] is None


def test_contours_enclose_the_masses():
    told = described(prediction(two_blocks(), (0.1, 0.2)))
    assert (told["rows"], told["columns"], told["side"], told["view"]) == (20, 30, "L", "CC")
    for mass, (low, high) in zip(told["findings"], (((2, 3), (6, 8)), ((10, 20), (11, 29))), strict=True):
        (line,) = mass["contours"]
        assert line[0] == line[-1]
        points = np.array(line)
        assert ((np.array(low) - 1 <= points.min(axis=0)) & (points.min(axis=0) < low)).all()
        assert ((np.array(high) < points.max(axis=0)) & (points.max(axis=0) <= np.array(high) + 1)).all()
    json.dumps(told)


def test_a_contour_follows_the_probability():
    """Between 0.9 and 0.1 the level 0.5 is half-way, between 0.9 and 0.4 four fifths of the way."""
    probability = np.full((9, 9), 0.1, np.float32)
    probability[3:6, 3:6] = 0.9
    probability[3:6, 6] = 0.4
    (finding,) = prediction(probability).findings
    (line,) = finding.lines
    assert sorted(col for row, col in line.tolist() if row == 4) == [2.5, 5.8]


def test_the_longest_axis_is_that_of_all_pairs_of_corners():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((7, 9)) < 0.3
        mask[3, 4] = True
        corners = np.array([(r + i, c + j) for r, c in np.argwhere(mask) for i in (-0.5, 0.5) for j in (-0.5, 0.5)])
        between = (corners[:, None] - corners) * (0.3, 0.1)
        ends, pixels, length = longest_axis(mask, (0.3, 0.1))
        assert np.isclose(length, np.hypot(between[..., 0], between[..., 1]).max())
        assert np.isclose(pixels, np.hypot(*(ends[0] - ends[1])))
        assert np.isclose(length, np.hypot(*((ends[0] - ends[1]) * (0.3, 0.1))))


def test_touching_masses_are_one_finding_and_nothing_is_none():
    corners = np.zeros((8, 8), np.float32)
    corners[1:3, 1:3] = corners[3:5, 3:5] = 1
    assert [each.area_px for each in prediction(corners).findings] == [8]
    assert prediction(np.zeros((8, 8), np.float32)).findings == []


def test_a_label_in_the_air_is_a_finding_outside_the_breast(tmp_path):
    image, truth = marked("left")
    image[5:15, 100:115] = 4000  # as bright as the mass
    found = predicted(write_dicom(tmp_path / "a.dcm", image), Bright(), facts(size="native"))
    assert {each.area_px: each.inside_breast for each in found.findings} == {150: False, int(truth.sum()): True}
