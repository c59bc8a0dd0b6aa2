"""Sweeps on a Ray cluster: a real one of two nodes on this machine, one of which dies in mid-sweep."""

import subprocess
import time

import numpy as np
import pandas as pd
import pytest

from conftest import tiny
from massmatch.runs.folder import RunFolder
from massmatch.sweeps.engines.ray import attend, refuse_silence, room, unseen
from massmatch.sweeps.job import Job
from massmatch.sweeps.tables import Planned
from massmatch.training import run as fit
from started import started
from sweeps.conftest import TRAINING, command

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
LOSSES = ("bce", "tversky", "sm-bce-b-nz", "sm-tversky-s-a")


@pytest.fixture
def two_nodes(monkeypatch):
    """A head, and a second node that can be killed."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    yield cluster, cluster.add_node(**NODE)
    cluster.shutdown()


def reached(folders, name, count):
    return sum((folder / name).is_file() for folder in folders) >= count


EPOCHS = 30  # long enough that no run is done before its node is taken away, on a machine with other work


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_node_that_dies_in_mid_sweep_costs_no_run(cohort, tmp_path, two_nodes):
    cluster, second = two_nodes
    experiments = [tiny(cohort, loss=loss, epochs=EPOCHS, learning_rate=1e-4) for loss in LOSSES]
    folders = [experiment.folder(tmp_path / "runs", 0) for experiment in experiments]
    asked = ("sweep", cohort.root, "--losses", *LOSSES, *TRAINING, "--epochs", EPOCHS, "--out", tmp_path / "runs")
    asked += ("--engine", "ray", "--address", cluster.address)
    with (
        (tmp_path / "said.txt").open("wb") as said,
        started(command(*asked), stdout=said, stderr=subprocess.STDOUT) as sweep,
    ):
        while not reached(folders, "last.ckpt", 2) and sweep.poll() is None:  # one on each node
            time.sleep(0.1)
        assert sweep.poll() is None
        assert not reached(folders, "DONE", 2)
        cluster.remove_node(second, allow_graceful=False)
        assert sweep.wait(timeout=240) == 0, (tmp_path / "said.txt").read_text()

    text = (tmp_path / "said.txt").read_text()
    assert "with 2 at a time on the cluster" in text
    assert "4 of 4 runs are done" in text
    assert "raylet" not in text
    assert not list((tmp_path / "runs").glob(".sweep-*"))
    begun = [(folder / "log.txt").read_text().count(f"train: epoch 1 of {EPOCHS}") for folder in folders]
    went_on = [(folder / "log.txt").read_text().count("left its LOCK") for folder in folders]
    assert begun == [1, 1, 1, 1]  # the run of the dead node went on from its checkpoint
    assert sum(went_on) == 1
    for experiment, folder in zip(experiments, folders, strict=True):
        alone = pd.read_csv(fit.run(experiment, cohort, 0, tmp_path / "alone") / "rows.csv")
        rows = pd.read_csv(folder / "rows.csv")
        assert list(rows) == list(alone)
        assert rows["id"].tolist() == alone["id"].tolist()
        numbers = rows.select_dtypes("number")
        np.testing.assert_allclose(numbers, alone[numbers.columns], rtol=0, atol=1e-6)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_more_than_any_node_has_is_refused_before_anything_runs(cohort, tmp_path, two_nodes):
    asked = ("sweep", cohort.root, "--losses", "bce", *TRAINING, "--out", tmp_path / "runs", "--engine", "ray")
    cpus = ("--address", two_nodes[0].address, "--cpus-per-run", 2)
    refused = subprocess.run(command(*asked, *cpus), capture_output=True, text=True)
    assert refused.returncode == 2
    assert "no machine of the cluster has --cpus-per-run 2 and --gpus-per-run 0; they have: 1 CPUs" in refused.stderr
    assert not list((tmp_path / "runs").glob("*"))


def test_a_machine_that_does_not_share_the_folders_says_which(cohort, tmp_path):
    runs, token = tmp_path / "runs", tmp_path / "runs/.sweep-1"
    job = Job(Planned("a run", tiny(cohort), 0), cohort.root, runs, {})
    assert f"does not see the folder of runs, {runs}, as the machine of the sweep does" in unseen(job, token)
    runs.mkdir()
    assert "does not see the folder of runs" in unseen(job, token)  # a folder of the same name, not the same folder
    token.touch()
    assert unseen(job, token) == ""
    elsewhere = job._replace(cohort=tmp_path / "nowhere")
    assert "does not see the cohort" in unseen(elsewhere, token)
    state, reason = attend(elsewhere.to_json(), str(token), {})
    assert state == "failed"
    assert "must be in folders that all machines of the cluster share" in reason
    assert RunFolder(job.folder).failure() == reason


def test_an_address_at_which_nothing_listens_is_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"--address 127\.0\.0\.1:1: nothing answers there"):
        refuse_silence("127.0.0.1:1")
    with pytest.raises(ValueError, match="must be HOST:PORT, ray://HOST:PORT or auto, but is 'here'"):
        refuse_silence("here")
    assert refuse_silence("auto") is None


@pytest.mark.parametrize(
    ("has", "cpus", "gpus", "runs"),
    [
        ({"CPU": 8.0}, 2, 0, 4),
        ({"CPU": 8.0}, 3, 0, 2),
        ({"CPU": 8.0}, 2, 1, 0),
        ({"CPU": 8.0, "GPU": 2.0}, 2, 1, 2),
        ({"CPU": 8.0, "GPU": 2.0}, 2, 0.5, 4),
        ({}, 1, 0, 0),
    ],
)
def test_a_machine_has_room_for_as_many_runs_as_its_cpus_and_gpus_allow(has, cpus, gpus, runs):
    assert room(has, cpus, gpus) == runs
