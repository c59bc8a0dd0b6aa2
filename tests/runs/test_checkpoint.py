"""Checkpoints: whole after every kill, refused when they are not what was written, harmless when they are hostile."""

import errno
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from conftest import tiny
from interruption import CutOffError, cut_in
from massmatch.cli import app
from massmatch.errors import RunError
from massmatch.runs import atomic as files
from massmatch.runs.checkpoint import load_checkpoint, previous_of, save_checkpoint
from massmatch.runs.weights import load_weights
from massmatch.training import run as fit
from massmatch.training.state import sound
from started import forked

ABOUT = {"model": "aunet", "width": 2}


def state(epoch, size=4):
    return {"model": {"layer": torch.full((size,), float(epoch))}, "history": [{"epoch": n + 1} for n in range(epoch)]}


def written(folder, epochs):
    path = folder / "last.ckpt"
    for epoch in range(1, epochs + 1):
        save_checkpoint(path, state(epoch), ABOUT)
    return path


def keep_saving(path, size, done):
    epoch = 0
    while True:
        epoch += 1
        save_checkpoint(path, state(epoch, size), ABOUT)
        done.value = epoch


def killed_while_saving(path, seconds, size=1_000_000):
    """The number of the last save that had returned when the process was killed."""
    context = multiprocessing.get_context("fork")
    done = context.Value("i", 0)
    process = context.Process(target=keep_saving, args=(path, size, done))
    with forked(process):
        while not done.value:
            time.sleep(0.001)
        time.sleep(seconds)
    return done.value


def never_loses_more_than_the_save_at_work(folder, repeats):
    draw = random.Random(0)
    for _ in range(repeats):
        last = killed_while_saving(folder / "last.ckpt", draw.uniform(0, 0.05))
        _, found = sound(folder / "last.ckpt", ABOUT) if (folder / "last.ckpt").exists() else saved_before(folder)
        assert len(found["history"]) in (last, last + 1)
        assert (found["model"]["layer"] == len(found["history"])).all()
        files.remove_leftovers(folder)
        assert {path.name for path in folder.iterdir()} <= {"last.ckpt", "previous.ckpt"}
        for path in folder.iterdir():
            path.unlink()


def test_row_1_what_a_kill_left_is_removed_in_the_folders_that_are_named_and_in_no_other(tmp_path):
    """Below them another process may be training, and a part that is not ours is somebody's."""
    mine, others = tmp_path / "predictions", tmp_path / "another/fold0"
    for folder in (mine, others):
        folder.mkdir(parents=True)
    half, living, foreign = files.part_of(mine / "a.png"), files.part_of(others / "last.ckpt"), tmp_path / ".mine.part"
    for path in (half, living, foreign):
        path.write_bytes(b"half")
    assert files.remove_leftovers(tmp_path, mine) == [half]
    assert [path.exists() for path in (half, living, foreign)] == [False, True, True]


def saved_before(folder):
    with pytest.warns(UserWarning, match="there is no"):
        return sound(folder / "last.ckpt", ABOUT)


def test_row_1_a_kill_while_saving_loses_no_epoch_that_was_saved(tmp_path):
    never_loses_more_than_the_save_at_work(tmp_path, 4)


@pytest.mark.long
def test_row_1_fifty_kills_while_saving_lose_no_epoch_that_was_saved(tmp_path):
    never_loses_more_than_the_save_at_work(tmp_path, 50)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm here")
def test_row_2_nor_on_another_file_system_than_that_of_temporary_files(tmp_path_factory):
    folder = Path(f"/dev/shm/massmatch-test-{os.getpid()}")
    folder.mkdir()
    try:
        never_loses_more_than_the_save_at_work(folder, 4)
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_row_2_what_becomes_a_file_is_written_in_its_own_folder(tmp_path, monkeypatch):
    moves = []
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: moves.append((self.parent, Path(to).parent)) or replace(self, to)
    )
    written(tmp_path, 2)
    assert moves
    assert all(source == target == tmp_path for source, target in moves)


def cut_off(cohort, runs, **changes):
    """The folder of a run of three epochs that ended in the third."""
    experiment = tiny(cohort, epochs=3, **changes)
    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, runs, cut_in(3))
    return experiment, experiment.folder(runs, 0)


@pytest.mark.long
def test_row_3_a_truncated_checkpoint_gives_way_to_the_one_before(cohort, tmp_path):
    whole = fit.run(tiny(cohort, epochs=3), cohort, 0, tmp_path / "whole")
    experiment, out = cut_off(cohort, tmp_path / "cut")
    content = (out / "last.ckpt").read_bytes()
    (out / "last.ckpt").write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"last\.ckpt is damaged: .* going on from previous\.ckpt, after epoch 1"):
        fit.run(experiment, cohort, 0, tmp_path / "cut")
    assert (out / "rows.csv").read_bytes() == (whole / "rows.csv").read_bytes()
    assert (out / "damaged.ckpt").read_bytes() == content[: len(content) // 2]  # kept for whoever wants to know


def test_row_3_a_strict_resume_takes_no_other(cohort, tmp_path):
    experiment, out = cut_off(cohort, tmp_path)
    (out / "last.ckpt").write_bytes((out / "last.ckpt").read_bytes()[:-1])
    before = previous_of(out / "last.ckpt").read_bytes()
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged"):
        fit.run(experiment, cohort, 0, tmp_path, strict_resume=True)
    assert previous_of(out / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>\n<body>404</body></html>\n", b"PK\x03\x04" + bytes(99)])
def test_row_4_what_is_no_checkpoint_is_said_in_one_line(content, tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path} is no checkpoint of massmatch: .*$"):
        load_checkpoint(path)


def test_row_5_one_flipped_bit_is_refused(tmp_path):
    content = bytearray(written(tmp_path, 1).read_bytes())
    for place in (70, 200, len(content) // 2, len(content) - 1):
        flipped = content.copy()
        flipped[place] ^= 1
        (tmp_path / "flipped.ckpt").write_bytes(flipped)
        with pytest.raises(ValueError, match=r"is damaged: .* another SHA-256"):
            load_checkpoint(tmp_path / "flipped.ckpt")


def test_row_5_one_flipped_bit_in_the_weights_is_refused(trained, tmp_path):
    content = bytearray((trained / "best.safetensors").read_bytes())
    content[-3] ^= 1
    (tmp_path / "best.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.safetensors is damaged: its weights have another SHA-256"):
        load_weights(tmp_path / "best.safetensors")


def signed(path, content, header=b""):
    """A file that passes every check of its bytes."""
    rest = header + content
    path.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    return path


def header(**changes):
    return json.dumps({"format": "massmatch-checkpoint", "version": 2, **ABOUT, **changes}).encode() + b"\n"


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_row_6_weights_that_are_no_numbers_are_refused_by_name(tmp_path):
    bad = state(1)
    bad["model"] = {"first": torch.zeros(2), "second": torch.tensor([1.0, torch.nan]), "third": torch.tensor(torch.inf)}
    with pytest.raises(ValueError, match=r"is refused: model\.second is not finite"):
        load_checkpoint(signed(tmp_path / "last.ckpt", saved(bad), header()))


def test_row_6_weights_that_are_no_numbers_are_never_written(tmp_path):
    path = written(tmp_path, 2)
    before = path.read_bytes()
    with pytest.raises(RunError, match=r"model\.layer is no longer finite"):
        save_checkpoint(path, {"model": {"layer": torch.tensor([torch.nan])}, "history": []}, ABOUT)
    assert path.read_bytes() == before


class Hostile:
    """A pickle that runs a command where it is loaded."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch '{self.canary}'",)


def test_row_7_a_hostile_pickle_is_refused_and_not_executed(tmp_path):
    canary = tmp_path / "canary"
    more = "is refused: it holds more than plain data, and nothing of it was executed"
    inside, whole = saved({"model": Hostile(canary)}), saved(Hostile(canary))
    given = [(inside, header(), more), (whole, header(), more), (whole, b"", "is no checkpoint of massmatch")]
    for number, (content, head, said) in enumerate(given):
        path = signed(tmp_path / f"{number}.ckpt", content, head)
        with pytest.raises(ValueError, match=said):
            load_checkpoint(path)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Hostile(canary)))
    assert canary.exists()  # the pickle does what it says


def test_row_7_nor_as_a_weights_file(cohort, tmp_path):
    canary = tmp_path / "canary"
    for number, content in enumerate((saved({"model": Hostile(canary)}), pickle.dumps(Hostile(canary)))):
        weights = tmp_path / f"{number}.safetensors"
        weights.write_bytes(content)
        for command in (
            ("predict", cohort.root / "images", "--weights", weights, "--out", tmp_path / "out"),
            ("evaluate", weights, cohort.root, "--out", tmp_path / "out"),
        ):
            result = CliRunner().invoke(app, list(map(str, command)))
            assert result.exit_code == 2
            assert "holds no weights of massmatch" in result.output
    assert not canary.exists()


def test_row_8_a_checkpoint_of_another_network_tells_at_most_five_differences(tmp_path):
    written(tmp_path, 1)
    with pytest.raises(ValueError, match=r"belongs to another run: width should be 8 but is 2$"):
        load_checkpoint(tmp_path / "last.ckpt", {"model": "aunet", "width": 8})


def test_row_8_tensors_of_another_shape_tell_at_most_five_differences(trained, tmp_path):
    from massmatch.runs.checkpoint import fit_into

    tensors = load_weights(trained / "best.safetensors")[0].state_dict()
    with pytest.raises(ValueError, match=r"does not fit the network: .* and [0-9]+ more") as told:
        fit_into(nn.Linear(2, 2), tensors, "best.safetensors")
    assert str(told.value).count("should be") == 5
    assert "\n" not in str(told.value)


def test_row_8_a_newer_version_is_named_before_its_weights_are_read(tmp_path):
    path = signed(tmp_path / "last.ckpt", b"no tensors at all", header(version=3))
    with pytest.raises(ValueError, match="has version 3 of the format, this massmatch reads 2"):
        load_checkpoint(path)


def cli(cohort, runs):
    fields = "--loss sm-tversky-sd-nz --width 2 --scheme split --epochs 3 --learning-rate 0.01 --threads 1"
    fields += " --precision float32 --memory contiguous"
    return [sys.executable, "-m", "massmatch", "train", str(cohort.root), *fields.split(), "--out", str(runs)]


@pytest.mark.long  # whole processes
def test_row_9_a_full_disk_ends_the_run_in_one_line_and_leaves_the_old_file(cohort, tmp_path):
    _, out = cut_off(cohort, tmp_path / "cut")
    before = (out / "last.ckpt").read_bytes()
    full = subprocess.run(
        cli(cohort, tmp_path / "cut"),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert full.returncode == 1, full.stderr
    assert "massmatch: disk full: " in full.stderr
    assert "last.ckpt needs 1.1 MB, has " in full.stderr or "best.safetensors needs " in full.stderr
    assert "Traceback" not in full.stderr
    assert (out / "last.ckpt").read_bytes() == before
    fit.run(tiny(cohort, epochs=3), cohort, 0, tmp_path / "cut")
    assert (out / "DONE").exists()


def test_row_9_the_disk_may_fill_between_two_bytes(tmp_path, monkeypatch):
    path = written(tmp_path, 2)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match=r"disk full: .* needs \d+(\.\d kB| bytes), has \d+\.\d MB"):
        save_checkpoint(path, state(3), ABOUT)
    monkeypatch.undo()
    assert len(load_checkpoint(path)["history"]) == 2
    assert not list(tmp_path.glob(".*"))


def test_row_9_too_little_space_is_found_before_the_first_epoch(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    monkeypatch.setattr(fit, "launch", None)  # nothing is trained
    with pytest.raises(RunError, match=r"disk full: training needs about \d+\.\d MB in .*, has 1\.0 kB"):
        fit.run(tiny(cohort), cohort, 0, tmp_path)
