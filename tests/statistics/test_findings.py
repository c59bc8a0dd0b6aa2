"""What is said is what was found, and no more."""

import numpy as np
import pandas as pd
import pytest

from made_up_runs import history_rows, image_rows, system_rows
from massmatch.metrics.registry import metric
from massmatch.statistics.findings import findings


def said(*systems, metric="dsc", baseline="base", histories=None):
    rows = pd.concat(systems, ignore_index=True)
    curves = history_rows(rows) if histories is None else histories
    return findings(rows, curves, baseline, metric, draws=500)


def about(found, system):
    (only,) = [each for each in found if each.system == system and each.verdict != "note"]
    return only


def notes(found):
    return " ".join(each.text for each in found if each.verdict == "note")


def test_a_difference_that_holds_over_patients_and_seeds_is_supported():
    base = system_rows("base", seeds=3)
    found = about(said(base, system_rows("new", 0.1, seeds=3, seed=1)), "new")
    assert found.verdict == "supported"
    assert found.text.startswith(
        "new is better than base, for other patients and other trainings like these: mean DSC +"
    )
    assert "40 patients, 3 seeds, 2 folds." in found.text
    assert "Wilcoxon p < 0.001 (one comparison" in found.text


def test_with_one_seed_it_is_said_of_these_networks_only():
    found = said(system_rows("base"), system_rows("new", -0.1, seed=1))
    assert about(found, "new").verdict == "these networks"
    assert about(found, "new").text.startswith("new as trained here (one seed) is worse than base: mean DSC −")
    assert "There is one seed" in notes(found)
    assert "chance in the training is unknown" in notes(found)


def test_seeds_that_disagree_are_chance_in_the_training():
    """+30 points in one seed, -20 in the other: most patients gain, and nobody knows what a third seed would do."""
    base = system_rows("base", seeds=2, noise=0.01)
    new = base.assign(system="new", dsc=base["dsc"] + np.where(base["seed"] == 0, 0.3, -0.2))
    found = said(base, new)
    assert about(found, "new").verdict == "these networks"
    assert "(chance in the training may explain it)" in about(found, "new").text
    assert "There is one seed" not in notes(found)


def test_no_difference_is_not_called_equality():
    found = about(said(system_rows("base"), system_rows("new", seed=1)), "new")
    assert found.verdict == "not supported"
    assert "which does not show that they are equal" in found.text


def test_a_few_large_gains_against_many_small_losses_support_nothing():
    base = system_rows("base", noise=0)
    change = np.where(np.arange(len(base)) % 5 == 0, 0.3, -0.01)
    found = about(said(base, base.assign(system="new", dsc=base["dsc"] + change)), "new")
    assert found.verdict == "not supported"
    assert "mean DSC +5.2 points" in found.text
    assert "most patients point the other way than the mean" in found.text or "test does not confirm" in found.text


def test_pixels_added_up_have_no_test_and_are_never_supported():
    found = about(said(system_rows("base", seeds=2), system_rows("new", 0.2, seeds=2), metric="dsc_pooled"), "new")
    assert found.verdict == "not supported"
    assert "no test, since the metric has no mean per patient" in found.text


def test_for_distances_less_is_better_and_the_unit_is_pixels():
    found = about(said(system_rows("base"), system_rows("new", 0.1, seed=1), metric="hau_px"), "new")
    assert found.text.startswith("new as trained here (one seed) is better than base: mean HAU px −")
    assert "points" not in found.text


def test_the_strongest_finding_stands_first():
    found = said(system_rows("base"), system_rows("same", seed=1), system_rows("worse", -0.2, seed=2))
    assert [each.system for each in found if each.verdict != "note"] == ["worse", "same"]


def test_what_is_missing_is_said():
    new = system_rows("new", seed=1).query("fold == 0").copy()
    new.loc[new.index[:2], "sen"] = np.nan
    found = said(system_rows("base"), new, metric="sen")
    assert "Images that only one of the two has are left out, counted once per run: new (20)." in notes(found)
    assert (
        "Images without mass, or for which the metric is undefined, are left out, counted once per run: new (2)."
        in notes(found)
    )


def test_few_patients_are_said():
    found = said(system_rows("base", folds=1, patients=8), system_rows("new", folds=1, patients=8, seed=1))
    assert "With 8 patients with mass, the intervals are too narrow." in notes(found)


def test_patients_without_mass_do_not_count_as_patients_of_the_intervals():
    rows = [system_rows(name, patients=50, seed=seed) for seed, name in enumerate(("base", "new"))]
    few = sorted(rows[0]["patient"].unique())[:10]
    rows = [each.assign(truth_empty=~each["patient"].isin(few)) for each in rows]
    assert "With 10 patients with mass, the intervals are too narrow." in notes(said(*rows))


def test_systems_without_a_common_image_get_no_verdict():
    found = about(said(system_rows("base"), system_rows("new").assign(seed=7)), "new")
    assert (found.verdict, found.text) == ("not supported", "new and base have no test image in common.")


def test_a_single_patient_supports_nothing():
    head = {"seed": 0, "fold": 0, "scheme": "kfold", "train_images": 9}
    one = image_rows([0.3, 0.4], ["p", "p"]).assign(system="base", **head)
    found = about(said(one, one.assign(system="new", dsc=one["dsc"] + 0.1)), "new")
    assert found.verdict == "not supported"
    assert "no interval: a single patient" in found.text


def test_runs_that_learned_nothing_are_named():
    base, new = system_rows("base"), system_rows("new", seed=1)
    curves = pd.concat([history_rows(base, (0.4, 0.0)), history_rows(new, (0.0, 0.01))])
    found = notes(said(base, new, histories=curves))
    assert "new learned nothing in 2 of 2 runs" in found
    assert "base lost in 2 of 2 runs by the last epoch what it had learned" in found


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("dsc", "DSC"),
        ("dsc_pooled", "DSC pooled"),
        ("delta_a_pooled", "ΔA pooled"),
        ("hau95_px_hits", "HAU95 px, hits"),
    ],
)
def test_metrics_have_the_papers_names(key, name):
    assert metric(key).heading == name
