"""Files of a run that are not as they were written: each is told by name, in every command that reads it."""

import json
import re
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from made_up_runs import fail, image_rows, write_run
from massmatch.cli import app
from massmatch.errors import RunError, UsageError
from massmatch.inference.network import load_network
from massmatch.reports.page import report
from massmatch.runs import weights
from massmatch.runs.collection import collect
from massmatch.runs.folder import RunFolder
from massmatch.runs.weights import load_weights
from massmatch.sweeps.status import all_statuses
from massmatch.training.evaluate import evaluate_run


def asked(*arguments):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    return result.exit_code, " ".join(result.output.split())


def copied(trained, tmp_path):
    return RunFolder(shutil.copytree(trained, tmp_path / "runs" / trained.parent.name / trained.name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": ["bce"]}, r"loss must be a str, but is \['bce'\]"),
        ({"model": {"a": 1}}, "model must be a str"),
        ({"width": "eight"}, "width must be a int, but is 'eight'"),
        ({"epochs": None}, "epochs must be a int, but is None"),
        ({"resolved": [1]}, r"resolved must be a dict, but is \[1\]"),
        ("[loss, model]", r"must hold lines `key: value`, but holds \['loss', 'model'\]"),
    ],
)
def test_an_experiment_of_another_kind_is_a_damaged_run_in_status_and_report(tmp_path, change, said):
    write_run(tmp_path, loss="dice")
    path = write_run(tmp_path, loss="bce") / "experiment.yaml"
    facts = yaml.safe_load(path.read_text())
    path.write_text(change if isinstance(change, str) else yaml.safe_dump({**facts, **change}))
    with pytest.raises(RunError, match=said):
        RunFolder(path.parent).experiment()
    assert sorted(each.state for each in all_statuses(tmp_path)) == ["damaged", "done"]
    assert [each.state for each in collect(tmp_path).unfinished] == ["damaged"]


def test_a_run_of_which_only_its_result_is_left_is_found(tmp_path):
    folder = write_run(tmp_path)
    (folder / "experiment.yaml").unlink()
    assert [each.state for each in all_statuses(tmp_path)] == ["damaged"]


@pytest.mark.parametrize(
    ("name", "column", "value", "said"),
    [
        ("rows.csv", "tp", "12x", r"rows\.csv: tp must hold a number in each row, but holds '12x'"),
        ("rows.csv", "hau_px", "far", r"rows\.csv: hau_px must hold a number in each row, but holds 'far'"),
        ("rows.csv", "truth_empty", "maybe", "truth_empty must hold a number in each row, but holds 'maybe'"),
        ("rows.csv", "dsc", "", "dsc must hold a number in each row, but holds ''"),
        ("rows.csv", "missed", "", "missed must hold a number in each row, but holds ''"),
        ("history.csv", "val_dsc_pooled", "good", r"history\.csv: val_dsc_pooled must hold a number"),
    ],
)
def test_a_cell_that_is_no_number_is_damage_and_no_traceback(tmp_path, name, column, value, said):
    folder = write_run(tmp_path)
    table = pd.read_csv(folder / name, dtype=str)
    table.loc[0, column] = value
    table.to_csv(folder / name, index=False)
    state, reason = RunFolder(folder).state_and_reason()
    assert state == "damaged"
    assert re.search(said, reason), reason


@pytest.mark.parametrize(
    ("name", "column", "value", "said"),
    [
        ("rows.csv", "dsc", "1.7", r"rows\.csv: dsc must be from 0 to 1, but is 1\.7 in row 2 \(i001\)"),
        ("rows.csv", "specificity", "-0.1", "specificity must be from 0 to 1, but is -0.1"),
        ("rows.csv", "tp", "-3", "tp must be a whole number of at least 0, but is -3"),
        ("rows.csv", "fn", "2.5", "fn must be a whole number of at least 0, but is 2.5"),
        ("rows.csv", "iou", "inf", "iou must be from 0 to 1, but is inf"),
        ("rows.csv", "hau_px", "inf", "hau_px must be a finite number of at least 0, but is inf"),
        ("rows.csv", "missed", "2", "missed must be 0 or 1, but is 2"),
        ("rows.csv", "delta_a", "-1", "delta_a must be a finite number of at least 0, but is -1"),
        ("rows.csv", "pieces", "-1", "pieces must be a whole number of at least 0, but is -1"),
        ("history.csv", "val_dsc_pooled", "40", "val_dsc_pooled must be from 0 to 1, but is 40 in row 2"),
    ],
)
def test_a_value_that_no_measurement_gives_is_damage(tmp_path, name, column, value, said):
    write_run(tmp_path, loss="dice")
    folder = write_run(tmp_path, loss="bce")
    table = pd.read_csv(folder / name, dtype=str)
    table.loc[1, column] = value
    table.to_csv(folder / name, index=False)
    assert re.search(said, RunFolder(folder).state_and_reason()[1])
    assert [each.state for each in collect(tmp_path).unfinished] == ["damaged"]
    code, told = asked("status", tmp_path)
    assert re.search(said.removeprefix(r"rows\.csv: "), told), (code, told)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("dsc", "0.9", r"dsc is 0\.9 in row 2 \(i001\), but tp 600, fp 400, fn 400, tn 9000 give 0\.6"),
        ("fp", "0", r"dsc is 0\.6 in row 2 \(i001\), but tp 600, fp 0, fn 400, tn 9000 give 0\.75"),
        ("iou", "0.6", "iou is 0.6 in row 2"),
        ("sen", "1", "sen is 1 in row 2"),
        ("truth_empty", "True", r"truth_empty is 1 in row 2 \(i001\), but tp 600, .* give 0"),
    ],
)
def test_a_value_that_the_counts_of_its_row_contradict_is_damage(tmp_path, column, value, said):
    folder = write_run(tmp_path)
    assert RunFolder(folder).fault() == ""
    table = pd.read_csv(folder / "rows.csv", dtype=str)
    table.loc[1, column] = value
    table.to_csv(folder / "rows.csv", index=False)
    assert re.search(said, RunFolder(folder).fault())
    assert [each.state for each in collect(tmp_path).unfinished] == ["damaged"]


def test_a_score_above_1_is_damage(tmp_path):
    folder = write_run(tmp_path)
    (folder / "candidates.csv").write_text("id,score,mass,iou,mass_at_centre\ni000,0.4,0,0,0\ni001,1.2,0,0,0\n")
    assert "candidates.csv: score must be from 0 to 1, but is 1.2 in row 2 (i001)" in RunFolder(folder).fault()


def test_cells_that_may_be_empty_are_no_damage(tmp_path):
    rows = image_rows([0.2, 0.6], hau_mm=[None, 3.5], density=[None, "2"], view=["CC", None])
    assert RunFolder(write_run(tmp_path, rows=rows)).state == "done"


@pytest.mark.parametrize("content", ["", '[{"label": "bce"', '{"label": 1}', '[{"label": "bce"}]', "[1]"])
def test_a_damaged_list_of_planned_runs_is_named_by_status(tmp_path, content):
    write_run(tmp_path)
    (tmp_path / "sweep_01234567.json").write_text(content)
    code, said = asked("status", tmp_path)
    assert code == 1
    assert "sweep_01234567.json: cannot be read" in said
    assert "remove it, and the same sweep writes it again" in said


def retold(path, change):
    """The same weights with other facts, as text or as keys that replace those there (None: taken away)."""
    with safe_open(path, "pt") as file:
        said = file.metadata()
    if isinstance(change, dict):
        facts = {**json.loads(said["massmatch"]), **change}
        change = json.dumps({name: value for name, value in facts.items() if value != "gone"})
    save_file(load_file(path), path, {**said, "massmatch": change})


@pytest.mark.parametrize("change", ["{", "[]", '"x"', {"threshold": "gone"}, {"threshold": "0.5"}, {"size": 64}])
def test_weights_whose_facts_are_damaged_are_refused(trained, tmp_path, change):
    path = copied(trained, tmp_path) / "best.safetensors"
    retold(path, change)
    with pytest.raises(UsageError, match="holds no weights of massmatch"):
        load_weights(path)


def test_weights_of_another_run_are_not_measured_as_those_of_this_one(trained, cohort, tmp_path):
    run = copied(trained, tmp_path)
    facts = load_weights(run / "best.safetensors")[1]
    retold(run / "best.safetensors", {"experiment": {**facts["experiment"], "loss": "bce"}})
    with pytest.raises(UsageError, match=r"is of another run: loss should be sm-tversky-sd-nz but is bce"):
        evaluate_run(run.path, cohort)


def test_a_run_without_weights_says_why(tmp_path):
    with pytest.raises(UsageError, match=r"has no weights: it is failed \(out of memory\)"):
        load_network(fail(write_run(tmp_path, done=False)))


def test_stored_probabilities_are_read_as_they_were_written(tmp_path):
    run = RunFolder(write_run(tmp_path))
    (run / "predictions").mkdir()
    path, stored = run / "predictions/i000.png", np.arange(12, dtype=np.uint16).reshape(3, 4) * 5957
    Image.fromarray(stored).save(path)
    np.testing.assert_array_equal(run.prediction("i000", (3, 4)), stored / 65535)
    with pytest.raises(RunError, match=r"i000\.png: must hold numbers of 16 bits of the shape \(4, 3\), but"):
        run.prediction("i000", (4, 3))
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no picture"):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"i000\.png: cannot be read .*: `massmatch evaluate` writes it again"):
            run.prediction("i000", (3, 4))
    Image.fromarray(stored.astype(np.uint8)).save(path)
    with pytest.raises(RunError, match="must hold numbers of 16 bits"):
        run.prediction("i000", (3, 4))
    path.unlink()
    with pytest.raises(RunError, match=r"i000\.png is missing"):
        run.prediction("i000", (3, 4))


def test_a_report_of_damaged_predictions_says_so_in_the_place_of_pictures(trained, cohort, tmp_path):
    run = copied(trained, tmp_path)
    for path in (run / "predictions").glob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    page = report(run, cohort=cohort, out=tmp_path / "report", draws=100, pictures=1)
    assert "No pictures:" in page.read_text()
    assert "cannot be read" in page.read_text()


def test_report_says_on_the_screen_what_is_not_on_the_page(tmp_path):
    write_run(tmp_path / "runs", loss="bce")
    fail(write_run(tmp_path / "runs", loss="dice", done=False))
    write_run(tmp_path / "runs", loss="tversky", epochs=7)
    words = ("report", tmp_path / "runs", "--out", tmp_path / "report", "--draws", 100)
    code, said = asked(*words)
    assert code == 0
    assert "runs without a result are left out (1 failed), such as" in said
    assert "1 of 2 finished runs cannot be compared with the others" in said
    (write_run(tmp_path / "runs", loss="focal") / "rows.csv").write_text("id\n")
    code, said = asked(*words)
    assert code == 3
    assert "(1 failed, 1 damaged)" in said or "(1 damaged, 1 failed)" in said


def test_compare_shows_no_run_that_has_no_result(trained, cohort, tmp_path):
    run = copied(trained, tmp_path)
    (run / "DONE").unlink()  # its rows are there, as `evaluate` writes them for a run that was interrupted
    code, said = asked("compare", cohort.root, trained, run.path)
    assert code == 1
    assert "has no result, but is interrupted (no DONE: 2 of 2 epochs are written)" in said
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # not as errors, but as the command shows them
        code, said = asked("evaluate", run.path)
    assert code == 0
    assert "is interrupted (no DONE: 2 of 2 epochs are written): measured are its best weights so far" in said


def test_weights_that_may_not_be_read_are_told_so(tmp_path, monkeypatch):
    """safetensors says of them that there is no such file, without a reason."""

    def closed(*_):
        raise FileNotFoundError("No such file or directory")

    path = tmp_path / "best.safetensors"
    path.touch()
    monkeypatch.setattr(weights, "safe_open", closed)
    with pytest.raises(UsageError, match=r"best\.safetensors cannot be read: look at its rights"):
        weights.read_weights(path)
