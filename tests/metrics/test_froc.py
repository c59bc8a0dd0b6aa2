"""FROC curves computed by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massmatch.metrics import RATES, cpm, froc, lesion_candidates, sensitivity_at
from massmatch.metrics.froc import judged
from shapes import digits, square


def images(**masses):
    return pd.DataFrame({"id": list(masses), "masses": list(masses.values())})


def candidates(*rows):
    names = ["id", "score", "mass", "iou", "mass_at_centre"]
    return pd.DataFrame(list(rows), columns=names)


def points(curve, per="fp_per_image"):
    return list(zip(curve["sensitivity"], curve[per], strict=True))


def test_the_rates_of_the_cpm_double_from_an_eighth_to_eight():
    assert list(RATES) == [2.0**n for n in range(-3, 4)]


def test_row_29_a_perfect_single_detection_is_all_found_without_false_alarm():
    mass = square((5, 5)).astype(np.uint8)
    found = lesion_candidates(0.9 * mass.astype(np.float32), mass).assign(id="a")
    for hit in (0.1, 0.5, 1.0, "centre"):
        curve = froc(found, images(a=1), hit)
        assert points(curve) == [(0, 0), (1, 0)]
        assert sensitivity_at(curve, 0) == cpm(curve) == 1


def test_a_curve_by_hand():
    # four images, three masses, two images without mass
    found = candidates(
        ("a", 0.9, 1, 0.8, 1),  # finds
        ("n", 0.8, 0, 0.0, 0),  # false, on an image without mass
        ("a", 0.7, 1, 0.3, 1),  # second on a found mass: neither
        ("b", 0.6, 1, 0.1, 0),  # touches a mass that nothing has found: false
        ("b", 0.5, 2, 0.4, 2),  # finds
        ("m", 0.4, 0, 0.0, 0),  # false, on an image without mass
    )
    curve = froc(found, images(a=1, b=2, n=0, m=0))
    assert curve["threshold"].tolist() == [np.inf, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert curve["sensitivity"].tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert curve["fp_per_image"].tolist() == [0, 0, 1 / 4, 1 / 4, 2 / 4, 2 / 4, 3 / 4]
    assert curve["fp_per_normal"].tolist() == [0, 0, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1]
    assert sensitivity_at(curve, 0.49) == pytest.approx(1 / 3)
    assert sensitivity_at(curve, 0.5) == pytest.approx(2 / 3)
    assert cpm(curve) == pytest.approx((2 * 1 / 3 + 5 * 2 / 3) / 7)
    assert cpm(curve, "fp_per_normal") == pytest.approx((2 * 1 / 3 + 5 * 2 / 3) / 7)


def test_the_criterion_decides_what_a_hit_is():
    found = candidates(("a", 0.9, 1, 0.3, 0), ("a", 0.5, 0, 0.0, 2))  # the second: a ring round mass 2
    assert points(froc(found, images(a=2), 0.2)) == [(0, 0), (0.5, 0), (0.5, 1)]
    assert points(froc(found, images(a=2), 0.5)) == [(0, 0), (0, 1), (0, 2)]
    assert points(froc(found, images(a=2), "centre")) == [(0, 0), (0, 1), (0.5, 1)]


def test_where_nothing_is_said_an_iou_of_a_fifth_is_a_hit():
    found = candidates(("a", 0.9, 1, 0.2, 0), ("a", 0.8, 2, 0.19, 0))
    assert judged(found)["finds"].tolist() == [True, False]
    assert points(froc(found, images(a=2)))[-1] == (0.5, 1)


def test_what_touches_a_mass_is_false_only_until_the_mass_is_found():
    before, after = (
        candidates(("a", 0.9, 1, 0.05, 0), ("a", 0.8, 1, 0.6, 1)),
        candidates(("a", 0.9, 1, 0.6, 1), ("a", 0.8, 1, 0.05, 0)),
    )
    assert points(froc(before, images(a=1)))[-1] == (1, 1)
    assert points(froc(after, images(a=1)))[-1] == (1, 0)


def test_candidates_of_one_score_are_one_point_and_hits_come_first():
    found = candidates(("a", 0.5, 1, 0.05, 0), ("a", 0.5, 1, 0.6, 1), ("b", 0.5, 0, 0, 0))
    assert points(froc(found, images(a=1, b=0))) == [(0, 0), (1, 0.5)]


def test_without_masses_there_is_no_sensitivity_and_without_normals_no_rate_on_them():
    curve = froc(candidates(("n", 0.5, 0, 0.0, 0)), images(n=0))
    assert np.isnan(curve["sensitivity"]).all()
    assert curve["fp_per_normal"].tolist() == [0, 1]
    assert np.isnan(cpm(curve))
    only_masses = froc(candidates(("a", 0.5, 1, 0.5, 1)), images(a=1))
    assert np.isnan(only_masses["fp_per_normal"]).all()
    assert np.isnan(cpm(only_masses, "fp_per_normal"))
    assert cpm(only_masses) == 1


def test_a_network_that_proposes_nothing_finds_nothing():
    curve = froc(candidates(), images(a=1, n=0))
    assert points(curve) == [(0, 0)]
    assert cpm(curve) == 0


def test_images_are_checked():
    with pytest.raises(ValueError, match=r"every candidate's image must be among the images, but 'b' is not"):
        froc(candidates(("b", 0.5, 0, 0.0, 0)), images(a=1))
    with pytest.raises(ValueError, match=r"images must come once, but 'a' comes twice"):
        froc(candidates(), pd.concat([images(a=1), images(a=1)]))


def slow_point(found, of, threshold, least):
    """One point of the curve, candidate by candidate."""
    seen, finds, false = set(), 0, 0
    for row in sorted(found.to_dict("records"), key=lambda r: (-r["score"], -(r["mass"] > 0 and r["iou"] >= least))):
        if row["score"] < threshold:
            break
        mass = (row["id"], row["mass"])
        if row["mass"] > 0 and row["iou"] >= least:
            finds += mass not in seen
            seen.add(mass)
        elif mass not in seen:
            false += 1
    return finds / of["masses"].sum(), false / len(of)


@given(seed=st.integers(0, 10_000))
def test_curves_equal_the_slow_way_and_rise(seed):
    rng = np.random.default_rng(seed)
    n, of = int(rng.integers(0, 12)), images(a=1, b=3, c=0)
    mass = rng.integers(0, 4, n)
    ids = np.where(mass == 0, rng.choice(["a", "b", "c"], n), np.where(mass == 1, rng.choice(["a", "b"], n), "b"))
    found = candidates(*zip(ids, rng.integers(1, 6, n) / 5, mass, rng.random(n) * (mass > 0), mass, strict=True))
    curve = froc(found, of, 0.4)
    expected = [slow_point(found, of, threshold, 0.4) for threshold in curve["threshold"]]
    assert np.array(points(curve)) == pytest.approx(np.array(expected))
    assert curve[["sensitivity", "fp_per_image", "fp_per_normal"]].apply(lambda c: c.is_monotonic_increasing).all()
    pd.testing.assert_frame_equal(froc(found.sample(frac=1, random_state=seed), of, 0.4), curve)


def test_the_curve_goes_on_below_the_threshold_of_the_mask():
    faint = lesion_candidates(np.array([[0.0, 0.3, 0.0]]), digits("010")).assign(id="a")
    assert points(froc(faint, images(a=1))) == [(0, 0), (1, 0)]
