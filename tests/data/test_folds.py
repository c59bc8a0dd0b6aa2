"""Folds: laws that hold for every cohort."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massmatch.data import split


def cohort(patients, seed=0):
    """A table with 1 to 4 images per patient, a fifth of them without mass."""
    rng = np.random.default_rng(seed)
    rows = [(f"i{p}_{n}", f"p{p}") for p in range(patients) for n in range(rng.integers(1, 5))]
    table = pd.DataFrame(rows, columns=["id", "patient"])
    sizes = rng.lognormal(-6, 0.7, len(table)) * (rng.random(len(table)) > 0.2)
    return table, pd.Series(sizes, index=table["id"])


schemes = st.sampled_from(["kfold", "paper", "split"])


@given(scheme=schemes, patients=st.integers(60, 90), seed=st.integers(0, 5), fold=st.integers(0, 4))
def test_every_image_is_in_one_part_and_no_patient_in_two(scheme, patients, seed, fold):
    table, sizes = cohort(patients, seed)
    parts = split(table, sizes, scheme=scheme, fold=0 if scheme == "split" else fold, seed=seed)
    assert sorted(id for part in parts for id in part) == sorted(table["id"])
    patient = dict(zip(table["id"], table["patient"], strict=True))
    of = [{patient[id] for id in part} for part in parts]
    assert not of[0] & of[1]
    assert not of[0] & of[2]
    assert not of[1] & of[2]


def test_kfold_tests_every_image_once():
    table, sizes = cohort(80)
    tested = [id for fold in range(5) for id in split(table, sizes, fold=fold).test]
    assert sorted(tested) == sorted(table["id"])


@pytest.mark.parametrize(
    ("scheme", "shares"), [("kfold", (0.7, 0.1, 0.2)), ("paper", (0.8, 0.1, 0.1)), ("split", (0.8, 0.1, 0.1))]
)
def test_parts_have_the_size_they_should(scheme, shares):
    table, sizes = cohort(400)
    parts = split(table, sizes, scheme=scheme)
    for part, share in zip(parts, shares, strict=True):
        assert len(part) / len(table) == pytest.approx(share, abs=0.02)


def test_mass_sizes_are_spread_evenly():
    table, sizes = cohort(400)
    for part in split(table, sizes):
        of = sizes[part]
        assert (of == 0).mean() == pytest.approx((sizes == 0).mean(), abs=0.05)
        assert of[of > 0].median() == pytest.approx(sizes[sizes > 0].median(), rel=0.2)


def test_the_order_of_rows_does_not_matter_but_the_seed_does():
    table, sizes = cohort(80)
    mixed = table.sample(frac=1, random_state=3)
    assert split(table, sizes) == split(mixed, sizes)
    assert split(table, sizes, seed=1) != split(table, sizes)


def test_official_parts_are_kept():
    table, sizes = cohort(60)
    table["split"] = np.where(table["patient"].str[1:].astype(int) < 15, "test", "train")
    parts = split(table, sizes, scheme="official")
    assert set(parts.test) == set(table["id"][table["split"] == "test"])
    assert len(parts.validation) > 0
    table.loc[table["patient"] == "p20", "split"] = ["test"] + ["train"] * ((table["patient"] == "p20").sum() - 1)
    if (table["patient"] == "p20").sum() > 1:
        with pytest.raises(ValueError, match="puts 1 patients into training and test"):
            split(table, sizes, scheme="official")


def test_wrong_arguments_are_named():
    table, sizes = cohort(30)
    with pytest.raises(ValueError, match="scheme must be one of kfold, paper, split, official, but is 'random'"):
        split(table, sizes, scheme="random")
    with pytest.raises(ValueError, match="fold must be from 0 to 4 with scheme 'kfold', but is 5"):
        split(table, sizes, fold=5)
    with pytest.raises(ValueError, match="fold must be from 0 to 0 with scheme 'split'"):
        split(table, sizes, scheme="split", fold=1)
    with pytest.raises(ValueError, match="needs a column `split`"):
        split(table, sizes, scheme="official")
    with pytest.raises(ValueError, match="5 parts need at least 5 patients, but there are 3"):
        split(table[table["patient"].isin(["p0", "p1", "p2"])], sizes)
