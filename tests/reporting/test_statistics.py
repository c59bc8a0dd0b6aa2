"""Intervals by patients: against the normal theory, and wider where patients have several images."""

import numpy as np
import pandas as pd
import pytest

from massmatch.reporting.statistics import paired_difference


def rows(values, patients=None):
    ids = [f"i{n}" for n in range(len(values))]
    return pd.DataFrame({"id": ids, "patient": ids if patients is None else patients, "dsc": values})


def test_a_constant_difference_is_certain():
    values = np.linspace(0, 1, 20)
    found = paired_difference(rows(values + 0.1), rows(values))
    assert found == pytest.approx((0.1, 0.1, 0.1))


def test_one_image_per_patient_is_the_normal_interval():
    rng = np.random.default_rng(0)
    noise = rng.normal(0.05, 0.2, 400)
    found = paired_difference(rows(noise), rows(np.zeros(400)))
    half = 1.96 * noise.std() / np.sqrt(400)
    assert found.mean == pytest.approx(noise.mean())
    assert found.low == pytest.approx(noise.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(noise.mean() + half, abs=0.1 * half)


def test_images_of_one_patient_go_together():
    """Four equal images per patient tell as much as one: the interval is that of 100, not of 400."""
    rng = np.random.default_rng(1)
    own = rng.normal(0, 0.2, 100)
    patients = np.repeat([f"p{n}" for n in range(100)], 4)
    four = paired_difference(rows(np.repeat(own, 4), patients), rows(np.zeros(400), patients))
    one = paired_difference(rows(own), rows(np.zeros(100)))
    assert four.high - four.low == pytest.approx(one.high - one.low, rel=0.1)


def test_order_of_rows_does_not_matter_and_seeds_do_little():
    rng = np.random.default_rng(2)
    a, b = rows(rng.random(60)), rows(rng.random(60))
    straight = paired_difference(a, b)
    assert paired_difference(a, b.sample(frac=1, random_state=0)) == straight
    assert paired_difference(a, b, seed=1).low == pytest.approx(straight.low, abs=0.01)
    assert paired_difference(b, a).mean == pytest.approx(-straight.mean)


def test_what_cannot_be_compared():
    a = rows([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="the same images, but share 2 of 3 and 2"):
        paired_difference(a, a[:2])
    with pytest.raises(ValueError, match="dsc is undefined for 1 images"):
        paired_difference(a, a.assign(dsc=[0.1, np.nan, 0.2]))
