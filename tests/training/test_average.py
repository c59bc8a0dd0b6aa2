"""The moving average of the weights, and gradients of bounded length."""

import pandas as pd
import pytest
import torch
from torch import nn

from conftest import tiny
from interruption import CutOffError
from massmatch.errors import UsageError
from massmatch.runs.checkpoint import load_checkpoint
from massmatch.runs.weights import read_weights
from massmatch.training import loop as epochs
from massmatch.training import run as fit
from massmatch.training.average import averaging


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_the_average_of_constant_weights_is_the_weights():
    model = network()
    average = averaging(model, 0.999)
    for _ in range(20):
        average.update_parameters(model)
    assert all(
        torch.equal(a, b)
        for a, b in zip(average.module.state_dict().values(), model.state_dict().values(), strict=True)
    )


def test_the_average_is_that_of_the_formula_and_forgets_the_first_weights():
    model = network()
    average = averaging(model, 0.9)
    expected = None
    for step in range(30):
        with torch.no_grad():
            model[0].weight += 0.1 * step
        model(torch.full((2, 1, 5, 5), float(step)))  # which moves the statistics of the batch normalisation
        average.update_parameters(model)
        now = [model[0].weight.detach().double(), model[1].running_mean.double()]
        kept = min(0.9, (1 + step) / (10 + step)) if step else 0.0
        expected = now if expected is None else [kept * e + (1 - kept) * n for e, n in zip(expected, now, strict=True)]
    torch.testing.assert_close(average.module[0].weight.double(), expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(average.module[1].running_mean.double(), expected[1], rtol=1e-5, atol=1e-6)
    assert average.module[1].num_batches_tracked == 30


def test_without_a_decay_there_is_no_average(trained):
    assert averaging(network(), 0) is None
    assert "average" not in load_checkpoint(trained / "last.ckpt")


@pytest.mark.long
def test_a_run_with_an_average_keeps_it_and_goes_on_to_the_same_bits(cohort, tmp_path):
    experiment = tiny(cohort, ema=0.99, clip=1.0, epochs=3)

    def cut(now):
        if now.phase == "train" and now.epoch == 3:
            raise CutOffError

    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, tmp_path / "cut", cut)
    runs = [fit.run(experiment, cohort, 0, tmp_path / name) for name in ("cut", "whole")]
    ends = [load_checkpoint(run / "last.ckpt") for run in runs]
    for part in ("model", "average"):
        assert all(torch.equal(ends[0][part][name], ends[1][part][name]) for name in ends[0][part])
    assert (runs[0] / "rows.csv").read_bytes() == (runs[1] / "rows.csv").read_bytes()


def test_the_weights_of_the_best_epoch_are_the_average(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(epochs, "best_so_far", lambda history: float("-inf"))
    run = fit.run(tiny(cohort, ema=0.99, epochs=1), cohort, 0, tmp_path)
    state, (_, best) = load_checkpoint(run / "last.ckpt"), read_weights(run / "best.safetensors")
    assert all(torch.equal(value, state["average"][f"module.{name}"]) for name, value in best.items())
    assert not all(torch.equal(value, state["model"][name]) for name, value in best.items())
    assert len(pd.read_csv(run / "history.csv")) == 1


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_a_gradient_longer_than_the_limit_is_shortened(cohort, tmp_path, monkeypatch, clip):
    monkeypatch.setattr(epochs, "make_optimizer", lambda experiment, weights: torch.optim.SGD(weights, lr=1.0))
    experiment = tiny(cohort, clip=clip, epochs=1)
    first = epochs.seeded_model(experiment).state_dict()
    last = load_checkpoint(fit.run(experiment, cohort, 0, tmp_path) / "last.ckpt")["model"]
    learned = [name for name in first if "running" not in name and "tracked" not in name]
    moved = sum((last[name] - first[name]).pow(2).sum() for name in learned).sqrt()
    steps = last[next(name for name in last if "tracked" in name)]
    assert bool(moved <= steps * 1e-3 + 1e-4) is (clip > 0)


def test_complex_weights_are_averaged_too():
    """They were copied from the network as counters are."""
    model = nn.ParameterList([nn.Parameter(torch.zeros(1, dtype=torch.complex64))])
    average = averaging(model, 0.5)
    model[0].data += 1j
    average.update_parameters(model)  # the first one is the start
    model[0].data += 1j
    average.update_parameters(model)
    assert 1 < average.module[0].imag.item() < 2


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
def test_a_network_that_cannot_be_copied_is_told():
    layer = nn.utils.weight_norm(nn.Linear(2, 1))
    layer(torch.zeros(1, 2))  # its weight is a result of others now
    with pytest.raises(UsageError, match=r"--ema: the network Linear cannot be copied .*parametrizations"):
        averaging(layer, 0.9)
