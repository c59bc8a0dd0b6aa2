"""A loss and a network of one's own in `train`, `sweep` and `predict`, in processes that start in the user's folder."""

import os
import subprocess
import sys

import pytest
import yaml

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
