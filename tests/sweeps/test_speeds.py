"""Number format and memory layout: decided once for all runs of a network, and kept on any machine."""

import itertools

import pytest
import yaml

from conftest import tiny
from massmatch.errors import UsageError
from massmatch.runs import precision
from massmatch.runs.failure import Outcome
from massmatch.runs.precision import Speed
from massmatch.sweeps.engines import worker
from massmatch.sweeps.engines.local import Local
from massmatch.sweeps.engines.ray import timed
from massmatch.sweeps.job import Job
from massmatch.sweeps.machines import Machines
from massmatch.sweeps.speeds import measured
from massmatch.sweeps.tables import Planned
from sweeps.conftest import asked
from sweeps.test_sweep import carried_out

OPEN = ("--losses", "bce", "dice", "--width", 2, "--scheme", "split", "--threads", 1, "--epochs", 1, "--batch-size", 32)
WAYS = [Speed(p, m) for p in ("float32", "bfloat16") for m in ("contiguous", "channels-last")]


class InThisProcess:
    """An engine that does its runs one by one, here, and stops before the run number `stopped`."""

    places = 1

    def __init__(self, stopped=10**9):
        self.over, self.numbers, self.stopped, self.stops = [], itertools.count(), stopped, 0

    has_room = True

    def measure(self, experiment):
        return measured(experiment)

    def start(self, job):
        if next(self.numbers) >= self.stopped:
            raise KeyboardInterrupt
        assert worker.work(job) == worker.DONE
        self.over.append((job, Outcome("done")))

    def ended(self):
        over, self.over = self.over, []
        return over

    def stop(self):
        self.stops += 1


@pytest.fixture
def timings(monkeypatch):
    """A machine whose every timing has another winner; the networks that it timed."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    winners, timed = itertools.cycle(reversed(WAYS)), []

    def seconds_of(ways, model, *_, **__):
        timed.append(type(model).__name__)
        winner = next(winners)
        return {way: 1.0 if way == winner else 2.0 for way in ways}

    monkeypatch.setattr(precision, "seconds_of", seconds_of)
    return timed


def swept(monkeypatch, cohort, runs, *more, engine=None, what=OPEN):
    runs.mkdir(exist_ok=True)
    monkeypatch.setattr(Machines, "opened", lambda *_: engine or InThisProcess())
    return asked("sweep", cohort.root, *what, *more, "--out", runs)


def ways_in(runs):
    found = [yaml.safe_load(path.read_text()) for path in sorted(runs.glob("*/fold*/experiment.yaml"))]
    assert all((each["precision"], each["memory"]) == ("auto", "auto") for each in found)
    return [(each["model"], each["resolved"]["precision"], each["resolved"]["memory"]) for each in found]


def test_a_sweep_decides_once_for_all_its_runs(monkeypatch, cohort, tmp_path, timings):
    done = swept(monkeypatch, cohort, tmp_path)
    assert done.exit_code == 0, done.output
    assert len(timings) == 1
    assert ways_in(tmp_path) == [("aunet", "bfloat16", "channels-last")] * 2
    assert "runs of aunet compute in bfloat16, channels-last memory: decided once" in done.output


@pytest.mark.parametrize("broken", ["cost_of", "record_of", "speeds_of", "drive"])
def test_whatever_fails_the_engine_is_not_left_open(monkeypatch, cohort, tmp_path, timings, broken):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    engine = InThisProcess()
    monkeypatch.setattr(f"massmatch.sweeps.sweep.{broken}", fail)
    assert swept(monkeypatch, cohort, tmp_path, engine=engine).exit_code == 1
    assert engine.stops == 1


@pytest.mark.long
def test_each_network_has_its_own_decision(monkeypatch, cohort, tmp_path, timings):
    done = swept(monkeypatch, cohort, tmp_path, "--models", "unet", "unext")
    assert done.exit_code == 0, done.output
    assert len(timings) == 2
    assert len(set(timings)) == 2
    assert ways_in(tmp_path) == [("unet", *WAYS[3])] * 2 + [("unext", *WAYS[2])] * 2


@pytest.mark.long
def test_a_sweep_that_goes_on_keeps_its_decision_and_so_do_runs_that_are_added(monkeypatch, cohort, tmp_path, timings):
    engine = InThisProcess(stopped=1)
    assert swept(monkeypatch, cohort, tmp_path, engine=engine).exit_code == 130
    assert engine.stops == 1
    assert len(ways_in(tmp_path)) == 1
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)  # another machine
    assert "compute in bfloat16, channels-last" in swept(monkeypatch, cohort, tmp_path, "--dry-run").output
    assert swept(monkeypatch, cohort, tmp_path).exit_code == 0
    more = swept(monkeypatch, cohort, tmp_path, "--seeds", 1, what=("--losses", "hybrid", *OPEN[3:]))
    assert more.exit_code == 0, more.output
    assert len(timings) == 1
    assert ways_in(tmp_path) == [("aunet", "bfloat16", "channels-last")] * 3


@pytest.mark.long
def test_runs_of_other_settings_decide_nothing(monkeypatch, cohort, tmp_path, timings):
    assert swept(monkeypatch, cohort, tmp_path).exit_code == 0
    other = swept(monkeypatch, cohort, tmp_path, "--batch-size", 31)
    assert other.exit_code == 0, other.output
    assert len(timings) == 2


@pytest.mark.long
def test_runs_that_disagree_are_told_and_the_most_common_way_is_taken(monkeypatch, cohort, tmp_path, timings):
    assert swept(monkeypatch, cohort, tmp_path, what=("--losses", "bce", "dice", "tversky", *OPEN[3:])).exit_code == 0
    first, *_ = sorted(tmp_path.glob("*/fold0/experiment.yaml"))
    facts = yaml.safe_load(first.read_text())
    facts["resolved"] |= {"precision": "float32", "memory": "contiguous"}
    first.write_text(yaml.safe_dump(facts))
    more = swept(monkeypatch, cohort, tmp_path, what=("--losses", "hybrid", *OPEN[3:]))
    assert more.exit_code == 0, more.output
    said = " ".join(more.output.split())
    assert "not all compute in the same way (2 in bfloat16, channels-last; 1 in float32, contiguous)" in said
    assert sorted(ways_in(tmp_path)) == [("aunet", *WAYS[3])] * 3 + [("aunet", *WAYS[0])]
    assert len(timings) == 1


def test_what_the_command_decides_is_not_timed(monkeypatch, cohort, tmp_path, timings):
    done = swept(monkeypatch, cohort, tmp_path, "--precision", "bfloat16", "--memory", "contiguous", "--dry-run")
    assert done.exit_code == 0, done.output
    assert not timings
    assert "memory layout" not in done.output
    assert "compute in" not in done.output


def test_a_dry_run_says_when_it_is_decided(monkeypatch, cohort, tmp_path, timings):
    said = swept(monkeypatch, cohort, tmp_path, "--dry-run").output
    assert "number format and memory layout of aunet: decided once for all, when the first run starts" in said


def test_an_engine_that_cannot_time_a_network_is_not_left_open(monkeypatch, cohort, tmp_path):
    engine = InThisProcess()

    def fails(_):
        raise UsageError("the cluster could not time aunet")

    engine.measure = fails
    assert swept(monkeypatch, cohort, tmp_path, engine=engine).exit_code == 2
    assert engine.stops == 1


@pytest.mark.long
def test_the_decision_reaches_a_run_in_a_process_of_its_own(cohort, tmp_path):
    experiment = tiny(cohort, precision="auto", memory="auto", epochs=1)
    job = Job(Planned("a run", experiment, 0), cohort.root, tmp_path, {}, WAYS[2])
    assert Job.from_json(job.to_json()) == job
    assert carried_out(job) == Outcome("done")
    assert ways_in(tmp_path) == [("aunet", *WAYS[2])]


@pytest.mark.long
def test_a_machine_of_a_cluster_times_in_a_process_of_its_own(cohort):
    experiment = tiny(cohort, memory="auto")
    assert Speed(*timed(experiment.model_dump_json(), {})) in WAYS[:2]
    assert Local(1, []).measure(tiny(cohort)) == WAYS[0]
    with pytest.raises(RuntimeError, match="unknown model 'nonet'"):
        timed(tiny(cohort, memory="auto", model="nonet").model_dump_json(), {})


@pytest.mark.long
def test_the_decision_changes_no_folder(monkeypatch, cohort, tmp_path, timings):
    assert swept(monkeypatch, cohort, tmp_path / "sweep").exit_code == 0
    alone = asked("train", cohort.root, "--loss", "bce", *OPEN[3:], "--out", tmp_path / "alone")
    assert alone.exit_code == 0, alone.output
    (folder,) = (tmp_path / "alone").glob("*_bce_*")
    assert (tmp_path / "sweep" / folder.name).is_dir()
