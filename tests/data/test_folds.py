"""Folds: laws that hold for every cohort."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massmatch.data import split
from massmatch.data.folds import strata


def cohort(patients, seed=0):
    """A table with 1 to 4 images per patient, a fifth of them without mass."""
    rng = np.random.default_rng(seed)
    rows = [(f"i{p}_{n}", f"p{p}") for p in range(patients) for n in range(rng.integers(1, 5))]
    table = pd.DataFrame(rows, columns=["id", "patient"])
    sizes = rng.lognormal(-6, 0.7, len(table)) * (rng.random(len(table)) > 0.2)
    return table, pd.Series(sizes, index=table["id"])


def patients(table, part):
    return set(table["patient"][table["id"].isin(part)])


def assert_whole(table, parts):
    """Every image in one part, no patient in two."""
    assert sorted(id for part in parts for id in part) == sorted(table["id"])
    train, validation, test = (patients(table, part) for part in parts)
    assert not train & validation
    assert not train & test
    assert not validation & test


schemes = st.sampled_from(["kfold", "paper", "split"])


@given(scheme=schemes, count=st.integers(20, 60), seed=st.integers(0, 1000), fold=st.integers(0, 4))
def test_every_image_is_in_one_part_and_no_patient_in_two(scheme, count, seed, fold):
    table, sizes = cohort(count, seed)
    assert_whole(table, split(table, sizes, scheme=scheme, fold=0 if scheme == "split" else fold, seed=seed))


@settings(max_examples=30)
@given(count=st.integers(5, 40), folds=st.integers(2, 5), seed=st.integers(0, 1000))
def test_kfold_tests_every_image_once(count, folds, seed):
    table, sizes = cohort(count, seed)
    tested = [id for fold in range(folds) for id in split(table, sizes, fold=fold, folds=folds, seed=seed).test]
    assert sorted(tested) == sorted(table["id"])


@settings(max_examples=30)
@given(scheme=schemes, seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(scheme, seed, order):
    table, sizes = cohort(30, seed)
    rows = list(range(len(table)))
    order.shuffle(rows)
    mixed = split(table.iloc[rows], sizes.iloc[rows[::-1]], scheme=scheme, seed=seed)
    assert mixed == split(table, sizes, scheme=scheme, seed=seed)


def test_another_seed_makes_other_folds():
    table, sizes = cohort(80)
    assert split(table, sizes, seed=1) != split(table, sizes)


@pytest.mark.parametrize(
    ("scheme", "shares"), [("kfold", (0.7, 0.1, 0.2)), ("paper", (0.8, 0.1, 0.1)), ("split", (0.8, 0.1, 0.1))]
)
def test_parts_have_the_size_they_should(scheme, shares):
    table, sizes = cohort(400)
    parts = split(table, sizes, scheme=scheme)
    for part, share in zip(parts, shares, strict=True):
        assert len(part) / len(table) == pytest.approx(share, abs=0.02)


def test_two_folds_leave_a_tenth_for_validation_too():
    table, sizes = cohort(400)
    parts = split(table, sizes, folds=2)
    assert [len(part) / len(table) for part in parts] == pytest.approx([0.4, 0.1, 0.5], abs=0.02)


@pytest.mark.parametrize("scheme", ["kfold", "paper", "split"])
def test_strata_are_spread_evenly(scheme):
    table, sizes = cohort(400)
    stratum = pd.Series(strata(table, sizes), index=table["id"])
    whole = stratum.value_counts(normalize=True)
    for part in split(table, sizes, scheme=scheme):
        share = stratum[part].value_counts(normalize=True)
        assert (share - whole).abs().max() < 0.05


def test_strata_are_quartiles_with_images_without_mass_apart():
    table = pd.DataFrame({"id": list("abcdefghij"), "patient": list("abcdefghij")})
    sizes = pd.Series([0, 0, 1, 2, 3, 4, 5, 6, 7, 8], index=table["id"])
    assert strata(table, sizes).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert strata(table, 0 * sizes).tolist() == [0] * 10


def test_a_small_cohort_keeps_a_patient_for_validation():
    table, sizes = cohort(6)
    for fold in range(5):
        parts = split(table, sizes, fold=fold)
        assert_whole(table, parts)
        assert len(patients(table, parts.validation)) >= 1


# --- official ----------------------------------------------------------------------------------------------------


def official(*limits):
    """Patients below the first limit are tested, below the second used for validation."""
    table, sizes = cohort(60)
    number = table["patient"].str[1:].astype(int)
    table["split"] = np.select([number < limit for limit in limits], ["Test", "validation"][: len(limits)], "train")
    return table, sizes


@pytest.mark.parametrize("column", ["split", "official_split"])
def test_official_parts_are_kept_and_a_tenth_of_the_patients_taken_for_validation(column):
    table, sizes = official(15)
    parts = split(table.rename(columns={"split": column}), sizes, scheme="official")
    assert_whole(table, parts)
    assert set(parts.test) == set(table["id"][table["split"] == "Test"])
    assert 3 <= len(patients(table, parts.validation)) <= 6


def test_an_official_validation_part_is_kept():
    table, sizes = official(15, 25)
    parts = split(table, sizes, scheme="official")
    assert_whole(table, parts)
    assert set(parts.validation) == set(table["id"][table["split"] == "validation"])


@pytest.mark.parametrize("value", ["val", "", None])
def test_images_of_no_official_part_are_not_dropped_in_silence(value):
    table, sizes = official(15)
    table.loc[0, "split"] = value
    with pytest.raises(
        ValueError, match=r"column `split` must be train, validation, test, but is .* for i0_0 \(1 in all\)"
    ):
        split(table, sizes, scheme="official")


@pytest.mark.parametrize(("one", "other"), [("train", "Test"), ("train", "validation"), ("validation", "Test")])
def test_an_official_column_must_not_divide_a_patient(one, other):
    table, sizes = official(15, 25)
    twice = table["patient"].value_counts().idxmax()
    ids = table.index[table["patient"] == twice]
    table.loc[ids, "split"] = one
    table.loc[ids[0], "split"] = other
    with pytest.raises(ValueError, match=f"puts 1 patients into {one.lower()} and {other.lower()}: .*{twice}"):
        split(table, sizes, scheme="official")


def test_an_official_column_without_test_images_is_refused():
    table, sizes = official(0)
    with pytest.raises(ValueError, match="the test part is empty"):
        split(table, sizes, scheme="official")


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "random"}, "scheme must be one of kfold, paper, split, official, but is 'random'"),
        ({"fold": 5}, "fold must be from 0 to 4 with scheme 'kfold', but is 5"),
        ({"fold": -1}, "fold must be from 0 to 4 with scheme 'kfold', but is -1"),
        ({"folds": 1}, "folds must be at least 2, but is 1"),
        ({"scheme": "split", "fold": 1}, "fold must be from 0 to 0 with scheme 'split', but is 1"),
        ({"scheme": "official"}, "needs a column `split`"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    table, sizes = cohort(30)
    with pytest.raises(ValueError, match=message):
        split(table, sizes, **options)


@pytest.mark.parametrize(
    ("scheme", "count", "message"),
    [
        ("kfold", 3, "folds: 5 parts need at least 5 patients, but there are 3"),
        ("split", 3, "a held-out fifth: 5 parts need at least 5 patients, but there are 3"),
        ("paper", 5, "validation and test from the held-out part: 2 parts need at least 2 patients, but there are 1"),
    ],
)
def test_too_few_patients_are_named(scheme, count, message):
    table, sizes = cohort(count)
    with pytest.raises(ValueError, match=message):
        split(table, sizes, scheme=scheme)


def test_images_that_come_twice_or_are_unknown_are_named():
    table, sizes = cohort(30)
    with pytest.raises(ValueError, match=r"an id must have one row, but i0_0 \(1 in all\) have several"):
        split(pd.concat([table, table[:1]]), sizes)
    with pytest.raises(ValueError, match=r"mass_fraction must have a number for every id, but has none for i0_0"):
        split(table, sizes[1:])
    with pytest.raises(ValueError, match=r"every image must have a patient, but i0_0 \(1 in all\) have none"):
        split(table.assign(patient=[None, *table["patient"][1:]]), sizes)
    with pytest.raises(ValueError, match=r"must have the columns `id` and `patient`, but lacks \['patient'\]"):
        split(table[["id"]], sizes)
