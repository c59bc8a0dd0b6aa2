"""Sweeps from beginning to end: done, gone on with, failed, killed, interrupted."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from conftest import tiny
from massmatch.cli import sweeping
from massmatch.machine import cores
from massmatch.runs.failure import Outcome
from massmatch.runs.folder import FAILED, RunFolder
from massmatch.runs.lock import holder, locked
from massmatch.sweeps.engines import process as launch
from massmatch.sweeps.engines import worker
from massmatch.sweeps.engines.local import Local
from massmatch.sweeps.job import Job
from massmatch.sweeps.status import Status
from massmatch.sweeps.tables import Planned
from massmatch.training import run as fit
from started import PATIENCE, started
from sweeps.conftest import TRAINING, asked, command, massmatch, workers_at

LOSSES = ("--losses", "bce", "sm-tversky-s-a:cell_statistic=mean")


def until(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def job_of(cohort, runs, **changes):
    return Job(Planned("a run", tiny(cohort, **changes), 0), cohort.root, runs, {})


def carried_out(job):
    """The outcome of one job in a process of its own."""
    with begun(job) as engine:
        return outcome_of(engine)


@contextmanager
def begun(job):
    """An engine that is at one job."""
    engine = Local(1, [])
    engine.start(job)
    try:
        yield engine
    finally:
        engine.stop()


def outcome_of(engine):
    """Of its one job, once that has ended."""
    outcomes = []
    until(lambda: outcomes.extend(engine.ended()) or outcomes)
    ((_, outcome),) = outcomes
    return outcome


@pytest.fixture(scope="module")
def swept(odd):
    """A finished sweep of two runs: what it said, and where."""
    command_line = (
        "sweep",
        odd / "tiny cohort",
        *LOSSES,
        *TRAINING,
        "--epochs",
        1,
        "--jobs",
        2,
        "--out",
        odd / "my runs",
    )
    return massmatch(*command_line, closed_stdin=True), odd / "my runs", command_line


@pytest.mark.long  # whole processes that train
def test_row_58_a_sweep_works_in_a_folder_with_blanks_and_brackets(swept):
    done, runs, _ = swept
    assert done.returncode == 0, done.stderr
    for folder in runs.glob("*/fold0"):
        assert (folder / "DONE").is_file()
        assert len(pd.read_csv(folder / "rows.csv"))
        assert "done" in (folder / "log.txt").read_text().splitlines()[-1]
    assert len(list(runs.glob("*/fold0"))) == 2


@pytest.mark.long  # whole processes that train
def test_row_59_a_sweep_without_a_terminal_says_a_line_per_event_and_no_more(swept):
    said = swept[0].stdout
    assert "\x1b" not in said
    assert "2 runs, 0 done, 2 to do" in said
    assert re.search(r"about .* with 2 at a time on this machine; estimated from one timed step of each network", said)
    assert re.search(r"^BCE, fold 0: done, best validation DSC \d+\.\d % \(\d of 2 done", said, re.MULTILINE)
    assert said.splitlines()[-1].startswith("2 of 2 runs are done in ")
    assert len(said.splitlines()) <= 8
    assert swept[0].stderr == ""


@pytest.mark.long  # whole processes that train
def test_the_same_sweep_again_leaves_what_is_done_alone(swept):
    _, runs, command_line = swept
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    again = asked(*command_line)
    assert again.exit_code == 0
    assert "2 runs, 2 done, 0 to do" in again.output
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}.keys() <= before.keys()
    assert all(path.stat().st_mtime_ns == then for path, then in before.items() if "fold0" in str(path))


@pytest.mark.long  # whole processes that train
def test_a_sweep_with_other_settings_says_that_its_runs_begin_anew(swept):
    _, runs, command_line = swept
    other = [*command_line[: command_line.index("--epochs")], "--epochs", 2, "--jobs", 2, "--out", runs, "--dry-run"]
    said = asked(*other)
    assert said.exit_code == 0, said.output
    assert "begin anew, in folders of their own: 2 of 2 runs; " in said.output
    assert "has epochs 1 instead of 2" in " ".join(said.output.split())


@pytest.mark.long  # whole processes that train
def test_a_sweeps_rows_are_those_of_the_run_alone(swept, cohort, tmp_path):
    (folder,) = swept[1].glob("*_bce_*/fold0")
    alone = asked("train", swept[2][1], "--loss", "bce", *TRAINING, "--epochs", 1, "--out", tmp_path)
    assert alone.exit_code == 0, alone.output
    (other,) = tmp_path.glob("*/fold0")
    assert other.parent.name == folder.parent.name
    assert (other / "rows.csv").read_bytes() == (folder / "rows.csv").read_bytes()


def test_a_dry_run_lists_the_runs_and_touches_nothing(odd, tmp_path):
    what = ("--table", 1, "--folds", 0, "--seeds", 0, 1, "--width", 2, "--jobs", cores())
    listed = asked("sweep", odd / "tiny cohort", *what, "--dry-run", "--out", tmp_path / "runs")
    assert listed.exit_code == 0, listed.output
    assert listed.output.count("never started, epoch 0 of 50") == 38
    assert "SM-SD (Tversky, G-NZ), fold 0, seed 1: never started" in listed.output
    assert "38 runs, 0 done, 38 to do" in listed.output
    assert "Threads are part of an experiment" in listed.output
    assert not (tmp_path / "runs").exists()


def test_a_plan_file_and_options_that_win_over_it(odd, tmp_path):
    (tmp_path / "plan.yaml").write_text(
        "losses: [bce, dice]\nseeds: [3, 4]\ntraining: {width: 2, epochs: 7, threads: 1}\n"
    )
    won = ("--losses", "tversky", "--folds", 1, 2, "--epochs", 9)
    where = (odd / "tiny cohort", tmp_path / "plan.yaml")
    listed = asked("sweep", *where, *won, "--dry-run", "--out", tmp_path / "runs")
    assert listed.exit_code == 0, listed.output
    lines = [line for line in listed.output.splitlines() if "never started, " in line]
    assert lines == [f"Tversky, fold {k}, seed {s}: never started, epoch 0 of 9" for s in (3, 4) for k in (1, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--losses", "bce", "--lerning-rate", 1), "--learning-rate"),
        (("--losses", "bce", "--epochs", "ten"), "--epochs: must be a valid integer"),
        (("--losses", "--folds", 0), "requires one or more values"),
        (("--losses", "bce", "--epochs", 0), "--epochs: must be greater than or equal to 1"),
        (("--losses", "bse"), "unknown loss 'bse'; did you mean 'bce'?"),
        (("--table", 7), "--table: must be 1, 2 or 3, but is 7"),
        (("--table", 1, "--figure", "3a"), "give one of table, figure and losses, not table and figure"),
        (("no.yaml",), "no such plan: no.yaml"),
        (("--losses", "bce", "--engine", "rai"), "'rai' is not one of 'local', 'ray'"),
    ],
)
def test_row_61_mistakes_on_the_command_line_exit_with_2_before_anything_runs(arguments, message, odd, tmp_path):
    result = asked("sweep", odd / "tiny cohort", *arguments, "--out", tmp_path / "runs")
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.long  # whole processes
def test_one_run_that_fails_stops_no_other_and_is_listed_with_its_reason(swept, tmp_path):
    _, runs, command_line = swept
    shutil.copytree(runs, tmp_path / "runs")
    (broken,) = (tmp_path / "runs").glob("*_bce_*/fold0")
    (other,) = (tmp_path / "runs").glob("*_sm-*/fold0")
    (broken / "DONE").unlink()
    shutil.rmtree(other)
    whole = (broken / "experiment.yaml").read_bytes()
    (broken / "experiment.yaml").write_text("{")
    again = asked(*command_line[:-1], tmp_path / "runs")
    assert again.exit_code == 4
    assert f"BCE, fold 0: failed: {broken / 'experiment.yaml'}: cannot be read" in again.stderr
    assert str(broken / "log.txt") in again.stderr
    assert "1 of 2 runs are done" in again.stdout
    assert (other / "DONE").is_file()
    facts = json.loads((broken / FAILED).read_text())
    assert "cannot be read" in facts["reason"]
    assert "Traceback" in facts["traceback"]
    assert facts["when"].startswith("20")
    assert "Traceback" not in again.stderr

    (broken / "experiment.yaml").write_bytes(whole)
    repaired = asked(*command_line[:-1], tmp_path / "runs")
    assert repaired.exit_code == 0, repaired.output
    assert not (broken / FAILED).exists()


@pytest.mark.long  # whole processes
def test_row_54_a_run_that_the_system_kills_is_told_with_a_hint_and_goes_on_to_the_same_rows(cohort, tmp_path):
    job = job_of(cohort, tmp_path / "killed", epochs=6)
    with begun(job) as engine:
        until(lambda: (job.folder / "last.ckpt").is_file())
        os.kill(int(holder(job.folder / "LOCK")["pid"]), signal.SIGKILL)
        outcome = outcome_of(engine)
    assert outcome.state == "failed"
    assert "lack of memory: run the same sweep again with fewer --jobs" in outcome.reason
    assert RunFolder(job.folder).failure() == outcome.reason

    assert carried_out(job) == Outcome("done")
    assert not (job.folder / FAILED).exists()
    alone = fit.run(job.run.experiment, cohort, 0, tmp_path / "alone")
    assert (alone / "rows.csv").read_bytes() == (job.folder / "rows.csv").read_bytes()


@pytest.mark.long  # whole processes
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_run_outlives_its_sweep_and_each_can_go_on(odd, tmp_path, signum, code):
    command_line = command(
        "sweep", odd / "tiny cohort", *LOSSES, *TRAINING, "--epochs", 5000, "--jobs", 2, "--out", tmp_path
    )
    with started(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sweep:
        until(lambda: len(list(tmp_path.glob("*/fold0/last.ckpt"))) == 2 or sweep.poll() is not None)
        assert len(workers_at(tmp_path)) == 2
        sweep.send_signal(signum)
        _, said = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == code
    assert "Traceback" not in said
    if signum == signal.SIGINT:
        assert "the same command again goes on from the last checkpoint of each run" in said
        assert not workers_at(tmp_path)
    until(lambda: not workers_at(tmp_path))
    for folder in tmp_path.glob("*/fold0"):
        assert (folder / "last.ckpt").is_file()
        assert not (folder / "LOCK").exists()
        assert "stopped; the same sweep goes on" in (folder / "log.txt").read_text()
    states = json.loads(asked("status", tmp_path, "--json").stdout)["runs"]
    assert [run["state"] for run in states] == ["interrupted", "interrupted"]


def test_a_run_that_another_process_is_at_is_left_to_it(cohort, tmp_path):
    job = job_of(cohort, tmp_path)
    job.folder.mkdir(parents=True)
    with locked(job.folder):
        assert worker.work(job) == worker.HELD
    assert launch.outcome(job, worker.HELD) == Outcome("held", "another process is training it")
    assert not (job.folder / FAILED).exists()


@pytest.mark.parametrize(("state", "is_left"), [("running", True), ("done", False)])
def test_a_run_that_another_sweep_has_done_by_the_end_has_not_failed(cohort, tmp_path, monkeypatch, state, is_left):
    """Two sweeps of one plan ended with 4 and "held", though all their runs were done."""
    job = job_of(cohort, tmp_path)
    found = Status(job.folder, "a run", 0, 0, state, 2, 2)
    monkeypatch.setattr(sweeping, "statuses", lambda *_: [found])
    sweep = SimpleNamespace(out=tmp_path, planned=[job.run])
    assert sweeping.tell([(job, Outcome("held", "another process is training it"))], sweep) is is_left


@pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGSEGV, 3, 0])
def test_a_process_that_ends_is_taken_at_its_done_and_not_at_its_code(cohort, tmp_path, code):
    """With 0, too: `os._exit(0)` in a loss of one's own told that the run was done."""
    job = job_of(cohort, tmp_path)
    job.folder.mkdir(parents=True)
    (job.folder / "DONE").touch()
    assert launch.outcome(job, code) == Outcome("done")
    assert not (job.folder / FAILED).exists()
    (job.folder / "DONE").unlink()
    assert launch.outcome(job, code).state == "failed"
    assert (job.folder / FAILED).exists()


@pytest.mark.long
def test_a_run_of_a_sweep_finds_the_modules_that_are_found_here(cohort, tmp_path, monkeypatch):
    """A script that calls `sweep` may lie in another folder than the current one, with its losses beside it."""
    (tmp_path / "beside_a_script.py").write_text("def absolute(p, t):\n    return (p.sigmoid() - t).abs().mean()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path, tmp_path])  # a Path, which Python passes over
    assert carried_out(job_of(cohort, tmp_path / "runs", loss="beside_a_script:absolute")) == Outcome("done")


def test_a_cohort_that_has_changed_fails_its_runs(cohort, tmp_path):
    job = job_of(cohort, tmp_path, fingerprint="0" * 16)
    assert worker.work(job) == worker.FAILURE
    assert "has changed since the sweep began" in str(RunFolder(job.folder).failure())


def test_a_job_survives_its_way_to_another_process(cohort, tmp_path):
    job = job_of(cohort, tmp_path / "a b", loss="tversky:smooth=0.1")._replace(options={"workers": 2})
    assert Job.from_json(job.to_json()) == job
    assert "\n" not in job.to_json()


def test_each_place_has_a_gpu_of_its_own_where_there_are_several():
    engine = Local(3, ["0", "1"])
    assert [engine.environment(place).get("CUDA_VISIBLE_DEVICES") for place in range(3)] == ["0", "1", "0"]
    assert Local(2, ["0"]).environment(1) == {}


@pytest.mark.long
def test_table_1_runs_from_end_to_end(cohort, tmp_path):
    command_line = ("sweep", cohort.root, "--table", 1, *TRAINING, "--epochs", 1, "--jobs", 2, "--out", tmp_path)
    done = massmatch(*command_line)
    assert done.returncode == 0, done.stderr
    assert "19 of 19 runs are done" in done.stdout
    rows = [pd.read_csv(path) for path in tmp_path.glob("*/fold0/rows.csv")]
    assert len(rows) == 19
    assert all(list(each["id"]) == list(rows[0]["id"]) for each in rows)
    states = json.loads(massmatch("status", tmp_path, "--json").stdout)
    assert [run["state"] for run in states["runs"]] == ["done"] * 19
    assert states["runs"][-1]["label"] == "SM-SD (Tversky, G-NZ)"
    assert Path(tmp_path, states["runs"][-1]["folder"], "DONE").is_file()
    told = massmatch("report", tmp_path, "--cohort", cohort.root, "--draws", 100, "--out", tmp_path / "report")
    assert told.returncode == 0, told.stderr
    table = (tmp_path / "report/tables/paper_table_1.md").read_text()
    ours = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in table.splitlines() if "SM-" in line}
    for core in ("BCE", "Tversky"):
        for variant in ("SM-B", "SM-D", "SM-S", "SM-SD"):
            assert len(ours[f"{variant} {core}"]) == 10  # five metrics of G-A, five of G-NZ
            assert not any("–" in cell for cell in ours[f"{variant} {core}"])
