"""Runs that are interrupted, begun twice, asked for something else, or kept in odd folders."""

import errno
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from conftest import tiny
from interruption import CutOffError
from massmatch.cli.screen import told
from massmatch.data import Cohort
from massmatch.errors import RunError, UsageError
from massmatch.runs import lock
from massmatch.runs.checkpoint import load_checkpoint
from massmatch.runs.experiment import Experiment
from massmatch.runs.lock import HeldError
from massmatch.sweeps.sweep import refuse_redivided
from massmatch.sweeps.tables import Planned
from massmatch.training import loop as epochs
from massmatch.training import run as fit
from massmatch.training.distributed.signals import StoppedError
from massmatch.training.evaluate import evaluate_run
from massmatch.training.state import random_state, set_random_state
from started import PATIENCE, forked, started


def cut_at(epoch, batch, seen=None):
    """End after so many batches of an epoch, from 1; their losses go to `seen`."""
    losses = [] if seen is None else seen

    def watch(now):
        if now.phase == "train" and now.epoch == epoch:
            losses.append(now.loss)
            if len(losses) == batch:
                raise CutOffError

    return watch


def ends_alike(first, second):
    """Weights, rows and history (but for the seconds) of two runs."""
    ends = [load_checkpoint(run / "last.ckpt") for run in (first, second)]
    for part in ("model", "loss"):
        assert all(torch.equal(ends[0][part][name], ends[1][part][name]) for name in ends[0][part])
    histories = [pd.read_csv(run / "history.csv").drop(columns="seconds") for run in (first, second)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert (first / "rows.csv").read_bytes() == (second / "rows.csv").read_bytes()


def test_row_10_a_file_in_the_place_of_the_folder_is_found_before_the_first_epoch(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "launch", None)
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UsageError, match="a file is in the way of this folder; give another --out"):
        fit.run(tiny(cohort), cohort, 0, tmp_path / "runs")


def test_what_was_measured_in_the_native_frame_goes_when_the_training_goes_on(tmp_path):
    """It is of the weights that were best until then, and stood beside the rows of the later ones."""
    for done in (True, False):  # a run that is mended keeps its weights
        (tmp_path / "rows_native.csv").write_text("id\n")
        if done:
            (tmp_path / "DONE").touch()
        with fit.prepared(tmp_path):
            assert (tmp_path / "rows_native.csv").exists() is done


def test_row_10_so_is_a_folder_that_cannot_be_written(cohort, tmp_path, monkeypatch):
    def read_only(self, *_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(fit, "launch", None)
    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.raises(RunError, match=r"cannot write in .* \(Read-only file system\): give another --out"):
        fit.run(tiny(cohort), cohort, 0, tmp_path)


@pytest.mark.parametrize(
    "changes", [{"loss": "asp-l"}, pytest.param({"adversarial": 0.1}, marks=pytest.mark.long)], ids=str
)
def test_row_11_what_learns_besides_the_network_is_resumed_too(cohort, tmp_path, changes):
    experiment = tiny(cohort, **changes)
    whole = fit.run(experiment, cohort, 0, tmp_path / "whole")
    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, tmp_path / "cut", cut_at(2, 1))
    ends_alike(whole, fit.run(experiment, cohort, 0, tmp_path / "cut"))


@pytest.mark.long
def test_row_11_a_network_that_draws_random_numbers_is_resumed_to_the_bit(cohort, tmp_path, monkeypatch):
    make = epochs.make_model
    monkeypatch.setattr(epochs, "make_model", lambda *a: torch.nn.Sequential(torch.nn.Dropout(0.3), make(*a)))
    monkeypatch.setattr(
        fit, "evaluate_run", lambda out, *_: (out / "rows.csv").touch()
    )  # it would make the usual network
    whole = fit.run(tiny(cohort), cohort, 0, tmp_path / "whole")
    with pytest.raises(CutOffError):
        fit.run(tiny(cohort), cohort, 0, tmp_path / "cut", cut_at(2, 3))
    torch.rand(7)  # whatever else has happened
    ends_alike(whole, fit.run(tiny(cohort), cohort, 0, tmp_path / "cut"))


def test_row_11_random_numbers_go_on_where_they_were():
    state, first = random_state(), (random.random(), np.random.random(), torch.rand(1).item())
    set_random_state([state], 0)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == first


def test_a_run_leaves_the_random_numbers_of_its_caller_alone(cohort, tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path)
    assert torch.rand(1) == expected


def test_row_12_an_epoch_that_was_cut_off_is_repeated_in_the_same_order(cohort, tmp_path):
    experiment = tiny(cohort)
    first, again = [], []
    for seen, batch in ((first, 3), (again, 4)):
        with pytest.raises(CutOffError):
            fit.run(experiment, cohort, 0, tmp_path, cut_at(2, batch, seen))
    assert len(first) >= 3
    assert first == again[: len(first)]
    out = fit.run(experiment, cohort, 0, tmp_path)
    assert pd.read_csv(out / "history.csv")["epoch"].tolist() == [1, 2]
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]


def test_row_12_a_kill_between_checkpoint_and_history_loses_no_row(cohort, tmp_path, monkeypatch):
    def killed(*_):
        raise CutOffError

    with monkeypatch.context() as patched:
        patched.setattr(epochs, "write_history", killed)
        with pytest.raises(CutOffError):
            fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path)
    assert len(pd.read_csv(fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path) / "history.csv")) == 1


@pytest.mark.long
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_row_13_the_first_signal_lets_the_step_end(cohort, tmp_path, signum):
    steps = []

    def send(now):
        steps.append(now.done)
        if now.epoch == 2:
            os.kill(os.getpid(), signum)

    before = signal.getsignal(signum)
    experiment = tiny(cohort)
    with pytest.raises(StoppedError) as stopped:
        fit.run(experiment, cohort, 0, tmp_path, send)
    assert stopped.value.signum == signum
    assert signal.getsignal(signum) is before
    out = experiment.folder(tmp_path, 0)
    assert len(load_checkpoint(out / "last.ckpt")["history"]) == 1
    assert not list(out.glob(".*.part"))
    whole = fit.run(experiment, cohort, 0, tmp_path / "whole")
    ends_alike(whole, fit.run(experiment, cohort, 0, tmp_path))


def test_row_13_a_run_that_is_stopped_in_its_first_epoch_says_that_nothing_is_there(cohort, tmp_path, capsys):
    def send(now):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as left, told("finished epoch"):
        fit.run(tiny(cohort, epochs=2), cohort, 0, tmp_path, send)
    assert left.value.code == 130
    assert capsys.readouterr().err == "interrupted; the same command again begins anew: no finished epoch is there\n"


TWICE = """
from massmatch.cli import main
try:
    main()
except SystemExit as end:
    print(end.code, flush=True)
main()
"""


@pytest.mark.long
def test_row_13_a_real_process_ends_with_130_or_143_and_one_line(cohort, tmp_path):
    """The command is started twice in one process, which takes less time: Ctrl-C ends it, and then SIGTERM."""
    command = [sys.executable, "-c", TWICE, "train", str(cohort.root), "--width", "2", "--scheme", "split"]
    command += ["--epochs", "500", "--precision", "float32", "--memory", "contiguous", "--threads", "1"]
    command += ["--out", str(tmp_path)]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for signum in (signal.SIGINT, signal.SIGTERM):
            before = last_checkpoint(tmp_path)
            while last_checkpoint(tmp_path) == before and process.poll() is None:
                time.sleep(0.1)
            process.send_signal(signum)
            if signum == signal.SIGINT:
                while process.stdout.readline().strip() not in ("130", ""):
                    pass
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    line = "interrupted; the same command again goes on from the last finished epoch"
    assert said.splitlines() == [line, line]


def last_checkpoint(runs):
    """When a run below the folder last finished an epoch; None before its first, and while a checkpoint is replaced."""
    try:
        return [path.stat().st_mtime_ns for path in runs.rglob("last.ckpt")] or None
    except FileNotFoundError:
        return None


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_row_13_the_second_signal_ends_at_once(signum):
    code = """
        import time
        from massmatch.training.distributed.signals import gently
        with gently(lambda signum: print("first", flush=True)):
            print("ready", flush=True)
            while True:  # a step that never ends
                time.sleep(0.01)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with started(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signum)
        assert process.stdout.readline() == "first\n"
        assert process.poll() is None
        process.send_signal(signum)
        assert process.wait(timeout=PATIENCE) == 128 + signum


def hold(folder, ready):
    with lock.locked(folder):
        ready.set()
        time.sleep(600)


@contextmanager
def held(folder):
    """A process that holds the folder."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    with forked(context.Process(target=hold, args=(folder, ready))) as process:
        assert ready.wait(PATIENCE)
        yield process


def test_row_14_a_second_process_is_told_who_writes_the_folder(cohort, tmp_path):
    experiment = tiny(cohort, epochs=1)
    out = experiment.folder(tmp_path, 0)
    out.mkdir(parents=True)
    with held(out) as process:
        held_by = f"is in use: process {process.pid} on {socket.gethostname()} has written"
        with pytest.raises(HeldError, match=held_by):
            fit.run(experiment, cohort, 0, tmp_path)
    with pytest.warns(UserWarning, match=f"process {process.pid} on .* left its LOCK and is no longer running"):
        fit.run(experiment, cohort, 0, tmp_path)
    assert not (out / "LOCK").exists()


def test_row_14_a_lock_of_another_machine_is_watched_for_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.05)
    who = tmp_path / "LOCK"
    who.write_text(json.dumps({"pid": 7, "host": "elsewhere", "since": "noon"}))
    end = threading.Event()

    def beat():
        while not end.wait(0.02):
            who.touch()

    alive = threading.Thread(target=beat)
    alive.start()
    with (
        pytest.raises(HeldError, match="process 7 on elsewhere has written it since noon"),
        lock.locked(tmp_path),
    ):
        pass
    end.set()
    alive.join()
    with pytest.warns(UserWarning, match="process 7 on elsewhere left its LOCK"), lock.locked(tmp_path):
        assert lock.holder(who)["pid"] == os.getpid()


def test_row_14_who_holds_a_folder_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with lock.locked(tmp_path):
        first = (tmp_path / "LOCK").stat().st_mtime_ns
        while (tmp_path / "LOCK").stat().st_mtime_ns == first:
            time.sleep(0.01)


def changed(folder, **changes):
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_row_15_a_folder_of_another_experiment_is_refused_with_the_keys_that_differ(cohort, tmp_path):
    experiment = tiny(cohort)
    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, tmp_path, cut_at(2, 1))
    out = experiment.folder(tmp_path, 0)
    before = (out / "last.ckpt").read_bytes()
    changed(out, learning_rate=0.5, fingerprint="0" * 16, fold=3)
    told = "learning_rate should be 0.01 but is 0.5; fingerprint should be .* but is 0000.*; fold should be 0 but is 3"
    with pytest.raises(ValueError, match=told):
        fit.run(experiment, cohort, 0, tmp_path)
    assert (out / "last.ckpt").read_bytes() == before


def test_row_15_so_is_one_that_is_done(cohort, tmp_path):
    out = fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path)
    changed(out, seed=1)
    with pytest.raises(ValueError, match="seed should be 0 but is 1; give another --out"):
        fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path)


def test_row_15_data_that_have_changed_are_refused(cohort, tmp_path):
    other = Cohort(cohort.root, cohort.table.iloc[1:], cohort.masks, cohort.licence)
    with pytest.raises(ValueError, match="has changed: its fingerprint is"):
        fit.run(tiny(cohort), other, 0, tmp_path)


def test_row_15_a_table_that_divides_the_images_otherwise_is_refused(cohort, tmp_path):
    """The images are the same, so their fingerprint is; but those that were learned from would be tested."""
    table = cohort.table.assign(patient=[f"p{n % 7}" for n in range(len(cohort))])
    other = Cohort(cohort.root, table, cohort.masks, cohort.licence)
    assert other.fingerprint == cohort.fingerprint
    with pytest.raises(CutOffError):
        fit.run(tiny(cohort), cohort, 0, tmp_path, cut_at(2, 1))
    refused = pytest.raises(UsageError, match=r"samples\.csv divides the images into other parts than when this run")
    with refused:
        fit.run(tiny(cohort), other, 0, tmp_path)
    out = fit.run(tiny(cohort), cohort, 0, tmp_path)
    with refused:
        fit.run(tiny(cohort), other, 0, tmp_path)  # which is done
    with refused:
        evaluate_run(out, other)
    with refused:
        refuse_redivided([Planned("hybrid", tiny(cohort), 0)], other, tmp_path)


def test_row_15_other_densities_are_refused_where_the_loss_reads_them(cohort, tmp_path):
    """They change what density-asp learns from, and are no part of the fingerprint."""
    other = Cohort(cohort.root, cohort.table.assign(density=1), cohort.masks, cohort.licence)
    assert other.fingerprint == cohort.fingerprint
    experiment = tiny(cohort, loss="density-asp")
    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, tmp_path, cut_at(2, 1))
    refused = pytest.raises(UsageError, match=r"samples\.csv gives the training images other densities than when this")
    with refused:
        fit.run(experiment, other, 0, tmp_path)
    out = fit.run(experiment, cohort, 0, tmp_path)
    with refused:
        fit.run(experiment, other, 0, tmp_path)  # which is done
    with refused:
        refuse_redivided([Planned("density-asp", experiment, 0)], other, tmp_path)
    facts = yaml.safe_load((out / "experiment.yaml").read_text())["resolved"]
    del facts["densities"]
    changed(out, resolved=facts)  # of a run of before
    assert fit.run(experiment, other, 0, tmp_path) == out
    hybrid = fit.run(tiny(cohort), cohort, 0, tmp_path)
    assert fit.run(tiny(cohort), other, 0, tmp_path) == hybrid  # which does not read them


def test_row_15_the_sizes_of_the_parts_tell_as_much_for_runs_of_the_first_version(cohort, tmp_path):
    out = fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path)
    facts = yaml.safe_load((out / "experiment.yaml").read_text())["resolved"]
    del facts["division"]
    changed(out, resolved=facts)
    assert fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path) == out
    changed(out, resolved={**facts, "images": {**facts["images"], "train": 1}})
    with pytest.raises(UsageError, match=r"samples\.csv divides the images into other parts"):
        fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path)


def test_row_16_a_strict_resume_of_nothing_is_an_error(cohort, tmp_path):
    with pytest.raises(ValueError, match=r"nothing to resume: there is no .*last\.ckpt"):
        fit.run(tiny(cohort), cohort, 0, tmp_path, strict_resume=True)


def test_runs_of_the_first_version_are_found_again(cohort, tmp_path):
    """What was not asked for in their time has its default, and no part in their name."""
    out = fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path)
    facts = yaml.safe_load((out / "experiment.yaml").read_text())
    del facts["adversarial"], facts["resolved"]["workers"], facts["resolved"]["processes"]
    (out / "experiment.yaml").write_text(yaml.safe_dump(facts))
    assert fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path) == out
    fields = {
        "cohort": "cbis_ddsm_mass_128",
        "fingerprint": "359904ee56a5c603",
        "loss": "bce",
        "width": 8,
        "epochs": 12,
    }
    how = {"optimizer": "adamw", "schedule": "one-cycle", "learning_rate": 0.002}
    old = Experiment(**fields, **how, precision="bfloat16", memory="channels-last", threads=1)
    assert old.digest == "7ee5e044"


@pytest.fixture(scope="module")
def odd(cohort, tmp_path_factory):
    """A finished run of a process with a German tongue in Nepal, in a folder that tries one's patience."""
    runs = tmp_path_factory.mktemp("odd") / "Läufe [1] *(a b)* – 乳房 'x'"
    command = [
        sys.executable,
        "-m",
        "massmatch",
        "train",
        str(cohort.root),
        "--loss",
        "sm-tversky-sd-nz",
        "--width",
        "2",
    ]
    command += ["--scheme", "split", "--epochs", "2", "--learning-rate", "0.01", "--threads", "1", "--workers", "1"]
    command += ["--precision", "float32", "--memory", "contiguous", "--out", str(runs)]
    environment = os.environ | {"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Kathmandu"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (out,) = (path.parent for path in runs.rglob("DONE"))
    return out


@pytest.mark.long
def test_row_17_tongue_and_clock_change_no_file(odd, trained):
    assert (odd / "rows.csv").read_bytes() == (trained / "rows.csv").read_bytes()
    columns = [pd.read_csv(run / "history.csv").drop(columns="seconds") for run in (odd, trained)]
    pd.testing.assert_frame_equal(*columns, check_exact=True)


@pytest.mark.long
def test_row_58_odd_folders_hold_runs_as_well(odd, cohort):
    runs = odd.parent.parent
    assert fit.run(tiny(cohort), cohort, 0, runs) == odd
    assert len(list((odd / "predictions").iterdir())) == len(pd.read_csv(odd / "rows.csv"))


def test_row_58_names_longer_than_file_systems_take_are_cut_and_told_apart(cohort, tmp_path):
    long = [f"sm-tversky-s-a:smooth={'0' * 300}.{n}" for n in (1, 2)]
    names = [tiny(cohort, loss=loss).folder(tmp_path, 0).parent.name for loss in long]
    assert all(len(name.encode()) <= 255 for name in names)
    assert names[0] != names[1]
    assert names[0].endswith(f"_seed0_{tiny(cohort, loss=long[0]).digest}")
