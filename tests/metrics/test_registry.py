"""The registry knows every metric that is measured, and its means are not raised by images without mass."""

import numpy as np
import pandas as pd
import pytest

from massmatch.metrics import image_metrics, lesion_counts, summary
from massmatch.metrics.registry import METRICS, metric
from massmatch.statistics.intervals import estimate, sense


def measured(predicted: bool, there: bool) -> dict[str, float]:
    prediction, truth = np.zeros((2, 8, 8), bool)
    prediction[2:5, 2:5], truth[2:5, 2:6] = predicted, there
    return image_metrics(prediction, truth, (0.5, 0.5)) | lesion_counts(prediction, truth.astype(int))


def rows(*images: tuple[bool, bool]) -> pd.DataFrame:
    table = pd.DataFrame([measured(*image) for image in images])
    return table.assign(id=[f"i{n}" for n in table.index], patient=[f"p{n}" for n in table.index])


def test_every_measured_column_is_registered():
    assert set(measured(True, True)) <= set(METRICS)


def test_every_mean_of_a_summary_is_registered():
    line = summary(rows((True, True), (False, False)))
    assert {key.removesuffix("_n") for key in line if key.endswith("_n") and key not in ("hits_n", "hits_mm_n")} <= set(
        METRICS
    )


def test_two_empty_masks_raise_no_mean_and_false_alarms_are_counted_beside_it():
    table = rows((True, True), (False, True), (False, False), (True, False))
    line, alone = summary(table), summary(table[:2])
    for key in ("dsc", "iou", "delta_a", "hau_px", "nsd_2mm"):
        assert line[key] == alone[key] == pytest.approx(estimate(table, key, draws=100).value)
    assert line["dsc"] == pytest.approx((18 / 21 + 0) / 2)
    assert line["false_alarms"] == estimate(table, "false_alarms", draws=100).value == 0.5


def test_predicting_nothing_without_any_mass_is_no_result():
    line = summary(rows((False, False), (False, False)))
    assert np.isnan(line["dsc"])
    assert line["false_alarms"] == 0


@pytest.mark.parametrize("key", ["false_positive", "false_alarms", "pieces_false", "fp", "missed", "hau_mm"])
def test_less_is_better_where_it_is(key):
    assert sense(key) == -1


def test_counts_are_not_percent():
    assert not metric("pieces_false").percent
    assert not metric("pieces_false_iou10").percent
    assert metric("missed").percent


def test_an_unknown_metric_is_refused_by_name():
    with pytest.raises(ValueError, match="dsk"):
        metric("dsk")
