"""The rows of finished runs come together in one table, each run once, whatever was trained where and when."""

import gzip
import json
import runpy
from pathlib import Path

import pandas as pd
import pytest

from made_up_runs import write_run

main = runpy.run_path(str(Path(__file__).parents[2] / "docs/collect.py"))["main"]


@pytest.fixture
def into(tmp_path):
    return tmp_path / "table.csv.gz"


@pytest.fixture
def collected(into, capsys):
    """Adds runs to the table and returns what the script says, line by line."""

    def collect(*runs):
        main([*map(str, runs), "--into", str(into)])
        return capsys.readouterr().out.splitlines()

    return collect


def write_measured(runs, dsc=(0.2, 0.6), **changes):
    """A run's folder whose images have the metrics of a real one, and whose history has thresholds."""
    folder = write_run(runs, dsc=dsc, **changes)
    curve = pd.read_csv(folder / "history.csv")
    thresholds = [0.5, 0.9, *[0.7] * len(curve)][: len(curve)]
    curve.assign(val_threshold=thresholds).to_csv(folder / "history.csv", index=False)
    return folder


def test_runs_of_two_machines_become_one_table_and_each_is_added_once(tmp_path, into, collected):
    write_measured(tmp_path / "here", loss="bce")
    write_measured(tmp_path / "there", loss="dice", dsc=(0.1, 0.5, 0.9))
    write_run(tmp_path / "there", loss="tversky", done=False)
    assert collected(tmp_path / "here")[0] == "added: bce, seed 0, fold 0"
    second = collected(tmp_path / "here", tmp_path / "there")
    assert [line for line in second if "added" in line] == ["added: dice, seed 0, fold 0"]
    before = into.read_bytes()
    assert collected(tmp_path / "there", tmp_path / "here") == [f"{into}: 2 runs, 5 images"]
    assert into.read_bytes() == before
    assert pd.read_csv(into).groupby("loss").size().to_dict() == {"bce": 2, "dice": 3}


def test_each_row_says_how_its_run_was_trained_and_which_epoch_was_tested(tmp_path, into, collected):
    write_measured(tmp_path / "runs", epochs=3)
    collected(tmp_path / "runs")
    row = pd.read_csv(into).iloc[0]
    assert (row["val_epoch"], row["val_dsc_pooled"], row["val_threshold"], row["epochs_done"]) == (2, 0.3, 0.9, 3)
    assert json.loads(row["settings"])["epochs"] == 3
    assert json.loads(row["computed"])["images"]["train"] == row["train_images"] == 40


def test_another_budget_is_another_run_and_an_option_that_came_or_went_is_not(tmp_path, into, collected):
    write_measured(tmp_path / "runs")
    collected(tmp_path / "runs")
    table = pd.read_csv(into)
    settings = json.loads(table["settings"].iloc[0])
    del settings["adversarial"]  # as if the row were older than the option
    settings["own_code"] = None  # and older than the day on which runs may differ in it
    into.write_bytes(gzip.compress(table.assign(settings=json.dumps(settings)).to_csv(index=False).encode()))
    assert collected(tmp_path / "runs") == [f"{into}: 1 runs, 2 images"]
    write_measured(tmp_path / "longer", epochs=5)
    assert collected(tmp_path / "runs", tmp_path / "longer")[-1] == f"{into}: 2 runs, 4 images"


def test_a_run_that_came_out_differently_is_named_and_the_first_one_stays(tmp_path, into, collected):
    write_measured(tmp_path / "here", dsc=(0.2, 0.6))
    write_measured(tmp_path / "there", dsc=(0.2, 0.7))
    collected(tmp_path / "here")
    said = collected(tmp_path / "there")
    assert said[0] == "left out, since the table holds it with other values: hybrid, seed 0, fold 0"
    assert pd.read_csv(into)["dsc"].tolist() == [0.2, 0.6]
