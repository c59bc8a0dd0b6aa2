"""The intervals of a FROC: equal to curves of cohorts in which drawn patients stand as often as they were drawn."""

import numpy as np
import pandas as pd
import pytest

from massmatch.metrics import RATES, cpm, froc, sensitivity_at
from massmatch.statistics.froc import sensitivities, with_limits
from massmatch.statistics.intervals import patient_weights

PER = ("fp_per_image", "fp_per_normal")


def drawn(seed, patients=7):
    """Images of some patients, and candidates with few different scores."""
    rng = np.random.default_rng(seed)
    rows = [(f"i{n}", f"p{rng.integers(patients)}", int(rng.integers(3))) for n in range(20)]
    images = pd.DataFrame(rows, columns=["id", "patient", "masses"])
    found = images.iloc[rng.integers(len(images), size=60)].reset_index(drop=True)
    mass = (rng.random(60) * (found["masses"] + 1)).astype(int)
    iou = np.where(mass > 0, rng.random(60), 0.0)
    score = rng.integers(1, 9, 60) / 8
    pieces = pd.DataFrame({"id": found["id"], "score": score, "mass": mass, "iou": iou, "mass_at_centre": mass})
    return pieces, images


def copied(table, images, weight):
    """A patient drawn twice is two patients."""
    times = dict(zip(sorted(images["patient"].unique()), weight, strict=True))
    of = dict(zip(images["id"], images["patient"], strict=True))
    parts = [
        table[table["id"].map(of).map(times) > n].assign(id=lambda t, n=n: t["id"] + f"/{n}")
        for n in range(int(max(weight)))
    ]
    return pd.concat(parts)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("per", PER)
def test_a_draw_is_the_curve_of_a_cohort_of_copies(seed, per):
    pieces, images = drawn(seed)
    weights = patient_weights(images["patient"].nunique(), 25, seed).astype(float)
    found = sensitivities(pieces, images, weights, per)
    for line, weight in zip(found, weights, strict=True):
        curve = froc(copied(pieces, images, weight), copied(images, images, weight))
        assert line == pytest.approx([sensitivity_at(curve, rate, per) for rate in RATES], nan_ok=True)


@pytest.mark.parametrize("per", PER)
def test_the_values_are_those_of_the_curve_and_lie_within(per):
    pieces, images = drawn(1)
    found, curve = with_limits(pieces, images, per, draws=200), froc(pieces, images)
    assert found.loc["cpm", "value"] == pytest.approx(cpm(curve, per))
    assert [found.loc[rate, "value"] for rate in RATES] == pytest.approx([sensitivity_at(curve, r, per) for r in RATES])
    assert (found["low"] <= found["value"]).all()
    assert (found["value"] <= found["high"]).all()
    assert found.loc["cpm", "low"] < found.loc["cpm", "high"]


def test_one_patient_or_no_candidate_or_no_normal_image():
    pieces, images = drawn(2)
    assert with_limits(pieces, images.assign(patient="p"))[["low", "high"]].isna().all(axis=None)
    assert (with_limits(pieces.iloc[:0], images)[["value", "low", "high"]] == 0).all(axis=None)
    massive = images.assign(masses=images["masses"] + 1)
    assert with_limits(pieces, massive, "fp_per_normal").isna().all(axis=None)
