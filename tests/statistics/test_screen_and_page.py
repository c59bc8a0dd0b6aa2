"""The screen and the page of a report show the same number for the same images, whatever the images are."""

import numpy as np
import pandas as pd
import pytest

from massmatch.metrics import image_metrics, summary
from massmatch.metrics.lesions import lesion_counts
from massmatch.reports.tables import COLUMNS, FALSE_ALARMS
from massmatch.statistics.intervals import estimate

HIT, MISS, NOTHING = (slice(2, 6), slice(2, 6)), (slice(12, 15), slice(9, 16)), (slice(0), slice(0))
ROWS = {  # of each image: where mass is, and where it is predicted
    "hits and a miss": [(HIT, HIT), (HIT, MISS), (MISS, (slice(11, 16), slice(9, 14))), (HIT, NOTHING)],
    "with normal images": [(HIT, HIT), (NOTHING, NOTHING), (NOTHING, MISS)],
    "normal images, nothing predicted": [(NOTHING, NOTHING)] * 2,
    "normal images, all with alarms": [(NOTHING, MISS), (NOTHING, HIT)],
    "nothing predicted": [(HIT, NOTHING), (MISS, NOTHING)],
    "one image": [(HIT, (slice(3, 7), slice(2, 6)))],
}


def masks(where):
    mask = np.zeros((16, 16), bool)
    mask[where] = True
    return mask


@pytest.mark.parametrize("kind", ROWS)
def test_screen_and_page_agree_number_by_number(kind):
    rows = pd.DataFrame(
        {
            "id": f"i{n}",
            "patient": f"p{n // 2}",
            **image_metrics(masks(predicted), masks(true)),
            **lesion_counts(masks(predicted), masks(true).astype(int)),
        }
        for n, (true, predicted) in enumerate(ROWS[kind])
    )
    screen = summary(rows)
    for column in (*COLUMNS, FALSE_ALARMS):
        page = estimate(rows, column.key, draws=10).value
        assert page == pytest.approx(screen[column.key], nan_ok=True), column.heading
