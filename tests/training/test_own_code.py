"""A loss and a network of one's own in `train`, `sweep` and `predict`, in processes that start in the user's folder."""

import os
import subprocess
import sys

import pytest
import torch
import yaml
from torch import nn

from massmatch.errors import RunError
from massmatch.inference.network import load_network
from massmatch.runs.experiment import Experiment, make_model, own_code

MODULE = """
import torch
from torch import nn

def absolute(p, target, weight=1.0):
    return weight * (p - target).abs().mean()

class Small(nn.Module):
    def __init__(self, inputs, outputs, width, depth=1):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(),
                                    *(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)),
                                    nn.Conv2d(width, outputs, 1))

    def forward(self, x):
        return self.layers(x)
"""
LOSS, MODEL = "own_for_training:absolute:weight=2,probabilities=true", "own_for_training:Small:depth=2"


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "own_for_training.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("own_for_training", None)


def asked(place, *arguments):
    command = [sys.executable, "-c", "import sys; sys.path.pop(0); from massmatch.cli import main; main()"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, cwd=place, env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.long  # whole processes
def test_a_sweep_trains_own_code_in_its_workers_and_the_weights_ask_before_they_import_it(cohort, place):
    code, out, error = asked(
        place, "sweep", cohort.root, "--losses", "bce", LOSS, "--models", MODEL, "--width", 2, "--epochs", 1,
        "--scheme", "split", "--threads", 1, "--precision", "float32", "--memory", "contiguous", "--out", "runs",
    )  # fmt: skip
    assert code == 0, out + error
    (folder,) = place.glob("runs/*absolute*/fold0")
    recorded = yaml.safe_load((folder / "experiment.yaml").read_text())
    assert recorded["own_code"] == own_code(LOSS, MODEL)
    assert "own_for_training.py sha256 " in recorded["own_code"]
    with pytest.raises(ValueError, match="not run on a file's word"):
        load_network(folder)
    network, _ = load_network(folder, own=[MODEL])
    assert type(network).__name__ == "Small"


def test_other_code_is_another_experiment(place):
    fields = {"cohort": "x", "fingerprint": "0", "loss": LOSS}
    first = Experiment(**fields)
    (place / "own_for_training.py").write_text(MODULE + "\n# changed")
    second = Experiment(**fields)
    assert first.digest != second.digest
    assert Experiment(**first.model_dump()) == first
    assert Experiment(cohort="x", fingerprint="0").own_code is None


def test_own_networks_are_classes_of_torch(place):
    assert sum(p.numel() for p in make_model(MODEL, 3).parameters()) == (9 + 1) * 3 + 2 * (27 + 1) * 3 + 3 + 1
    for text, said in (
        ("own_for_training:absolute", "must be a class derived from torch.nn.Module"),
        ("own_for_training:Small:deepth=2", "did you mean 'depth'"),
        ("own_for_training:Smal", "no such loss or network"),
    ):
        with pytest.raises(ValueError, match=said):
            make_model(text, 2)


class Returning(nn.Module):
    """A network of one's own that returns what a function makes of its logits."""

    def __init__(self, inputs, outputs, width):
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x):
        return self.made(self.layer(x))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda logits: logits[..., ::2, ::2], r"must return logits of the shape \(2, 1, 8, 8\).*\(2, 1, 4, 4\)"),
        (lambda logits: logits.expand(2, 3, 8, 8), r"but returned \(2, 3, 8, 8\)"),
        (lambda logits: logits.flatten(1), r"but returned \(2, 64\)"),
        (lambda logits: [logits, logits[:, :, :4]], r"but returned \(2, 1, 4, 8\)"),
        (lambda logits: [], "but returned a list"),
        (lambda logits: None, "but returned a NoneType"),
        (lambda logits: {"out": logits}, "but returned a dict"),
        (lambda logits: logits.detach(), "carries no gradient"),
        (lambda logits: logits > 0, "carries no gradient"),
    ],
)
def test_a_network_that_returns_anything_but_logits_is_refused(monkeypatch, made, told):
    monkeypatch.setattr(Returning, "made", staticmethod(made), raising=False)
    with pytest.raises(RunError, match=f"the network Returning .*{told}|the output of the network Returning {told}"):
        make_model(f"{__name__}:Returning", 1)(torch.zeros(2, 1, 8, 8))


def test_of_several_outputs_the_first_is_predicted(monkeypatch):
    monkeypatch.setattr(Returning, "made", staticmethod(lambda logits: [logits, -logits]), raising=False)
    network, images = make_model(f"{__name__}:Returning", 1), torch.rand(2, 1, 8, 8)
    main, other = network(images)
    assert torch.equal(other, -main)
    assert torch.equal(network.eval()(images), main)


def test_a_network_of_ones_own_can_be_exported_for_batches_of_any_size(monkeypatch):
    monkeypatch.setattr(Returning, "made", staticmethod(lambda logits: [logits, -logits]), raising=False)
    network, images = make_model(f"{__name__}:Returning", 1).eval(), torch.rand(3, 1, 8, 8)
    batch = torch.export.Dim("batch", min=1, max=8)
    exported = torch.export.export(network, (images[:2],), dynamic_shapes=({0: batch},))
    assert torch.allclose(exported.module()(images), network(images))
