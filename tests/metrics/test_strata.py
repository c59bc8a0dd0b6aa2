"""Kinds of images, on rows made by hand."""

import numpy as np
import pandas as pd
import pytest

from massmatch.metrics import by_density, by_size, by_stratum, by_view, image_metrics, size_edges
from shapes import EMPTY, square


def rows(sizes, **columns):
    table = pd.DataFrame({"mass_fraction": sizes, "truth_empty": [size == 0 for size in sizes]})
    return table.assign(**columns)


def test_quartiles_have_a_quarter_of_the_images_with_mass_each():
    table = rows([0, 0.08, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0])
    assert size_edges(table) == pytest.approx([0.0275, 0.045, 0.0625])
    labels = by_size(table)
    assert labels.value_counts(sort=False).to_dict() == {
        "up to 2.75 %": 2,
        "2.75 % to 4.5 %": 2,
        "4.5 % to 6.25 %": 2,
        "over 6.25 %": 2,
        "no mass": 2,
    }
    assert labels.tolist()[:3] == ["no mass", "over 6.25 %", "up to 2.75 %"]


def test_given_edges_belong_to_the_lower_stratum():
    labels = by_size(rows([0.01, 0.02, 0.03]), [0.02])
    assert labels.tolist() == ["up to 2 %", "up to 2 %", "over 2 %"]


def test_edges_must_rise():
    with pytest.raises(ValueError, match=r"edges must rise, but are \[0.02, 0.02\]"):
        by_size(rows([0.01]), [0.02, 0.02])


def test_images_of_one_size_are_one_stratum_and_none_is_lost():
    assert by_size(rows([0.01, 0.01, 0])).tolist() == ["up to 1 %", "up to 1 %", "no mass"]
    assert by_size(rows([0.0, 0.0])).tolist() == ["no mass", "no mass"]


def test_density_and_view_name_what_is_unknown_and_set_images_without_mass_apart():
    table = rows([0.1, 0.1, 0.1, 0], density=[4.0, 1.0, None, 2.0], view=["MLO", None, "CC", "CC"])
    density, view = by_density(table), by_view(table)
    assert density.tolist() == ["ACR 4", "ACR 1", "unknown", "no mass"]
    assert list(density.cat.categories) == ["ACR 1", "ACR 4", "unknown", "no mass"]
    assert view.tolist() == ["MLO", "unknown", "CC", "no mass"]
    assert list(view.cat.categories) == ["CC", "MLO", "unknown", "no mass"]


def test_every_stratum_has_its_own_summary():
    pairs = [(square((5, 5)), square((5, 5)), "CC"), (EMPTY, square((5, 5)), "MLO"), (square((5, 5)), EMPTY, "CC")]
    table = pd.DataFrame([{**image_metrics(p, y), "view": view} for p, y, view in pairs])
    table.index = [7, 3, 9]
    lines = by_stratum(table, by_view(table))
    assert lines["dsc"].drop("no mass").to_dict() == {"CC": 1, "MLO": 0}
    assert np.isnan(lines.loc["no mass", "dsc"])
    assert lines.loc["no mass", "false_alarms"] == 1
    assert lines["missed"].to_dict() == {"CC": 0, "MLO": 1, "no mass": 0}
    assert lines.loc["no mass", "fp_area_px"] == 100
    assert lines["n"].sum() == 3


def test_quartiles_that_are_alike_in_three_digits_have_names_of_their_own():
    labels = by_size(rows([0.1, 0.1 + 1e-6, 0.1 + 2e-6, 0.1 + 3e-6]))
    assert labels.value_counts(sort=False).tolist() == [1, 1, 1, 1]
