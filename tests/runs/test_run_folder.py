"""One class knows a run's folder: what it holds, how far it is, and where it is found."""

import json
import os
import socket

import pytest

from closed import close
from made_up_runs import fail, image_rows, write_run
from massmatch.errors import RunError, UsageError
from massmatch.runs.collection import collect
from massmatch.runs.folder import RunFolder, run_folders
from massmatch.sweeps.status import all_statuses


def test_status_and_report_agree_on_every_state(tmp_path):
    held = write_run(tmp_path, done=False, loss="bce")
    (held / "LOCK").write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    (write_run(tmp_path, done=False, loss="dice") / "experiment.yaml").write_text("{")
    write_run(tmp_path, done=False, loss="focal")
    fail(write_run(tmp_path, done=False, loss="tversky"))
    (write_run(tmp_path, loss="ssl") / "rows.csv").write_text("id")
    (tmp_path / "x" / "fold2").mkdir(parents=True)
    told = {each.folder: each.state for each in collect(tmp_path).unfinished}
    assert {each.folder: each.state for each in all_statuses(tmp_path)} == told
    assert sorted(told.values()) == ["damaged", "damaged", "failed", "interrupted", "never started", "running"]


def test_patients_called_na_or_007_are_kept(tmp_path):
    folder = RunFolder(write_run(tmp_path, rows=image_rows([0.1, 0.2], ["NA", "007"], ids=["nan", "1"])))
    assert folder.rows()["patient"].tolist() == ["NA", "007"]
    assert folder.rows()["id"].tolist() == ["nan", "1"]


def test_a_run_is_found_in_its_folder_or_as_the_only_one_below(tmp_path):
    folder = write_run(tmp_path / "[red]runs")
    for path in (folder, folder.parent, tmp_path):
        assert RunFolder.find(path).path == folder
    other = write_run(tmp_path, loss="bce")
    with pytest.raises(UsageError, match="holds 2 runs: give one of them") as told:
        RunFolder.find(tmp_path)
    assert str(other) in str(told.value)


def test_runs_in_a_folder_that_cannot_be_read_are_not_passed_over_in_silence(tmp_path, monkeypatch):
    seen, unseen = write_run(tmp_path), write_run(tmp_path, loss="bce")
    close(monkeypatch, unseen.parent)
    with pytest.warns(UserWarning, match=r"bce_w8_seed0 cannot be read .*: runs in it are passed over"):
        assert run_folders(tmp_path) == [seen]


@pytest.mark.parametrize(("name", "said"), [("none", "no such folder"), ("empty", "holds no run"), ("file", "a file")])
def test_what_holds_no_run_is_named(tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=said):
        RunFolder.find(tmp_path / name)


def test_a_run_says_where_its_images_are(trained, cohort, tmp_path):
    assert RunFolder(trained).cohort() == cohort.root.resolve()
    with pytest.raises(UsageError, match="give the cohort it was trained on"):
        RunFolder(write_run(tmp_path)).cohort()


def test_a_damaged_run_is_told_as_soon_as_it_is_damaged(tmp_path):
    run = RunFolder(write_run(tmp_path))
    assert run.state == "done"
    (run / "rows.csv").unlink()
    assert run.state == "damaged"
    with pytest.raises(RunError, match=r"rows\.csv: cannot be read"):
        run.rows()
