"""Components of variance against simulation, and which runs learned nothing."""

import numpy as np
import pandas as pd
import pytest

from made_up_runs import history_rows, image_rows, system_rows
from massmatch.statistics.spread import components, convergence, spread, unstable


def values(table):
    """By seed (rows) and fold (columns)."""
    index = pd.MultiIndex.from_product([range(len(table)), range(len(table[0]))], names=["seed", "fold"])
    return pd.Series(np.ravel(table).astype(float), index)


def test_components_by_hand():
    """Within: (0.5 + 0.5) / 2 = 0.5. Means 0.5 and 4.5: mean square 2 * 2 * 4 = 16; (16 - 0.5) / 2 = 7.75."""
    assert components(values([[0, 1], [4, 5]])) == pytest.approx((0.5, 7.75))


def test_components_are_those_that_were_drawn():
    """1000 seeds of 5 folds with standard deviations of 2 (seeds) and 3 (folds)."""
    rng = np.random.default_rng(0)
    within, between = components(values(rng.normal(0, 2, (1000, 1)) + rng.normal(0, 3, (1000, 5))))
    assert np.sqrt([within, between]) == pytest.approx([3, 2], rel=0.1)


def test_seeds_that_differ_by_less_than_their_folds_explain_have_no_component():
    assert components(values([[0, 1, 2], [0, 1, 2]])) == (1, 0)


def test_too_few_runs_have_no_component():
    assert np.isnan(components(values([[0.3]]))).all()
    assert components(values([[0, 1]])) == pytest.approx((0.5, np.nan), nan_ok=True)


@pytest.mark.parametrize("scheme", ["split", "official"])
def test_without_folds_the_spread_between_seeds_is_that_of_the_runs(scheme):
    rows = system_rows("a", seeds=3, folds=1)
    (line,) = spread(rows.assign(scheme=scheme)).to_dict("records")
    assert line["sd_seeds"] == pytest.approx(rows.groupby("seed")["dsc"].mean().std())
    assert line["sd_seeds"] == pytest.approx(line["sd"])
    assert np.isnan(line["sd_folds"])
    assert np.isnan(spread(rows)["sd_seeds"].item())  # of a cross-validation, one fold of each seed tells nothing
    assert np.isnan(spread(rows[rows["seed"] == 0].assign(scheme=scheme))["sd_seeds"].item())


def test_spread_tells_chance_of_patients_from_that_of_training():
    """The folds of one system differ by their patients alone, those of the other by their training too."""
    calm = system_rows("calm", seeds=3, folds=4, patients=200)
    shifts = np.random.default_rng(1).normal(0, 0.15, 12)
    wild = calm.assign(system="wild", dsc=calm["dsc"] + shifts[4 * calm["seed"] + calm["fold"]])
    table = spread(pd.concat([calm, wild])).set_index("system")
    assert table.loc["calm", ["runs", "seeds", "folds"]].tolist() == [12, 3, 4]
    assert table.loc["calm", "sd_patients"] == pytest.approx(calm["dsc"].std() / np.sqrt(50), rel=0.15)
    assert table.loc["wild", "sd_patients"] == pytest.approx(table.loc["calm", "sd_patients"])
    assert table.loc["wild", "sd_folds"] > 3 * table.loc["calm", "sd_folds"]
    assert table.loc["calm", "lowest"] <= table.loc["calm", "mean"] <= table.loc["calm", "highest"]


@pytest.mark.parametrize(
    ("scores", "state"),
    [
        ((0.1, 0.4), "learned"),
        ((0.0, 0.049), "none"),
        ((0.0, 0.05), "learned"),
        ((0.3, 0.01), "fell back"),
        ((np.nan, np.nan), "none"),
        ((0.3, np.nan), "fell back"),
    ],
)
def test_a_run_has_learned_if_it_ever_reached_five_percent(scores, state):
    rows = system_rows("a", folds=1)
    (found,) = convergence(history_rows(rows, scores)[["system", "seed", "fold", "epoch", "val_dsc_pooled"]], rows)[
        "state"
    ]
    assert found == state


def test_a_run_that_predicts_nothing_has_learned_nothing():
    head = {"system": "dice", "seed": 1, "fold": 2}
    rows = image_rows([0, 0, 0]).assign(**head)
    found = convergence(history_rows(rows), rows).iloc[0]
    assert (found["nothing"], found["state"], found["best"], found["best_epoch"]) == (1, "none", 0.4, 2)
    some = image_rows([0, 0, 0.5]).assign(**head)
    found = convergence(history_rows(some), some).iloc[0]
    assert (found["nothing"], found["state"]) == (pytest.approx(2 / 3), "learned")


def test_the_best_epoch_is_the_last_of_equals_whose_weights_are_kept():
    rows = system_rows("a", folds=1)
    assert convergence(history_rows(rows, (0.2, 0.4, 0.4, 0.3)), rows).iloc[0]["best_epoch"] == 3


def test_failures_are_counted_over_seeds_and_folds():
    dice, bce = system_rows("dice", seeds=2), system_rows("bce", seeds=2)
    curves = pd.concat([history_rows(dice.query("seed == 0"), (0, 0)), history_rows(dice.query("seed == 1"), (0.5, 0))])
    table = unstable(convergence(pd.concat([history_rows(bce), curves]), pd.concat([bce, dice])))
    assert table.to_dict("records") == [
        {"system": "dice", "none": 2, "fell back": 2, "runs": 4},
        {"system": "bce", "none": 0, "fell back": 0, "runs": 4},
    ]
