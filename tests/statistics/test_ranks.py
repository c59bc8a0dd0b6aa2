"""Ranks against scipy, critical values against the published table."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from made_up_runs import system_rows
from massmatch.statistics.ranks import critical_difference, joined, ranking

# Demsar, JMLR 7 (2006), Table 5 (a): two-tailed Nemenyi test at 0.05, by number of classifiers
NEMENYI = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}


@pytest.mark.parametrize("systems", NEMENYI)
def test_the_critical_difference_is_that_of_the_published_table(systems):
    expected = NEMENYI[systems] * np.sqrt(systems * (systems + 1) / (6 * 14))
    assert critical_difference(systems, 14) == pytest.approx(expected, abs=2e-3)


def test_the_example_of_the_published_paper():
    """Four classifiers on 14 data sets: CD = 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25 (Demsar 2006, section 3.2.2)."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_ranks_and_friedmans_test_are_scipys_on_patient_means():
    rows = pd.concat([system_rows(f"s{n}", n / 50, seeds=2, seed=n) for n in range(4)])
    found = ranking(rows)
    means = rows.groupby(["patient", "system"])["dsc"].mean().unstack()
    assert found.mean_ranks == pytest.approx(dict(means.rank(axis=1, ascending=False).mean()))
    assert list(found.mean_ranks) == ["s3", "s2", "s1", "s0"]
    assert found.p == pytest.approx(stats.friedmanchisquare(*means.to_numpy().T).pvalue)
    assert (found.patients, found.left_out) == (40, 0)


def test_less_is_better_for_distances():
    rows = pd.concat([system_rows("good", 0.2), system_rows("bad")])
    assert list(ranking(rows, "hau_px").mean_ranks) == ["good", "bad"]


def test_equal_systems_share_their_rank_and_no_test_finds_a_difference():
    rows = pd.concat([system_rows("a").assign(system=name) for name in "abc"])
    found = ranking(rows)
    assert set(found.mean_ranks.values()) == {2.0}
    assert found.p == 1
    assert found.groups == (("a", "b", "c"),)


def test_only_images_that_all_have_tested_count():
    rows = pd.concat([system_rows("a"), system_rows("b", 0.1), system_rows("c", 0.2).query("fold == 0")])
    found = ranking(rows)
    assert (found.patients, found.left_out) == (20, 40)


def test_an_undefined_value_leaves_the_image_out_for_all():
    rows = pd.concat([system_rows("a"), system_rows("b", 0.1)], ignore_index=True)
    rows.loc[3, "dsc"] = np.nan
    found = ranking(rows)
    assert (found.patients, found.left_out) == (39, 2)


def test_what_cannot_be_ranked():
    rows = system_rows("a")
    with pytest.raises(ValueError, match="at least two systems, but there is 1"):
        ranking(rows)
    with pytest.raises(ValueError, match="no patient was tested by all systems"):
        ranking(pd.concat([rows, rows.assign(system="b", seed=5)]))
    with pytest.raises(ValueError, match="dsc_pooled adds up images"):
        ranking(pd.concat([rows, rows.assign(system="b")]), "dsc_pooled")


def test_joined_groups_by_hand():
    ranks = {"a": 1.0, "b": 1.5, "c": 2.4, "d": 2.6, "e": 4.0}
    assert joined(ranks, 1.2) == (("a", "b"), ("b", "c", "d"))
    assert joined(ranks, 0.1) == ()
    assert joined(ranks, 3.0) == (("a", "b", "c", "d", "e"),)


@pytest.mark.parametrize("critical", [0.3, 0.7, 1.5])
def test_two_systems_are_joined_exactly_if_they_are_within_the_critical_difference(critical):
    rng = np.random.default_rng(0)
    for _ in range(50):
        ranks = {f"s{n}": rank for n, rank in enumerate(rng.uniform(1, 5, 6))}
        groups = joined(ranks, critical)
        for a, b in itertools.combinations(ranks, 2):
            assert any({a, b} <= set(group) for group in groups) == (abs(ranks[a] - ranks[b]) <= critical)
        assert not any(set(a) < set(b) for a in groups for b in groups)
