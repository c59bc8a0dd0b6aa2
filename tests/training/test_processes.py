"""Several processes for one run: those that train together, and those that load its images."""

import json
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import torch.distributed
from torch import nn

from conftest import tiny
from massmatch.data import DataError, Sample, phantoms, write_cohort
from massmatch.errors import RunError
from massmatch.losses import LOSSES, make_loss
from massmatch.models import MODELS
from massmatch.runs.checkpoint import load_checkpoint
from massmatch.training import batches
from massmatch.training import run as fit
from massmatch.training.batches import Loader, Order, Samples, batch_sizes, collate
from massmatch.training.distributed import launch as processes
from massmatch.training.distributed.collectives import SharedBatchNorm, let_count, share_statistics
from massmatch.training.distributed.launch import Processes
from massmatch.training.distributed.share import Share
from started import PATIENCE, started


@pytest.mark.parametrize("of", [1, 2, 3, 5])
@pytest.mark.parametrize("images", [1, 5, 9, 10, 12])
def test_processes_see_each_image_of_an_epoch_once_between_them(images, of):
    orders = [Order(images, 6, 0, Share(rank, of)) for rank in range(of)]
    for epoch in (0, 1):
        for order in orders:
            order.epoch = epoch
        seen = [
            place
            for order in orders
            for part, weight in zip(order, order.weights(), strict=True)
            if weight
            for place in part
        ]
        alone = [place for batch in Order(images, 6, 0).whole() for place in batch]
        if not epoch:
            assert sorted(seen) == sorted(alone)
        assert len(seen) == len(set(seen)) == sum(batch_sizes(images, 6))
        assert {len(list(order)) for order in orders} == {len(orders[0])}  # all take as many steps


def test_weights_make_the_mean_over_processes_that_of_the_batch():
    for size in range(1, 9):
        values = torch.rand(size, dtype=torch.float64)
        shares = [Share(rank, 3) for rank in range(3)]
        weights = [Order(size, size, 0, share).weights()[0] for share in shares]
        parts = [torch.tensor(share.part(values.tolist()) or [99.0]) for share in shares]
        mean = sum(weight * part.double().mean() for weight, part in zip(weights, parts, strict=True)) / 3
        assert mean.item() == pytest.approx(values.mean().item(), rel=1e-6)


@pytest.mark.parametrize(
    ("wanted", "batch_size", "message"),
    [
        (Processes(0, 1), 4, "--devices and --nodes must be whole numbers of at least 1, but are 0 and 1"),
        (Processes("cuda", 1), 4, "--devices and --nodes must be whole numbers of at least 1, but are 'cuda' and 1"),
        (Processes(5, 1), 4, "--batch-size 4 is shared by all processes, of which there are 5"),
        (Processes(1, 2), 4, "--nodes 2: start the same command on each machine with torchrun or srun"),
    ],
)
def test_numbers_of_processes_that_cannot_be_had_are_named(wanted, batch_size, message):
    with pytest.raises(ValueError, match=message):
        wanted.check(batch_size, torch.device("cpu"))


def test_torchrun_and_slurm_are_known_by_their_environment(monkeypatch):
    wanted = Processes(2, 1)
    assert not wanted.started_by_others
    assert wanted.leads
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("RANK", "1")
    assert wanted.started_by_others
    assert not wanted.leads
    assert not Processes().started_by_others  # a run of one process within a job of many
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert wanted.started_by_others
    assert wanted.leads


@pytest.fixture
def group():
    """A process group of this process alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", MODELS)
def test_shared_statistics_of_one_process_are_those_of_batch_normalisation(name, group):
    torch.manual_seed(0)
    width = 4 if 4 % MODELS[name].width_step == 0 else 12
    plain = MODELS[name](1, 1, width)
    shared = share_statistics(MODELS[name](1, 1, width))
    layers = [layer for layer in shared.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(isinstance(layer, SharedBatchNorm) for layer in layers)  # still found by those who freeze them
    assert len(layers) == sum(isinstance(layer, nn.BatchNorm2d) for layer in plain.modules())
    shared.load_state_dict(plain.state_dict())
    images = torch.rand(3, 1, 64, 64)
    for training in (True, False):
        first, second = (network.train(training)(images) for network in (plain, shared))
        first, second = ([each] if isinstance(each, torch.Tensor) else each for each in (first, second))
        for a, b in zip(first, second, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    for a, b in zip(plain.state_dict().values(), shared.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


class WithActivation(nn.BatchNorm2d):
    """As in timm: the activation is a part of the normalisation."""

    def forward(self, input):
        return super().forward(input).relu()


def test_a_normalisation_under_two_names_stays_one_layer():
    """MONAI's DynUNet has its blocks under two names: the second one was taken for a class of one's own."""
    block = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    named = {"first": block, "again": nn.ModuleList([block]), "norm": block[1], "sync": nn.SyncBatchNorm(3)}
    shared = share_statistics(nn.ModuleDict(named))
    assert shared["first"][1] is shared["again"][0][1] is shared["norm"]
    assert isinstance(shared["norm"], SharedBatchNorm)


def test_a_batch_normalisation_that_does_more_is_not_shared():
    """It lost what it did more: several processes trained another network than one did, without a word."""
    with pytest.raises(RunError, match="WithActivation of Sequential is a batch normalisation of its own"):
        share_statistics(nn.Sequential(nn.Conv2d(1, 3, 3), WithActivation(3)))


def test_shared_statistics_have_the_gradient_of_batch_normalisation(group):
    torch.manual_seed(0)
    plain, shared = nn.BatchNorm2d(3), SharedBatchNorm(3)
    x = torch.randn(4, 3, 5, 5)
    gradients = []
    for layer in (plain, shared):
        own = x.clone().requires_grad_()
        layer(own).pow(3).sum().backward()
        gradients.append((own.grad, layer.weight.grad, layer.bias.grad))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    let_count(shared, False)
    assert not shared.counts


def rank_of_three(rank, port, results):
    """Batch normalisation and a mean over 3 processes with 2, 1 and no images of their own."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=3)
    torch.manual_seed(0)
    images = torch.randn(3, 2, 4, 4)
    own = Share(rank, 2).part(list(images)) if rank < 2 else [torch.full((2, 4, 4), 1e3)]
    layer = SharedBatchNorm(2)
    let_count(layer, rank < 2)
    found = layer(torch.stack(own))
    weight = 3 * (len(own) if rank < 2 else 0) / 3
    (found.pow(3).mean((1, 2, 3)).mean() * weight).backward()
    torch.distributed.all_reduce(layer.weight.grad)
    results.put((rank, (layer.weight.grad / 3).tolist(), layer.running_mean.tolist(), layer.running_var.tolist()))
    torch.distributed.destroy_process_group()


def test_row_30_uneven_shares_and_stand_ins_learn_what_one_process_learns():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    ranks = [context.Process(target=rank_of_three, args=(rank, port, results)) for rank in range(3)]
    for each in ranks:
        each.start()
    found = [results.get() for _ in ranks]
    for each in ranks:
        each.join()
    torch.manual_seed(0)
    images, plain = torch.randn(3, 2, 4, 4), nn.BatchNorm2d(2)
    plain(images).pow(3).mean((1, 2, 3)).mean().backward()
    for _, gradient, mean, variance in found:
        torch.testing.assert_close(torch.tensor(gradient), plain.weight.grad, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(torch.tensor(mean), plain.running_mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(torch.tensor(variance), plain.running_var, rtol=1e-4, atol=1e-6)


def ten_test_images(tmp_path):
    """A cohort whose first fold has exactly 10 test images, which 3 processes cannot share evenly."""
    made = write_cohort(phantoms(20, seed=5, size=64), tmp_path / "c", reader="phantom", options={}, licence="")
    experiment = tiny(made, epochs=1, scheme="kfold")
    assert len(fit.parts_of(experiment, made, 0).test) == 10
    return made, experiment


def same_rows(first, second):
    for name in ("rows.csv", "candidates.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(first / name), pd.read_csv(second / name), rtol=0, atol=1e-6)


@pytest.mark.long
def test_row_30_three_processes_measure_ten_images_once_each_as_one_does(tmp_path):
    cohort, experiment = ten_test_images(tmp_path)
    out = fit.run(experiment, cohort, 0, tmp_path / "three", devices=3)
    rows = pd.read_csv(out / "rows.csv")
    assert len(rows) == rows["id"].nunique() == 10
    kept = out.rename(tmp_path / "kept")
    (out.parent / "alone").mkdir()
    for name in ("experiment.yaml", "best.safetensors"):
        (out.parent / "alone" / name).write_bytes((kept / name).read_bytes())
    fit.evaluate_run(out.parent / "alone", cohort)
    same_rows(kept, out.parent / "alone")


def moved(one, two, optimizer):
    """How far the first moments of Adam in two checkpoints lie apart, as a share of them."""
    first, second = (
        torch.cat([each["exp_avg"].flatten() for each in of[optimizer]["state"].values()]) for of in (one, two)
    )
    return float((second - first).norm() / first.norm())


@pytest.mark.long
@pytest.mark.parametrize("changes", [{}, {"loss": "asp-l"}, {"model": "unet3+"}, {"adversarial": 0.1}], ids=str)
def test_two_processes_learn_what_one_learns(cohort, tmp_path, changes):
    """With a rate so small that rounding cannot grow: Adam's first moments are the gradients' running means.

    And with losses without a threshold, which makes a step of a difference in rounding. ReLUs and pooling make small
    steps of it too: within one process, images changed by 1e-7 move all gradients together by 0.06 to 0.09 %.
    """
    experiment = tiny(cohort, **{"loss": "tversky", "epochs": 1, "learning_rate": 1e-9, **changes})
    runs = [fit.run(experiment, cohort, 0, tmp_path / str(n), devices=n) for n in (1, 2)]
    one, two = (load_checkpoint(run / "last.ckpt") for run in runs)
    for key in ("loss", "val_dsc_pooled", "val_predicted_px"):
        assert two["history"][0][key] == pytest.approx(one["history"][0][key], rel=1e-4)
    # the critics' distance of features has a kink wherever nothing is to be told apart, as on an empty background
    assert moved(one, two, "optimizer") < (0.1 if experiment.adversarial else 2e-3)
    if experiment.adversarial:
        assert moved(one, two, "critic_optimizer") < 1e-3  # 0.1 to 0.2 where each process keeps its own gradients
    assert {path.name for path in runs[0].iterdir()} == {path.name for path in runs[1].iterdir()}


@pytest.mark.long
def test_torchrun_starts_the_processes_as_well(cohort, tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "massmatch",
    ]
    command += ["train", str(cohort.root), "--width", "2", "--scheme", "split", "--epochs", "2", "--threads", "1"]
    command += ["--precision", "float32", "--memory", "contiguous", "--devices", "2", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (out,) = (path.parent for path in tmp_path.rglob("DONE"))
    assert pd.read_csv(out / "history.csv")["epoch"].tolist() == [1, 2]
    assert done.stdout.count("test images") == 1  # one of them speaks
    rows = pd.read_csv(out / "rows.csv")
    assert rows["id"].is_unique


SCRIPT = """
    import sys, torch
    sys.path.insert(0, "tests")
    from pathlib import Path
    from conftest import tiny
    from massmatch.cli.screen import told
    from massmatch.data import open_cohort
    from massmatch.training.run import run
    if __name__ == "__main__":
        with told("finished epoch"):
            cohort = open_cohort(sys.argv[1])
            run(tiny(cohort, epochs=500), cohort, 0, Path(sys.argv[2]), devices=2)
"""


@contextmanager
def together(cohort, tmp_path):
    """Two processes that train for long, once they have a checkpoint; the process that started them."""
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    with started(
        [sys.executable, "-W", "ignore", str(tmp_path / "script.py"), str(cohort.root), str(tmp_path / "runs")],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": "tests"},
    ) as process:
        while not list(tmp_path.rglob("last.ckpt")) and process.poll() is None:
            time.sleep(0.1)
        yield process


def children(pid):
    """The processes that a process has started and that train."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def gone(pids, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end, "a process is still there"
        time.sleep(0.1)


@pytest.mark.long
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes_of_a_run(cohort, tmp_path, signum):
    with together(cohort, tmp_path) as process:
        ranks = children(process.pid)
        assert len(ranks) == 2
        process.send_signal(signum)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + signum, said
        assert "the same command again goes on from the last finished epoch" in said
        gone(ranks)


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_the_death_of_one_process_ends_all_with_one_line(cohort, tmp_path, rank):
    with together(cohort, tmp_path) as process:
        ranks = children(process.pid)
        os.kill(ranks[rank], signal.SIGKILL)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1, said
        assert "one of the processes that train together died" in said
        assert "Traceback" not in said
        gone(ranks)


@pytest.mark.long
def test_the_death_of_the_process_that_started_them_ends_all(cohort, tmp_path):
    with together(cohort, tmp_path) as process:
        ranks = children(process.pid)
        process.kill()
        process.communicate()
        gone(ranks)


@pytest.mark.long
def test_an_error_in_one_process_is_raised_as_it_was_there(cohort, tmp_path):
    samples = [cohort.load(id) for id in cohort.ids]
    bare = [Sample(s.id, s.patient, s.image, s.instances * 0, side=s.side, view=s.view) for s in samples]
    empty = write_cohort(bare, tmp_path / "bare", reader="test", options={}, licence="")
    with pytest.raises(DataError, match=r"none of the .* training images has a mass"):
        fit.run(tiny(empty), empty, 0, tmp_path / "runs", devices=2)


@pytest.mark.long
def test_more_processes_than_validation_images_are_refused(cohort, tmp_path):
    """Each waited for the other for ever."""
    samples = {sample.patient: sample for sample in map(cohort.load, cohort.ids)}
    few = write_cohort([*samples.values()][:8], tmp_path / "few", reader="test", options={}, licence="")
    with pytest.raises(DataError, match="validation part has 1 images, fewer than the 2 processes"):
        fit.run(tiny(few, scheme="kfold", folds=4), few, 0, tmp_path / "runs", devices=2)


@pytest.mark.long
def test_row_54_a_worker_that_is_killed_ends_the_run_with_advice(cohort, tmp_path):
    def kill(now):
        if now.epoch == 2:
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGKILL)

    experiment = tiny(cohort, epochs=3)
    with pytest.raises(RunError, match=r"one of the 1 workers that load images died in epoch 2 .* --workers 0 goes on"):
        fit.run(experiment, cohort, 0, tmp_path, kill, workers=1)
    assert len(load_checkpoint(experiment.folder(tmp_path, 0) / "last.ckpt")["history"]) == 1
    whole = fit.run(experiment, cohort, 0, tmp_path / "whole")
    assert (fit.run(experiment, cohort, 0, tmp_path) / "rows.csv").read_bytes() == (whole / "rows.csv").read_bytes()


def test_row_54_a_death_that_is_raised_while_workers_are_ended_hides_nothing(cohort, monkeypatch):
    loader = Loader(Samples(cohort, cohort.ids[:4], make_loss("bce")), 4, 0, workers=1)
    next(loader.epoch(0))
    (worker,) = multiprocessing.active_children()
    join = type(worker).join

    def killed(self, timeout=None):
        monkeypatch.setattr(type(worker), "join", join)
        raise RuntimeError(f"DataLoader worker (pid {self.pid}) is killed by signal: Killed.")

    monkeypatch.setattr(type(worker), "join", killed)
    loader.close()
    worker.join(30)
    assert not worker.is_alive()


def test_row_55_a_small_shared_memory_leaves_fewer_workers(cohort, monkeypatch):
    samples = Samples(cohort, cohort.ids[:4], make_loss("bce"))
    batch = collate([samples[n] for n in range(4)])
    each = 3 * (batch.images.nbytes + batch.target.nbytes)
    monkeypatch.setattr(batches.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2 * each + 1))
    with pytest.warns(UserWarning, match="workers need .*: going on with 2; docker run --shm-size gives more"):
        assert batches.workers_that_fit(samples, 4, 8) == 2
    assert batches.workers_that_fit(samples, 4, 2) == 2
    assert batches.workers_that_fit(samples, 4, 0) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_row_58_what_workers_get_can_be_sent_to_a_process_that_was_spawned(name, cohort):
    samples = pickle.loads(pickle.dumps(Samples(cohort, cohort.ids[:2], make_loss(name))))
    assert len(samples) == 2


@pytest.mark.long
def test_row_58_workers_may_be_spawned(cohort, trained, tmp_path, monkeypatch):
    loader = batches.DataLoader
    monkeypatch.setattr(batches, "DataLoader", lambda *a, **k: loader(*a, **k, multiprocessing_context="spawn"))
    out = fit.run(tiny(cohort), cohort, 0, tmp_path, workers=1)
    assert (out / "rows.csv").read_bytes() == (trained / "rows.csv").read_bytes()


def test_who_started_the_processes_is_told_what_went_wrong_first():
    first, second = ValueError("first"), ValueError("second")
    with pytest.raises(ValueError, match="first"):
        processes.raise_first([first, second], SimpleNamespace(), RuntimeError("x"))


def test_facts_that_change_no_result_stand_in_resolved(cohort, tmp_path):
    import yaml

    out = fit.run(tiny(cohort, epochs=1), cohort, 0, tmp_path, workers=1)
    facts = yaml.safe_load((out / "experiment.yaml").read_text())
    assert (facts["resolved"]["workers"], facts["resolved"]["processes"]) == (1, 1)
    assert "workers" not in json.dumps({k: v for k, v in facts.items() if k != "resolved"})
