"""What is smaller than the least area is no finding, is counted, and is said; a number needs its unit."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bright import marked
from mammograms import write_dicom
from massmatch.cli.predicting import predict_all
from massmatch.data import DataError
from massmatch.data.dicom import Mammogram
from massmatch.errors import UsageError
from massmatch.inference.batch import predict
from massmatch.inference.findings import Prediction, described
from massmatch.inference.least_area import LeastArea
from massmatch.inference.picture import contour_picture


def prediction(least, spacing=(0.1, 0.2)):
    """Blocks of 30, 4 and 20 pixels; the small one lies in the bay of the first, beside it."""
    probability = np.full((20, 40), 0.2, np.float32)
    probability[2:8, 3:8] = 0.9
    probability[2:4, 10:12] = 0.8
    probability[12:14, 20:30] = 0.7
    image = Mammogram(np.zeros(probability.shape, np.uint8), spacing, "PixelSpacing", "L", None, "CC", "", "1.2", "1")
    return Prediction("a.dcm", image, probability, 0.5, None if least is None else LeastArea.parse(least))


@pytest.mark.parametrize(
    ("least", "areas"),
    [
        (None, [30, 4, 20]),
        ("4px", [30, 4, 20]),
        ("5px", [30, 20]),
        ("0.4mm2", [30, 20]),
        ("0.41 mm2", [30]),
        ("9mm2", []),
    ],
)
def test_findings_have_at_least_this_area(least, areas):
    found = prediction(least)
    assert [each.area_px for each in found.findings] == areas
    assert [each.number for each in found.findings] == list(range(1, len(areas) + 1))
    assert found.mask.sum() == sum(areas)
    assert found.left_out == 3 - len(areas)
    assert all(len(each.lines) == 1 for each in found.findings)
    told = described(found)
    assert (told["least_area"], told["left_out"]) == (None if least is None else least.replace(" ", ""), 3 - len(areas))


def test_nothing_left_out_has_a_contour():
    (finding, _) = prediction("5px").findings
    (line,) = finding.lines
    assert line[:, 1].max() < 9


def test_the_picture_says_what_was_left_out():
    assert contour_picture(prediction("5px")).height > contour_picture(prediction("4px")).height


@pytest.mark.parametrize("text", ["20", "20 cm2", "mm2", "-3px", "1e3px", "nanpx", "٣px", "", "0px", "0.0mm2"])
def test_an_area_needs_a_number_and_a_unit(text, tmp_path):
    with pytest.raises(UsageError, match="--least-area: must be an area with its unit"):
        LeastArea.parse(text)


def test_millimetres_need_a_spacing():
    with pytest.raises(DataError, match=r"^a\.dcm: has no spacing"):
        _ = prediction("1mm2", None).findings


def test_a_batch_says_it_per_image(weights, tmp_path, capsys):
    image, _ = marked("left")
    write_dicom(tmp_path / "a.dcm", image, ImagerPixelSpacing=[0.1, 0.1])
    Image.fromarray(image).save(tmp_path / "b.png")
    with pytest.raises(SystemExit):
        predict_all([tmp_path], tmp_path / "out", weights=[weights], least_area="1000mm2", device="cpu")
    index = pd.read_csv(tmp_path / "out/index.csv").set_index("source")
    assert index.loc["a.dcm", "findings"] == 0
    left_out = int(index.loc["a.dcm", "left_out"])
    assert left_out > 0
    assert "b.png: has no spacing" in index.loc["b.png", "error"]
    assert f"{left_out} left out" in capsys.readouterr().out
    (told,) = (tmp_path / "out").glob("*_findings.json")
    assert json.loads(told.read_text())["least_area"] == "1000mm2"


def test_a_device_that_does_not_work_is_named(weights, tmp_path):
    Image.fromarray(marked("left")[0]).save(tmp_path / "b.png")
    for name in ("cuda:99", "abacus", "hpu", "privateuseone", "meta", ["cpu"]):
        with pytest.raises(UsageError, match=f"--device: .* {re.escape(repr(name))} does not") as told:
            predict(tmp_path, tmp_path / "out", weights=weights, device=name)
        assert "\n" not in str(told.value)
