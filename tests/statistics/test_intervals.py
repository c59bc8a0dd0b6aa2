"""Intervals and tests: against theory, slow loops, scipy and numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from massmatch.metrics import summary
from massmatch.statistics.comparison import against, holm, pairwise, patient_differences, signed_rank, usual_baseline
from massmatch.statistics.intervals import by_run, estimate, over_trainings, paired_difference, patient_means


def rows(values, patients=None, **columns):
    """A run in which image n has the metric `dsc` of values[n]; counts that agree with it up to rounding."""
    values = np.asarray(values, float)
    ids = [f"i{n:04d}" for n in range(len(values))]
    facts = {"truth_empty": False, "prediction_empty": False, "missed": False, "masses": 1, "seed": 0, "fold": 0}
    tp = np.nan_to_num(values * 1000).round().astype(int)
    table = {"id": ids, "patient": ids if patients is None else patients, "dsc": values, "tp": tp, "fp": 1000 - tp}
    return pd.DataFrame({**table, "fn": 1000 - tp, "tn": 9000, **facts, **columns})


def cross_validated(seed_effects, noise=0.0, patients=30, folds=3, rng=None):
    """Seeds x folds in which every patient has two images and is tested once a seed."""
    rng = rng or np.random.default_rng(0)
    tables = []
    for seed, effect in enumerate(seed_effects):
        for fold in range(folds):
            who = np.repeat([f"p{n:03d}" for n in range(fold, patients, folds)], 2)
            table = rows(0.5 + effect + rng.normal(0, noise, len(who)), who, seed=seed, fold=fold)
            table["id"] = [f"{name}-{view}" for name, view in zip(who, "ab" * (len(who) // 2), strict=True)]
            tables.append(table.assign(train_images=2 * (patients - patients // folds)))
    return pd.concat(tables, ignore_index=True)


# Over patients


def test_a_constant_difference_is_certain():
    values = np.linspace(0, 0.9, 20)
    assert paired_difference(rows(values + 0.1), rows(values))[:3] == pytest.approx((0.1, 0.1, 0.1))


def test_one_image_per_patient_is_the_normal_interval():
    noise = np.random.default_rng(0).normal(0.05, 0.2, 400)
    found = paired_difference(rows(noise), rows(np.zeros(400)))
    half = 1.96 * noise.std() / np.sqrt(400)
    assert found.value == pytest.approx(noise.mean())
    assert found.low == pytest.approx(noise.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(noise.mean() + half, abs=0.1 * half)


def test_images_of_one_patient_go_together():
    """Four equal images per patient tell as much as one: the interval is that of 100, not of 400."""
    own = np.random.default_rng(1).normal(0, 0.2, 100)
    patients = np.repeat([f"p{n:03d}" for n in range(100)], 4)
    four, one = estimate(rows(np.repeat(own, 4), patients)), estimate(rows(own))
    assert four.high - four.low == pytest.approx(one.high - one.low, rel=0.05)
    assert (four.patients, four.images) == (100, 400)


def test_a_patient_in_two_seeds_is_one_patient():
    own = np.random.default_rng(1).normal(0, 0.2, 100)
    twice = estimate(pd.concat([rows(own), rows(own, seed=1)]))
    once = estimate(rows(own))
    assert twice[:4] == pytest.approx(once[:4])
    assert (twice.images, twice.runs) == (200, 2)


@pytest.fixture(scope="module")
def redrawn():
    """A table, and the means over its runs of every metric, of 150 tables of as many patients drawn from it."""
    rng = np.random.default_rng(3)
    table = cross_validated([0, 0.05], noise=0.2, rng=rng)
    table[["tp", "fp", "fn", "tn"]] = rng.integers(1, 500, (len(table), 4))
    by_patient = [own for _, own in table.groupby("patient")]

    def values(drawn):
        return pd.DataFrame([summary(run) for _, run in drawn.groupby(["seed", "fold"])]).mean(numeric_only=True)

    def drawn():
        return pd.concat([by_patient[n] for n in rng.integers(len(by_patient), size=len(by_patient))])

    return table, values(table), pd.DataFrame([values(drawn()) for _ in range(150)])


@pytest.mark.parametrize("metric", ["dsc", "dsc_pooled", "sen_pooled", "delta_a_pooled", "acc_pooled"])
def test_the_interval_is_that_of_a_slow_loop_over_drawn_patients(redrawn, metric):
    table, values, draws = redrawn
    found = estimate(table, metric)
    assert found.value == pytest.approx(values[metric])
    assert (found.high - found.low) / 3.92 == pytest.approx(np.std(draws[metric]), rel=0.25)
    assert (found.high + found.low) / 2 == pytest.approx(np.mean(draws[metric]), abs=0.5 * np.std(draws[metric]))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """200 studies of 40 patients with 1 to 3 images that resemble each other: 95 % of the intervals hold the mean."""
    rng, hits = np.random.default_rng(4), 0
    for _ in range(200):
        count = rng.integers(1, 4, 40)
        own = np.repeat(rng.normal(0.3, 0.2, 40), count) + rng.normal(0, 0.1, count.sum())
        found = estimate(rows(own, np.repeat(np.arange(40), count)), draws=400)
        hits += found.low <= 0.3 <= found.high
    assert 0.90 <= hits / 200 <= 0.98


def test_a_pooled_difference_draws_the_same_patients_for_both():
    """Two systems that differ by a hair on every image: their pooled difference is nearly certain, each is not."""
    rng = np.random.default_rng(5)
    one = rows(rng.random(80))
    found = paired_difference(one.assign(tp=one["tp"] + 1), one, "dsc_pooled")
    alone = estimate(one, "dsc_pooled")
    assert 0 < found.low <= found.value <= found.high
    assert found.high - found.low < 0.02 * (alone.high - alone.low)


def test_order_of_rows_does_not_matter_and_seeds_do_little():
    rng = np.random.default_rng(2)
    a, b = rows(rng.random(60)), rows(rng.random(60))
    straight = paired_difference(a, b)
    assert paired_difference(a, b.sample(frac=1, random_state=0)) == straight
    assert paired_difference(a, b, seed=1).low == pytest.approx(straight.low, abs=0.01)
    assert paired_difference(b, a).value == pytest.approx(-straight.value)


def test_one_patient_has_no_interval():
    found = estimate(rows([0.2, 0.4], ["p", "p"]))
    assert found.value == pytest.approx(0.3)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(over_trainings(rows([0.2, 0.4]))[1:3]).all()


def test_images_without_value_are_left_out_and_counted():
    found = estimate(rows([0.1, np.nan, 0.2]))
    assert (found.value, found.images, found.undefined) == (pytest.approx(0.15), 2, 1)
    nothing = estimate(rows([np.nan]))
    assert np.isnan(nothing.value)
    assert (nothing.images, nothing.undefined) == (0, 1)


def test_images_that_one_run_lacks_are_left_out_and_counted():
    a = rows([0.1, 0.2, 0.3, 0.4])
    found = paired_difference(a, a[1:].assign(dsc=[0.1, np.nan, 0.4]))
    assert found.value == pytest.approx(0.05)
    assert (found.images, found.unpaired, found.undefined) == (2, 1, 1)


def test_two_systems_without_a_common_image_have_no_difference():
    found = paired_difference(rows([0.1, 0.2]), rows([0.1, 0.2], fold=1))
    assert np.isnan(found.value)
    assert (found.images, found.unpaired) == (0, 4)


def test_the_same_image_twice_in_a_run_is_refused():
    with pytest.raises(ValueError, match="i0000 comes twice in a run"):
        estimate(pd.concat([rows([0.1]), rows([0.2])]))


def test_nothing_to_find_and_nothing_found_is_a_pooled_dsc_of_one():
    empty = rows([1.0, 1.0], tp=0, fp=0, fn=0)
    assert estimate(empty, "dsc_pooled").value == summary(empty)["dsc_pooled"] == 1
    assert np.isnan(estimate(empty, "sen_pooled").value)


def test_distances_on_hits_leave_misses_out_and_count_them():
    table = rows([0.5, 0.0, 0.5], hau_px=[4.0, 90.0, 8.0], missed=[False, True, False])
    found = estimate(table, "hau_px_hits")
    assert (found.value, found.undefined) == (6.0, 1)
    assert patient_means(table, "hau_px_hits").tolist() == [4.0, 8.0]


# Over trainings


def test_the_value_is_the_mean_over_runs():
    table = cross_validated([0, 0.1, 0.2])
    assert by_run(table).groupby("seed").mean().tolist() == pytest.approx([0.5, 0.6, 0.7])
    assert estimate(table).value == over_trainings(table).value == pytest.approx(0.6)


def test_the_interval_over_trainings_by_hand():
    """Five runs, a test part of a quarter of the training part: 2.776 * s * sqrt(1/5 + 1/4)."""
    values = [0.30, 0.34, 0.32, 0.38, 0.36]
    table = pd.concat([rows([value] * 10, fold=fold, train_images=40) for fold, value in enumerate(values)])
    found = over_trainings(table)
    assert found.value == pytest.approx(0.34)
    assert found.high - found.value == pytest.approx(2.7764 * 0.0316228 * np.sqrt(0.45), rel=1e-4)
    assert np.isnan(over_trainings(table.drop(columns="train_images")).low)


def test_images_without_mass_count_in_both_parts_of_the_interval_over_trainings():
    """A network that learned from 40 images with and without mass was tested on 10 such: the share is a quarter."""
    normal = [False] * 3 + [True] * 7
    facts = {"train_images": 40, "test_images": 10, "truth_empty": normal}
    table = pd.concat([rows([v] * 10, fold=fold, **facts) for fold, v in enumerate([0.30, 0.34, 0.32, 0.38, 0.36])])
    for found in (over_trainings(table), over_trainings(table, table.assign(dsc=0.0))):
        assert found.high - found.value == pytest.approx(2.7764 * 0.0316228 * np.sqrt(0.45), rel=1e-4)


def test_only_the_interval_over_trainings_knows_chance_in_the_training():
    """Every patient is worse by the same in one seed, better in the other: certain over patients, open over seeds."""
    base = cross_validated([0.0, 0.0])
    found = cross_validated([0.1, -0.08])
    assert paired_difference(found, base)[1:3] == pytest.approx((0.01, 0.01))
    low, high = over_trainings(found, base)[1:3]
    assert low < -0.08
    assert high > 0.1


# Tests


def test_the_signed_rank_test_is_scipys_and_patients_are_its_units():
    rng = np.random.default_rng(6)
    patients = np.repeat([f"p{n:02d}" for n in range(30)], 2)
    a, b = rng.random(60), rng.random(60)
    table = pd.concat([rows(a, patients, system="new"), rows(b, patients, system="old")])
    line = against(table, "old", draws=100).iloc[0]
    own = (a - b).reshape(30, 2).mean(axis=1)
    assert line["p"] == pytest.approx(stats.wilcoxon(own).pvalue)
    assert (line["better"], line["worse"], line["patients"]) == ((own > 0).sum(), (own < 0).sum(), 30)


def test_zeros_speak_for_no_difference():
    some = pd.Series([0.1, 0.2, 0.15, 0.3, 0.12, 0.05, 0.11])
    assert signed_rank(pd.concat([some, pd.Series([0.0] * 20)])) > signed_rank(some)
    assert signed_rank(pd.Series([0.0, 0.0])) == 1
    assert signed_rank(pd.Series([1e-17, -1e-17])) == 1
    assert np.isnan(signed_rank(pd.Series([np.nan])))


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling."""
    p = pd.Series([0.03, 0.01, np.nan, 0.04, 0.02])
    assert holm(p).tolist() == pytest.approx([0.06, 0.04, np.nan, 0.06, 0.06], nan_ok=True)
    assert holm(pd.Series([0.6, 0.7])).tolist() == [1, 1]


@pytest.mark.long
def test_without_a_difference_a_family_of_tests_rarely_finds_one():
    """1000 studies, 4 systems that are equal to the baseline, a third of the 30 patients missed by both."""
    rng, alarms = np.random.default_rng(7), 0
    for _ in range(1000):
        differences = rng.normal(0, 0.1, (4, 30)) * (rng.random((4, 30)) > 1 / 3)
        alarms += holm(pd.Series([signed_rank(pd.Series(own)) for own in differences])).min() < 0.05
    assert 0.02 < alarms / 1000 < 0.07


def test_the_family_is_every_row_with_a_test():
    table = pd.concat([rows(np.random.default_rng(n).random(25), system=f"s{n}") for n in range(4)])
    found = against(table, "s0", draws=100)
    assert found["tests"].tolist() == [3, 3, 3]
    assert found["p_holm"].tolist() == pytest.approx(holm(found["p"]).tolist())
    assert found["difference"].is_monotonic_decreasing
    pooled = against(table, "s0", "dsc_pooled", draws=100)
    assert pooled["p"].isna().all()
    assert pooled["tests"].tolist() == [0, 0, 0]


def test_less_is_better_for_distances():
    one = rows([0.5] * 6, hau_px=[1, 2, 3, 4, 5, 6.0], system="near")
    line = against(pd.concat([one, one.assign(hau_px=9.0, system="far")]), "far", "hau_px", draws=100).iloc[0]
    assert line["difference"] < 0
    assert (line["better"], line["worse"]) == (6, 0)


def test_a_baseline_must_be_there():
    with pytest.raises(ValueError, match="the baseline must be one of a, but is 'b'"):
        against(rows([0.1], system="a"), "b")


def test_pixels_added_up_have_no_mean_per_patient():
    with pytest.raises(ValueError, match="dsc_pooled adds up images"):
        patient_means(rows([0.1]), "dsc_pooled")


def test_the_usual_baseline_is_the_hybrid_loss_then_a_core():
    assert usual_baseline(["sm-bce-s-a", "bce", "hybrid"]) == "hybrid"
    assert usual_baseline(["sm-bce-s-a (aunet-w8)", "tversky (aunet-w8)"]) == "tversky (aunet-w8)"
    assert usual_baseline(["focal"]) == "focal"
    assert usual_baseline(["hybrid:dice_weight=0.9", "hybrid"]) == "hybrid"
    assert usual_baseline(["bce", "hybrid:dice_weight=0.9 (aunet-w8)"]) == "hybrid:dice_weight=0.9 (aunet-w8)"
    assert usual_baseline(["sm-bce-sd-a:cell_statistic=mean", "sm-bce-sd-a"]) == "sm-bce-sd-a"  # Figure 3a by itself


def test_a_run_of_which_no_patient_is_drawn_has_no_value():
    """Not a pooled DSC of 1, which is nothing found where nothing is."""
    table = pd.concat([rows([0.5] * 2, [f"p{fold}a", f"p{fold}b"], fold=fold) for fold in range(5)])
    for metric in ("dsc", "dsc_pooled", "sen_pooled"):
        found = estimate(table, metric, draws=300)
        assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_pairs_are_compared_each_with_its_own_and_make_one_family():
    own = {name: rows(np.random.default_rng(n).random(25), system=name) for n, name in enumerate("abcd")}
    found = pairwise(pd.concat(own.values()), [("a", "b"), ("c", "d")], draws=100).set_index("system")
    assert found["baseline"].to_dict() == {"a": "b", "c": "d"}
    for one, other in (("a", "b"), ("c", "d")):
        alone = against(pd.concat([own[one], own[other]]), other, draws=100).iloc[0]
        columns = ["difference", "low", "high", "p", "better"]
        assert found.loc[one, columns].tolist() == alone[columns].tolist()
    assert found["p_holm"].to_dict() == holm(found["p"]).to_dict()


@pytest.mark.parametrize("metric", ["dsc", "dsc_pooled"])
def test_a_line_of_the_table_is_what_its_parts_give_alone_in_any_order_of_the_rows(metric):
    base, new = (cross_validated([0.0, effect], noise=0.1).assign(train_images=40) for effect in (0.02, 0.05))
    new = new.drop(index=[3, 50])
    new.loc[[7, 8], "dsc"] = np.nan
    table = pd.concat([base.assign(system="base"), new.assign(system="new")])
    (line,) = against(table.sample(frac=1, random_state=0), "base", metric, draws=200).to_dict("records")
    over, trained = paired_difference(new, base, metric, draws=200), over_trainings(new, base, metric)
    assert (line["difference"], line["low"], line["high"]) == over[:3]
    assert (line["training_low"], line["training_high"]) == trained[1:3]
    assert line["unpaired"] == over.unpaired == trained.unpaired == 2
    if metric == "dsc":
        assert line["undefined"] == 2
        assert line["p"] == signed_rank(patient_differences(new, base))
