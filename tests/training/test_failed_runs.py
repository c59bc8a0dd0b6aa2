"""A run that goes wrong: what it leaves on the disk, what it says of itself, and how damaged tables are mended."""

import json
import math
import shutil

import pytest
import torch
from typer.testing import CliRunner

from conftest import tiny
from massmatch.cli import app
from massmatch.errors import RunError
from massmatch.losses import make_loss
from massmatch.runs.checkpoint import load_checkpoint
from massmatch.runs.folder import RunFolder
from massmatch.runs.record import relatives
from massmatch.runs.weights import load_weights, save_weights
from massmatch.training import loop as epochs
from massmatch.training import run as fit
from massmatch.training import step as steps
from massmatch.training.batches import Loader, Samples


def batches_of(cohort, epoch):
    parts = epochs.parts_of(tiny(cohort), cohort, 0)
    return [batch.ids for batch in Loader(Samples(cohort, parts.train, make_loss("bce")), 4, 0).epoch(epoch)]


def overflowing(monkeypatch, last):
    """Weights become infinite in the step with this number, from 1."""
    move, calls = steps.Step.move, []

    def moved(self, where):
        move(self, where)
        calls.append(where)
        if len(calls) == last:
            next(self.network.module.parameters()).data.fill_(torch.inf)

    monkeypatch.setattr(steps.Step, "move", moved)


@pytest.mark.parametrize("epoch", [1, 2])
def test_weights_that_overflow_in_the_last_step_of_an_epoch_are_never_written(cohort, tmp_path, monkeypatch, epoch):
    first, second = batches_of(cohort, 0), batches_of(cohort, 1)
    overflowing(monkeypatch, len(first) if epoch == 1 else len(first) + len(second))
    experiment = tiny(cohort, loss="bce")
    with pytest.raises(RunError, match=f"is no longer finite after the last step in epoch {epoch}") as told:
        fit.run(experiment, cohort, 0, tmp_path)
    assert str(told.value).endswith(str((first, second)[epoch - 1][-1]))
    run = RunFolder(experiment.folder(tmp_path, 0))
    assert run.state_and_reason() == ("failed", str(told.value))
    assert "Traceback" in json.loads((run / "FAILED.json").read_text())["traceback"]
    if epoch == 1:
        assert not (run / "best.safetensors").exists()
        assert not (run / "last.ckpt").exists()
    else:
        load_weights(run / "best.safetensors")  # which refuses numbers that are none
        assert len(load_checkpoint(run / "last.ckpt")["history"]) == 1


def test_no_command_writes_weights_that_are_no_numbers(cohort, tmp_path):
    experiment = tiny(cohort)
    model = epochs.seeded_model(experiment)
    next(model.parameters()).data.fill_(math.nan)
    with pytest.raises(RunError, match=r"is not written: .* is not finite"):
        save_weights(tmp_path / "best.safetensors", model, experiment, 0.5, (64, 64), cohort)
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_interrupted_has_not_failed(cohort, tmp_path):
    def stop(progress):
        raise KeyboardInterrupt

    experiment = tiny(cohort)
    with pytest.raises(KeyboardInterrupt):
        fit.run(experiment, cohort, 0, tmp_path, stop)
    assert RunFolder(experiment.folder(tmp_path, 0)).state == "interrupted"


def test_the_validation_dsc_that_a_run_tells_is_the_best_so_far(cohort, tmp_path, monkeypatch):
    scores, told = iter([math.nan, 0.5, 0.2, 0.3]), {}
    row = {"val_sen_pooled": 0.0, "val_predicted_px": 0, "val_threshold": 0.5}
    monkeypatch.setattr(epochs, "validated", lambda *_: {"val_dsc_pooled": next(scores), **row})

    def watch(now):
        if now.phase == "train":
            told[now.epoch] = now.dsc

    fit.run(tiny(cohort, loss="bce", epochs=4), cohort, 0, tmp_path, watch)
    assert [told[1], told[2]] == pytest.approx([math.nan] * 2, nan_ok=True)
    assert (told[3], told[4]) == (0.5, 0.5)


@pytest.mark.parametrize("damaged", ["rows.csv", "history.csv", "candidates.csv"])
def test_damaged_tables_of_a_run_that_is_done_are_written_again(trained, cohort, tmp_path, damaged):
    folder = tmp_path / trained.parent.name / trained.name
    shutil.copytree(trained, folder)
    (folder / damaged).write_bytes((trained / damaged).read_bytes()[:15])
    with pytest.warns(UserWarning, match=f"is done, but .*{damaged}.*: its tables are written again"):
        assert fit.run(tiny(cohort), cohort, 0, tmp_path) == folder
    assert RunFolder(folder).state == "done"
    for name in ("rows.csv", "history.csv", "candidates.csv", "best.safetensors", "last.ckpt"):
        assert (folder / name).read_bytes() == (trained / name).read_bytes()


def test_a_history_that_was_cut_off_between_its_lines_is_told(trained, tmp_path):
    folder = tmp_path / "fold0"
    shutil.copytree(trained, folder)
    lines = (trained / "history.csv").read_text().splitlines(keepends=True)
    (folder / "history.csv").write_text("".join(lines[:-1]))
    state, reason = RunFolder(folder).state_and_reason()
    assert state == "damaged"
    assert "history.csv: holds 1 epoch, but the run trained 2" in reason


def test_without_a_checkpoint_damaged_tables_are_told_and_nothing_is_trained_over_them(trained, cohort, tmp_path):
    folder = tmp_path / trained.parent.name / trained.name
    shutil.copytree(trained, folder)
    (folder / "rows.csv").write_text("id\n")
    (folder / "last.ckpt").unlink()
    with pytest.raises(RunError, match=r"is done, but .*rows\.csv.* without its last\.ckpt it cannot be mended"):
        fit.run(tiny(cohort), cohort, 0, tmp_path)
    assert (folder / "DONE").is_file()


@pytest.mark.long
def test_other_settings_are_another_folder_and_train_says_so(trained, cohort, monkeypatch):
    runs, three = trained.parent.parent, tiny(cohort, epochs=3)
    assert relatives(three, runs, 0) == {trained: "epochs 2 instead of 3"}
    assert relatives(tiny(cohort), runs, 0) == relatives(three, runs, 1) == {}
    assert relatives(tiny(cohort, seed=1), runs, 0) == relatives(three, runs / "nothing", 0) == {}
    monkeypatch.setattr(fit, "run", lambda *_, **__: trained)
    options = ["--loss", "sm-tversky-sd-nz", "--width", "2", "--scheme", "split", "--epochs", "3", "--out", runs]
    said = CliRunner().invoke(app, list(map(str, ["train", cohort.root, *options])))
    assert said.exit_code == 0, said.output
    assert f"begins anew, in a folder of its own: {trained} has " in said.output
    assert "epochs 2 instead of 3" in said.output
