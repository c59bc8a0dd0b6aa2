"""Full disks: the place is named, nothing half-written looks whole, and the first reason is the one that is told."""

import errno

import pytest
from PIL import Image
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.errors import RunError
from massmatch.inference import batch
from massmatch.runs import atomic, failure, lock


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")  # as a write says it: without the name of the file


def asked(*arguments):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def full_disk(monkeypatch):
    monkeypatch.setattr(atomic.os, "fsync", full)


@pytest.mark.parametrize("command", ["phantom", "export-nnunet"])
def test_a_folder_that_does_not_fit_is_named_and_does_not_appear(cohort, tmp_path, monkeypatch, command):
    monkeypatch.setattr(Image.Image, "save", full)
    out = tmp_path / "Dataset101_Mass"
    arguments = ("--patients", 2, "--size", 64) if command == "phantom" else ()
    code, said = asked(command, *(() if command == "phantom" else (cohort.root,)), out, *arguments)
    assert (code, said) == (1, f"massmatch: {out}.part: No space left on device")
    assert not out.exists()


def test_predict_leaves_all_files_of_an_image_or_none(weights, cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "seg_nrrd", full)  # after the mask and the picture
    image = cohort.root / "images" / f"{cohort.ids[0]}.png"
    code, said = asked("predict", image, "--weights", weights, "--out", tmp_path / "out", "--nrrd")
    assert code == 1
    assert f"massmatch: {tmp_path / 'out'}: No space left on device" in said
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"index.partial.csv", "findings.partial.csv"}


@pytest.mark.filterwarnings("always:this is the cohort that the network was trained on")
def test_evaluate_names_the_picture_that_does_not_fit(weights, cohort, tmp_path, full_disk):
    code, said = asked("evaluate", weights, cohort.root, "--out", tmp_path / "out")
    assert code == 1
    assert f"massmatch: disk full: {tmp_path / 'out/predictions' / cohort.ids[0]}.png needs " in said
    assert not [each for each in (tmp_path / "out").rglob("*") if each.is_file()]


def test_compare_leaves_the_table_that_was_there(trained, cohort, tmp_path, full_disk):
    (tmp_path / "table.md").write_text("old")
    code, said = asked("compare", cohort.root, trained, "--table", tmp_path / "table.md")
    assert code == 1
    assert f"massmatch: disk full: {tmp_path / 'table.md'} needs " in said
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("table.md", "old")]


def test_a_file_whose_name_does_not_reach_the_disk_is_named(tmp_path, monkeypatch):
    """It was "the system: No space left on device": that of a folder names nothing."""
    monkeypatch.setattr(atomic, "sync_folder", full)
    with pytest.raises(RunError, match=f"disk full: {tmp_path}/table.md needs 3 bytes"):
        atomic.write_atomic(tmp_path / "table.md", b"new")


def test_the_reason_of_a_failure_is_told_although_it_cannot_be_written(tmp_path, full_disk):
    with pytest.raises(ValueError, match="the first reason"), failure.failures_written(tmp_path):
        raise ValueError("the first reason")
    assert failure.write_failure(tmp_path, "why").reason.startswith("why (and FAILED.json could not be written: disk")


def test_a_lock_that_does_not_fit_is_named_and_not_left(tmp_path, full_disk):
    with pytest.raises(RunError, match=r"disk full: .*LOCK needs"), lock.locked(tmp_path):
        pass
    assert not (tmp_path / "LOCK").exists()
