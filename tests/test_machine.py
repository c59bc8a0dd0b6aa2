"""Numbers of processes that would take all memory of a machine are refused before one is started."""

import pytest
import torch

from massmatch import machine
from massmatch.cli.arguments import few_enough
from massmatch.errors import UsageError
from massmatch.machine import cores, require_processes
from massmatch.sweeps.machines import Machines
from massmatch.training.distributed.launch import Processes

HUGE = 10**24


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 2)


@pytest.mark.parametrize("count", [-1, 0, 9, 800, HUGE])
def test_more_processes_than_a_machine_can_bear_are_refused(count):
    require_processes("--jobs", 8)
    with pytest.raises(UsageError, match=rf"--jobs: must be from 1 to 8 .*, but is {count}"):
        require_processes("--jobs", count)


@pytest.mark.parametrize("count", [9, 800, HUGE])
def test_every_number_of_processes_is_looked_at(count, capsys):
    with pytest.raises(SystemExit):
        few_enough(count)
    assert f"--workers: must be from 0 to 8 here (4 processes per core, of which there are 2), but is {count}" in (
        capsys.readouterr().err
    )
    with pytest.raises(UsageError, match="--devices: must be from 1 to 8"):
        Processes(count).check(batch_size=count, device=torch.device("cpu"))
    with pytest.raises(UsageError, match="--jobs: must be from 1 to 8"):
        Machines(jobs=count).check()
    Machines(engine="ray", jobs=count).check()  # another machine's cores, not ours


def test_the_workers_of_all_runs_are_added_up():
    Machines(jobs=4).check(workers=2)
    with pytest.raises(UsageError, match=r"--workers of all --jobs: must be from 0 to 8 .* but is 12"):
        Machines(jobs=4).check(workers=3)


@pytest.mark.parametrize("gpus", [float("nan"), float("inf"), -1])
def test_a_number_of_gpus_is_a_number(gpus):
    with pytest.raises(UsageError, match="--gpus-per-run: must be a finite number"):
        Machines(engine="ray", gpus=gpus).check()


def test_there_is_a_core():
    assert cores() >= 1
