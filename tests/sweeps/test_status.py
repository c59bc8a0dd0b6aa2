"""How far runs are, told from their folders; how that is shown; what is estimated."""

import io
import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from conftest import tiny
from made_up_runs import write_run
from massmatch.cli import board
from massmatch.cli.screen import Screen
from massmatch.runs.atomic import write_atomic
from massmatch.runs.experiment import parts_of
from massmatch.runs.failure import Outcome, write_failure
from massmatch.runs.folder import RunFolder
from massmatch.runs.lock import locked
from massmatch.runs.network import make_model
from massmatch.sweeps import cost, machines
from massmatch.sweeps.engines import drive
from massmatch.sweeps.status import BEGINNING, Status, all_statuses, record_of, status_of, time_left
from massmatch.sweeps.tables import Planned
from started import started
from sweeps.conftest import asked


def history(folder, dscs, seconds):
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"epoch": range(1, len(dscs) + 1), "val_dsc_pooled": dscs, "seconds": seconds})
    table.to_csv(folder / "history.csv", index=False)


def lock(folder, pid, host):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "LOCK").write_text(json.dumps({"pid": pid, "host": host, "since": "now"}))


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def made_up(state, epoch=0, **more):
    return Status("folder", "BCE", 0, 0, state, epoch, 10, **more)


def test_a_folder_that_is_not_there_is_not_begun(tmp_path):
    found = status_of(tmp_path / "none", "BCE", 0, 1, 12)
    assert (found.state, found.epoch, found.epochs, found.seconds_left) == ("never started", 0, 12, None)


def test_a_run_with_done_is_done_whatever_else_lies_there(tmp_path):
    folder = write_run(tmp_path)
    write_failure(folder, "once")
    lock(folder, os.getpid(), socket.gethostname())
    assert RunFolder(folder).state_and_reason() == ("done", "")


def test_a_run_whose_process_lives_is_running(tmp_path):
    lock(tmp_path, os.getpid(), socket.gethostname())
    assert RunFolder(tmp_path).state == "running"


def test_a_run_whose_process_is_dead_is_interrupted_though_its_lock_is_there(tmp_path):
    history(tmp_path, [0.1], [1.0])
    lock(tmp_path, dead_process(), socket.gethostname())
    assert RunFolder(tmp_path).state == "interrupted"


def test_a_number_that_was_given_to_another_process_is_not_taken_for_the_dead_one(tmp_path):
    """It stood as running for ever, though nobody wrote it any more."""
    with locked(tmp_path):
        held = (tmp_path / "LOCK").read_text()
        assert RunFolder(tmp_path).state == "running"
    history(tmp_path, [0.1], [1.0])
    for facts, state in (({}, "running"), ({"began": f"{json.loads(held)['began']}0"}, "interrupted")):
        (tmp_path / "LOCK").write_text(json.dumps({**json.loads(held), **facts}))
        assert RunFolder(tmp_path).state == state


def test_a_process_that_waits_to_be_buried_is_dead(tmp_path):
    with started([sys.executable, "-c", ""]) as process:
        while "Z" not in Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2]:
            time.sleep(0.05)
        history(tmp_path, [0.1], [1.0])
        lock(tmp_path, process.pid, socket.gethostname())
        assert RunFolder(tmp_path).state == "interrupted"


def test_a_run_on_another_machine_lives_while_it_shows_signs_of_life(tmp_path):
    history(tmp_path, [0.1], [1.0])
    lock(tmp_path, 1, "elsewhere")
    assert RunFolder(tmp_path).state == "running"
    long_ago = time.time() - 300
    os.utime(tmp_path / "LOCK", (long_ago, long_ago))
    assert RunFolder(tmp_path).state == "interrupted"


def test_a_failed_run_tells_its_reason(tmp_path):
    write_failure(tmp_path, "no more")
    assert RunFolder(tmp_path).state_and_reason() == ("failed", "no more")
    (tmp_path / "FAILED.json").write_text("{")
    assert RunFolder(tmp_path).state_and_reason() == ("failed", "FAILED.json cannot be read")


def test_epochs_best_dsc_and_time_left_follow_from_the_history(tmp_path):
    history(tmp_path, [0.2, math.nan, 0.5, 0.4], [10.0, 2.0, 3.0, 4.0])
    found = status_of(tmp_path, "BCE", 0, 0, 10)
    assert (found.state, found.epoch, found.best_dsc, found.epoch_seconds) == ("interrupted", 4, 0.5, 3.5)
    assert found.seconds_left == 6 * 3.5


def test_a_running_epoch_counts_for_the_time_that_it_has_taken(tmp_path):
    history(tmp_path, [0.2, 0.3], [100.0, 100.0])
    lock(tmp_path, os.getpid(), socket.gethostname())
    begun = time.time() - 40
    os.utime(tmp_path / "history.csv", (begun, begun))
    assert status_of(tmp_path, "BCE", 0, 0, 3).seconds_left == pytest.approx(60, abs=5)


def test_before_a_dsc_is_known_there_is_none(tmp_path):
    history(tmp_path, [math.nan], [1.0])
    assert status_of(tmp_path, "BCE", 0, 0, 3).best_dsc is None


def test_a_damaged_history_is_no_reason_to_fail(tmp_path):
    (tmp_path / "history.csv").write_bytes(b"\xff\x00,,,\n1")
    assert status_of(tmp_path, "BCE", 0, 0, 3).epoch == 0


def test_time_left_is_shared_by_those_that_run_at_a_time():
    states = [
        made_up("running", 4, epoch_seconds=2.0, seconds_left=12.0),
        made_up("never started"),
        made_up("done", 10),
    ]
    assert time_left(states, 1) == 12 + 20 + BEGINNING
    assert time_left(states, 2) == 20 + BEGINNING  # the longer of the two
    assert time_left(states, 1, [9.0, 5.0, 9.0]) == 12 + 50 + BEGINNING
    assert time_left([made_up("failed"), made_up("done", 10)], 1) == 0
    assert time_left([made_up("never started")], 1) is None


def test_before_the_first_epoch_the_sweeps_own_estimate_tells_the_time_left(cohort, tmp_path):
    listed = [Planned("BCE", tiny(cohort, epochs=7), fold) for fold in range(2)]
    name, content = record_of(listed, tmp_path, [30.0, float("nan")])
    assert name == record_of(listed, tmp_path)[0]  # another estimate is no other plan
    write_atomic(tmp_path / name, content)
    assert [each.seconds_left for each in all_statuses(tmp_path)] == [210 + BEGINNING, None]
    write_atomic(tmp_path / name, record_of(listed, tmp_path, [30.0, 90.0])[1])
    assert time_left(all_statuses(tmp_path), 1) == 7 * 120 + 2 * BEGINNING
    assert "2 runs: 2 never started; about 14 min left" in asked("status", tmp_path).output
    history(listed[0].folder(tmp_path), [0.1], [2.0])
    assert all_statuses(tmp_path)[0].seconds_left == 12


def test_runs_of_one_name_fold_and_seed_are_told_apart_by_their_folders(tmp_path):
    for loss, width in (("bce", 8), ("bce", 64), ("dice", 8)):
        path = write_run(tmp_path, loss=loss, width=width) / "experiment.yaml"
        facts = yaml.safe_load(path.read_text())
        facts["resolved"] |= {"precision": "float32", "memory": "contiguous", "threads": 1}
        path.write_text(yaml.safe_dump(facts))
    assert [each.label for each in all_statuses(tmp_path)] == ["BCE (bce_w64_seed0)", "BCE (bce_w8_seed0)", "Dice"]


def test_status_lists_what_a_sweep_has_planned_and_what_else_is_there(cohort, trained, tmp_path):
    runs = trained.parent.parent
    listed = [Planned("SM-SD", tiny(cohort), 0), Planned("Dice", tiny(cohort, loss="dice", epochs=7), 0)]
    name, content = record_of(listed, runs)
    assert re.fullmatch(r"sweep_[0-9a-f]{8}\.json", name)
    copied = tmp_path / "runs"
    (copied / trained.parent.name).mkdir(parents=True)
    (copied / trained.parent.name / "fold0").symlink_to(trained)
    (other := copied / "x" / "fold3").mkdir(parents=True)
    (other / "experiment.yaml").write_text((trained / "experiment.yaml").read_text().replace("fold: 0", "fold: 3"))
    (damaged := copied / "y" / "fold1").mkdir(parents=True)
    (damaged / "experiment.yaml").write_text("{")
    write_atomic(copied / name, content)
    found = [(each.label, each.fold, each.state, each.epoch, each.epochs) for each in all_statuses(copied)]
    assert found == [
        ("SM-SD", 0, "done", 2, 2),
        ("Dice", 0, "never started", 0, 7),
        ("SM-SD (Tversky, G-NZ)", 3, "interrupted", 0, 2),
        ("y", 1, "damaged", 0, 0),
    ]
    said = asked("status", copied)
    assert said.exit_code == 0
    assert "y, fold 1, seed 0: damaged, epoch 0: " in said.output  # said "epoch 0 of 0", which nobody has planned
    assert "SM-SD, fold 0, seed 0: done, epoch 2 of 2, best validation DSC" in said.output
    assert "4 runs: 1 done, 1 never started, 1 interrupted, 1 damaged" in said.output
    facts = json.loads(asked("status", copied, "--json").output)
    assert [run["state"] for run in facts["runs"]] == ["done", "never started", "interrupted", "damaged"]
    assert facts["runs"][0]["folder"] == f"{trained.parent.name}/fold0"
    assert asked("status", copied, "--watch").output == said.output  # no terminal: once


def test_status_of_no_runs_says_so(tmp_path):
    for where, message in ((tmp_path / "no", "no such folder"), (tmp_path, "holds no runs")):
        said = asked("status", where)
        assert said.exit_code == 2
        assert message in said.output


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.42, "0.4 s"),
        (59, "59 s"),
        (90, "2 min"),
        (3600, "1 h 0 min"),
        (7800, "2 h 10 min"),
        (360000, "4 d 4 h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds, written):
    assert board.duration(seconds) == written


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 100 columns and 12 lines, and what was written to it."""
    written = io.StringIO()
    console = Screen(file=written, force_terminal=True, width=100, height=12, color_system=None)
    monkeypatch.setattr(board, "screen", console)
    return written


def test_on_a_terminal_a_sweep_shows_a_table(terminal):
    before = [made_up("never started")]
    with board.Board(before) as shown:
        shown.show([made_up("running", 3, best_dsc=0.4321, epoch_seconds=61.0, seconds_left=427.0)], 427.0)
    text = terminal.getvalue()
    assert re.search(r"BCE +0 +0 +running +3/10 +43\.2 % +1 min +7 min", text)
    assert "1 run: 1 running; about 7 min left" in text


def test_a_table_that_is_longer_than_the_terminal_counts_what_is_done_or_waits(terminal):
    states = (
        [made_up("done", 10)] * 20 + [replace(made_up("running", 1), label="Dice")] + [made_up("never started")] * 20
    )
    with board.Board(states) as shown:
        shown.show(states, None)
    assert "BCE" not in terminal.getvalue()
    assert "Dice" in terminal.getvalue()
    assert "41 runs: 20 done, 1 running, 20 never started" in terminal.getvalue()


def test_on_a_terminal_the_table_says_what_failed_and_why(terminal):
    failed = [replace(made_up("failed", 2, reason=f"[red]no memory {n}[/]"), fold=n) for n in range(5)]
    terminal_table = board.table([made_up("running", 1), *failed], None)
    board.screen.print(terminal_table)
    lines = [" ".join(line.split()) for line in terminal.getvalue().splitlines()]
    for n in range(5):
        assert f"BCE, fold {n}, seed 0: [red]no memory {n}[/]" in lines
        assert any(re.fullmatch(rf"BCE {n} 0 failed 2/10 .*", line) for line in lines)
    board.screen.print(board.table([made_up("running", 1), *failed], None, 6))  # one that must fit tells the first
    assert terminal.getvalue().count("no memory 4") == 1


def test_row_59_without_a_terminal_each_change_is_a_line(capsys, monkeypatch):
    monkeypatch.setattr(board, "screen", Screen(width=40))
    running = made_up("running", 2, epoch_seconds=1.0, seconds_left=8.0)
    with board.Board([made_up("interrupted", 2)]) as shown:
        for _ in range(3):
            shown.show([running], 8.0)
        shown.show([made_up("failed", 2, reason="[red]no memory[/]")], 0.0)
    assert capsys.readouterr().out.splitlines() == [
        "BCE, fold 0: running again, after epoch 2 of 10",
        "BCE, fold 0: failed: [red]no memory[/]",
    ]


class Pretended:
    """An engine that does nothing, two at a time."""

    places = 2

    def __init__(self):
        self.now, self.most = [], 0

    @property
    def has_room(self):
        return len(self.now) < 2

    def start(self, job):
        self.now.append(job)
        self.most = max(self.most, len(self.now))

    def ended(self):
        job = self.now.pop(0)
        return [(job, Outcome("failed" if job == 3 else "done"))]


def test_the_loop_does_every_job_two_at_a_time_whatever_becomes_of_one():
    engine, looks = Pretended(), []
    outcomes = drive.drive([1, 2, 3, 4, 5], engine, lambda: looks.append(1))
    assert [(job, outcome.state) for job, outcome in outcomes] == [
        *((1, "done"), (2, "done"), (3, "failed"), (4, "done"), (5, "done"))
    ]
    assert engine.most == 2
    assert len(looks) == 5


def test_costs_come_from_the_epochs_of_like_runs_where_there_are_any(cohort, trained, monkeypatch):
    runs = trained.parent.parent
    like = Planned("Dice", tiny(cohort, loss="dice", epochs=9), 0)
    done = Planned("SM-SD", tiny(cohort), 0)
    unlike = Planned("wide", tiny(cohort, width=3), 0)
    states = [status_of(each.folder(runs), each.label, 0, 0, 9) for each in (like, done, unlike)]
    monkeypatch.setattr(cost, "timed_epoch", lambda experiment, *_: 77.0)
    seconds = pd.read_csv(trained / "history.csv")["seconds"].median()
    found = cost.cost_of([like, done], states[:2], runs, cohort)
    assert found.epochs[0] == seconds
    assert math.isnan(found.epochs[1])
    assert found.source == "the epochs of runs in this folder"
    assert cost.cost_of([unlike], states[2:], runs, cohort) == ([77.0], "one timed step of each network")
    assert cost.cost_of([unlike], states[2:], runs, cohort, per_gpu=3).epochs == [3 * 77.0]
    assert cost.cost_of([like], states[:1], runs, cohort, per_gpu=3).epochs == [seconds]  # which were shared themselves


def test_an_estimate_gives_way_to_what_epochs_of_like_runs_take(cohort, tmp_path):
    runs = [Planned("a", tiny(cohort), 0), Planned("b", tiny(cohort), 1), Planned("wide", tiny(cohort, width=3), 0)]
    states = [status_of(run.folder(tmp_path), run.label, 0, run.fold, 3) for run in runs]
    states[0] = replace(states[0], state="running", epoch=1, epoch_seconds=4.0, seconds_left=8.0)
    guess = cost.Cost([10.0, 10.0, 30.0], "one timed step of each network")
    assert guess.corrected(runs, states) == [4.0, 4.0, 30.0]
    assert time_left(states, 1, guess.corrected(runs, states)) == 8 + 3 * 4 + 3 * 30 + 2 * BEGINNING


def test_what_is_timed_is_a_small_part_of_a_large_batch():
    batch, times = cost.smaller(torch.zeros(4, 1, 512, 256), cost.MOST)
    assert batch.shape == (2, 1, 128, 64)
    assert times == 4 * 512 * 256 / batch.numel()
    assert cost.smaller(torch.zeros(1, 1, 64, 64), cost.MOST)[0].shape == (1, 1, 64, 64)


@pytest.mark.parametrize(
    ("engine", "jobs", "share", "there", "runs", "expected"),
    [
        ("local", 9, 0, ["0"], 20, 9),
        ("local", 9, 0, ["0"], 2, 2),
        ("local", 8, 0, ["0", "1"], 20, 4),
        ("local", 1, 0, ["0", "1"], 20, 1),
        ("local", 9, 0, [], 20, 1),
        ("ray", 1, 0.25, [], 20, 4),
        ("ray", 1, 2.0, [], 20, 1),
        ("ray", 1, 0, [], 20, 1),
    ],
)
def test_runs_that_share_a_gpu_are_counted(monkeypatch, engine, jobs, share, there, runs, expected):
    monkeypatch.setattr(machines, "visible_gpus", lambda: there)
    assert machines.Machines(engine, jobs, "auto", 1, share).per_gpu(runs) == expected


def test_the_time_of_an_epoch_is_that_of_its_steps_and_of_its_validation(cohort, monkeypatch):
    monkeypatch.setattr(cost, "time_of_a_step", lambda experiment, batch: (float(len(batch)), 0.5))  # a second an image
    parts = parts_of(tiny(cohort), cohort, 0)
    assert cost.timed_epoch(tiny(cohort), cohort, 0) == pytest.approx(len(parts.train) + 0.5 * len(parts.validation))


def test_the_timed_step_is_in_the_number_format_and_layout_of_the_experiment(cohort, monkeypatch):
    """bfloat16 takes ten times as long as float32 on a processor without instructions for it, and ten times less on
    others: what one of them took says nothing about the other."""
    seen = []

    def watched(*args):
        model = make_model(*args)
        weights = [p for p in model.parameters() if p.ndim == 4 and min(p.shape) > 1]
        model.register_forward_hook(lambda _, __, out: seen.append((out.dtype, {p.is_contiguous() for p in weights})))
        return model

    monkeypatch.setattr(cost, "make_model", watched)
    for precision, memory in (("bfloat16", "channels-last"), ("float32", "contiguous")):
        seen.clear()
        cost.time_of_a_step(tiny(cohort, model="unet", precision=precision, memory=memory), torch.zeros(2, 1, 32, 32))
        assert seen
        assert all(found == (getattr(torch, precision), {memory == "contiguous"}) for found in seen)
    one, other = (cost.what_decides(tiny(cohort, precision=p).model_dump()) for p in ("float32", "bfloat16"))
    assert one != other
