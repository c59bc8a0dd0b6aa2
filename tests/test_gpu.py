"""What only a machine with an NVIDIA GPU can show: its numbers are the CPU's, and its memory runs out as promised.

`make test-gpu` runs them; every other run of the suite computes on the CPU (conftest.py).
"""

import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
import yaml

from conftest import tiny
from drawing import made_up
from interruption import CutOffError, cut_in
from massmatch.errors import RunError
from massmatch.losses import LOSSES, make_loss
from massmatch.models import MODELS
from massmatch.runs.precision import fastest
from massmatch.runs.weights import load_weights
from massmatch.training import run as fit
from massmatch.training.evaluate import predicted

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.filterwarnings("ignore::UserWarning:monai.*", "ignore::FutureWarning"),
]
NAMES = [*LOSSES, "soft-sm:levels=3", "soft-sm:random_phase=true"]


def value_and_gradient(name, logits, target, device, *, with_facts, autocast=None):
    """`name` on a device; the facts are made on the CPU, as a training makes them."""
    torch.manual_seed(0)
    loss = make_loss(name)
    loss.fit(target, [2] * len(target))
    facts = {"facts": loss.facts(target, density=[2] * len(target))} if with_facts else {}
    logits = logits.clone().to(device).requires_grad_()
    with torch.autocast(device, autocast, enabled=autocast is not None):
        value = loss.to(device)(logits, target.to(device), **facts)
    value.backward()
    return value.detach().cpu(), logits.grad.cpu()


@pytest.mark.parametrize(
    ("name", "with_facts"),
    [(name, given) for name in NAMES for given in (True, False) if given or name != "density-asp"],  # needs a density
)
def test_a_loss_has_the_value_and_gradient_of_the_cpu(name, with_facts):
    logits, target = made_up(3, (6, 1, 32, 32))
    on_cpu = value_and_gradient(name, logits, target, "cpu", with_facts=with_facts)
    on_gpu = value_and_gradient(name, logits, target, "cuda", with_facts=with_facts)
    torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("autocast", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_under_autocast_a_loss_is_computed_in_float32(name, autocast):
    logits, target = made_up(4, (6, 1, 32, 32), dtype=torch.float32)
    exact = value_and_gradient(name, logits, target, "cuda", with_facts=True)
    mixed = value_and_gradient(name, logits, target, "cuda", with_facts=True, autocast=autocast)
    assert mixed[0].dtype == torch.float32
    torch.testing.assert_close(mixed, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_network_has_the_output_of_the_cpu(name, monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    network = MODELS[name](1, 1, 4 if 4 % MODELS[name].width_step == 0 else 12).eval()
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        expected = network(image)
        torch.testing.assert_close(network.cuda()(image.cuda()).cpu(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("loss", ["sm-tversky-sd-nz", "soft-sm:random_phase=true"])
def test_a_run_trains_in_every_number_format(cohort, tmp_path, precision, loss):
    out = fit.run(tiny(cohort, loss=loss, precision=precision, memory="channels-last"), cohort, 0, tmp_path)
    assert yaml.safe_load((out / "experiment.yaml").read_text())["resolved"]["device"] == "cuda"
    history = pd.read_csv(out / "history.csv")
    assert history["loss"].notna().all()
    assert history["skipped_steps"].sum() < 10  # of float16, until its scale is found
    assert pd.read_csv(out / "rows.csv")["dsc"].between(0, 1).all()


def test_the_fastest_number_format_is_found(cohort):
    network = MODELS["aunet"](1, 1, 8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    way = fastest(network, "auto", "auto", torch.device("cuda"))
    assert way.precision in ("float32", "bfloat16")
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value.cpu(), before[name], rtol=0, atol=0)


def test_a_run_that_was_cut_off_goes_on(cohort, tmp_path):
    experiment = tiny(cohort, epochs=3)
    whole = fit.run(experiment, cohort, 0, tmp_path / "whole")
    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, tmp_path / "cut", cut_in(2))
    cut_off = fit.run(experiment, cohort, 0, tmp_path / "cut")
    first, second = (pd.read_csv(run / "history.csv")["loss"] for run in (whole, cut_off))
    torch.testing.assert_close(*(torch.tensor(each.to_numpy()) for each in (first, second)), rtol=1e-2, atol=1e-3)


@pytest.fixture
def little_memory():
    """A quarter of a gibibyte of the GPU's memory."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2**28 / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_row_56_a_batch_too_large_for_the_gpu_ends_in_advice(cohort, tmp_path, little_memory):
    with pytest.raises(RunError, match=r"cuda:0 has too little memory for a batch of 16 images of 64x64: take a sm"):
        fit.run(tiny(cohort, width=32, batch_size=16), cohort, 0, tmp_path)
    assert not list(tmp_path.rglob("last.ckpt"))


def test_row_56_an_image_too_large_for_the_gpu_is_predicted_on_the_cpu(trained, cohort, little_memory):
    network, _ = load_weights(trained / "best.safetensors")
    assert next(network.parameters()).device.type == "cuda"
    image = cohort.load(cohort.ids[0]).image.repeat(64, 0).repeat(64, 1)
    with pytest.warns(RuntimeWarning, match=r"cuda:0 ran out of memory on an image of 4096x4096: going on on the CPU"):
        found = predicted(network, image, "min-max", "a")
    assert found.shape == image.shape
    assert next(network.parameters()).device.type == "cpu"


def test_more_devices_than_there_are_is_refused(cohort, tmp_path):
    there = torch.cuda.device_count()
    with pytest.raises(ValueError, match=f"--devices {there + 1}: this machine has {there} cuda devices"):
        fit.run(tiny(cohort, batch_size=2 * there + 2), cohort, 0, tmp_path, devices=there + 1)


def test_what_a_gpu_trained_opens_on_a_machine_without(trained, cohort, tmp_path):
    image = cohort.root / "images" / f"{cohort.ids[0]}.png"
    weights = trained / "best.safetensors"
    command = [
        sys.executable,
        "-m",
        "massmatch",
        "predict",
        str(image),
        "--weights",
        str(weights),
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{cohort.ids[0]}_mask.png").is_file()
