"""The paper's numbers, checked against what the paper says of them, and why they are not comparable."""

import numpy as np
import pytest

from made_up_runs import image_rows, write_run
from massmatch.losses import LOSSES
from massmatch.models import MODELS
from massmatch.reports.paper.published import IMPROVEMENTS, METRICS, ODDITIES, incomparable, published
from massmatch.runs.collection import collect

TABLE = published()


def line(table, loss, model="aunet"):
    own = TABLE[(TABLE["table"] == table) & (TABLE["loss"] == loss) & (TABLE["model"] == model)]
    assert len(own) == 1
    return own.iloc[0]


def test_every_line_is_there_once_under_a_name_that_can_be_trained():
    assert TABLE.groupby("table").size().to_dict() == {1: 16, 2: 8, 3: 8}
    assert not TABLE.duplicated(["table", "model", "loss"]).any()
    assert set(TABLE["loss"]) <= set(LOSSES)
    assert set(TABLE["model"]) <= set(MODELS)


def test_the_improvements_in_the_text_are_those_of_the_table():
    """Section 4.1.2: DSC +11.92, ΔA -14.19, SEN +21.43, HAU -0.45, accuracy +0.32."""
    ours, base = line(2, "sm-tversky-s-a"), line(2, "hybrid")
    for metric in METRICS:
        points = (ours[metric] - base[metric]) * (1 if metric == "hau" else 100)
        assert points == pytest.approx(IMPROVEMENTS[metric], abs=1e-6)


def test_table_2_repeats_table_1_but_for_the_known_typo():
    for loss in ("sm-tversky-s-a", "sm-bce-sd-a"):
        one, two = line(1, loss), line(2, loss)
        different = {metric for metric in METRICS if one[metric] != two[metric]}
        assert different == ({"sen"} if loss == "sm-bce-sd-a" else set())
    assert (line(1, "sm-bce-sd-a")["sen"], line(2, "sm-bce-sd-a")["sen"]) == (0.7379, 0.7349)


def test_what_the_text_says_of_the_tables():
    """4.1.1: SD is best with BCE and G-A, S with Tversky and G-A is best of all; both are better with G-A."""
    variants = TABLE[TABLE["table"] == 1].set_index("loss")["dsc"]
    assert variants.idxmax() == "sm-tversky-s-a"
    assert variants.filter(like="sm-bce").idxmax() == "sm-bce-sd-a"
    best = TABLE[TABLE["table"] == 2].set_index("name")["dsc"]
    assert best.idxmax() == "SM-S(Tversky)"


def test_the_printed_area_differences_are_no_pixels_added_up_over_all_images():
    """Then ΔA = |P - G| / G would be |2 SEN / DSC - 2|; averages over folds or images are never below it."""
    beyond = TABLE["delta_a"] - (2 * TABLE["sen"] / TABLE["dsc"] - 2).abs()
    assert (beyond > 0.005).sum() == 29
    assert (beyond > -0.005).all()


@pytest.mark.parametrize(
    ("table", "loss", "printed"),
    [  # the corners of each table, read from the paper once more
        (1, "sm-bce-b-a", (72.12, 13.09, 70.88, 5.00, 98.69)),
        (1, "sm-bce-b-nz", (71.25, 16.21, 71.95, 5.08, 98.54)),
        (1, "sm-tversky-sd-a", (72.72, 5.80, 72.87, 4.97, 98.57)),
        (1, "sm-tversky-sd-nz", (70.36, 21.34, 69.46, 5.03, 98.55)),
        (2, "density-asp", (74.59, 10.91, 78.16, np.nan, 98.65)),
        (3, "sm-dice-b-a", (70.76, 7.76, 68.13, 5.08, 98.52)),
        (3, "sm-dice-sd-nz", (72.11, 9.08, 70.57, 4.98, 98.59)),
    ],
)
def test_numbers_stand_where_the_paper_has_them(table, loss, printed):
    found = [line(table, loss)[metric] * (1 if metric == "hau" else 100) for metric in METRICS]
    assert found == pytest.approx(printed, nan_ok=True)


def test_columns_add_up_to_sums_taken_from_the_page():
    """Checksums, so that no digit changes unseen: G-A and G-NZ of Table 1, Table 3, Table 2."""
    sums = TABLE.groupby("table")[list(METRICS)].sum()
    assert (100 * sums.loc[1, "dsc"]).round(2) == 1167.64
    assert (100 * sums.loc[3, "dsc"]).round(2) == 585.15
    assert (100 * sums.loc[2, "dsc"]).round(2) == 577.03


def test_every_area_difference_is_at_least_what_dsc_and_sen_imply():
    """Of pixels added up, P / G = 2 SEN / DSC - 1; a mean of |P - G| / G over folds is no smaller."""
    implied = (2 * TABLE["sen"] / TABLE["dsc"] - 2).abs()
    assert (TABLE["delta_a"] >= implied - 1e-4).all()


def test_the_accuracies_called_odd_are_the_five_above_99_percent():
    odd = next(text for text in ODDITIES if "accuracies" in text)
    high = TABLE[(TABLE["acc"] > 0.99) & (TABLE["table"] != 2)]
    assert len(high) == 5
    assert all(f"{100 * acc:.2f}" in odd for acc in high["acc"])


def test_a_cohort_of_others_at_another_size_is_called_so(tmp_path):
    write_run(tmp_path)
    unknown = "Other data, unless made-up is INbreast, which nothing here says: the paper tested on 107"
    assert unknown in " ".join(incomparable(collect(tmp_path).finished))
    reasons = " ".join(incomparable(collect(tmp_path).finished, reader="folder"))
    assert (
        "Other data: the paper tested on 107 images of INbreast, here it is made-up, 2 images of 2 patients." in reasons
    )
    assert "here it is 64 x 64." in reasons
    assert "(scheme kfold)" in reasons
    assert "width 8, where the published AU-Net has 64" in reasons


def test_what_lies_in_the_paper_is_said_of_its_own_data_too(tmp_path):
    rows = image_rows(np.linspace(0.1, 0.9, 107)).assign(rows=256, cols=256)
    write_run(tmp_path, rows=rows, width=64, cohort="inbreast")
    reasons = " ".join(incomparable(collect(tmp_path).finished, reader="inbreast"))
    assert "Other data" not in reasons
    assert "Other images" not in reasons
    assert "Another size" not in reasons
    assert "width" not in reasons
    for word in ("HAU is not defined", "pixels added up", "optimiser, epochs", "no interval and no test"):
        assert word in reasons
