"""One thread, so that suites can share a machine; one made-up cohort and one trained run for all who need one."""

import os
import signal

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, here and in every process that a test starts

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci")


def pytest_configure(config):
    """All but the tests of the GPU compute on the CPU, where a run is repeatable to the bit."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


# A suite started in the background of a shell inherits "ignore", and so would every process that it tests.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Some forty images of 64 x 64 of 16 made-up patients."""
    from massmatch.data import phantoms, write_cohort

    samples = phantoms(16, seed=1, size=64)
    return write_cohort(
        samples, tmp_path_factory.mktemp("data") / "tiny", reader="phantom", options={}, licence="made up"
    )


def tiny(cohort, **changes):
    """An experiment of seconds."""
    from massmatch.runs.experiment import Experiment

    fields = {
        "loss": "sm-tversky-sd-nz",
        "width": 2,
        "scheme": "split",
        "epochs": 2,
        "learning_rate": 1e-2,
        "threads": 1,
    }
    fixed = {"precision": "float32", "memory": "contiguous", "fingerprint": cohort.fingerprint}
    return Experiment(cohort=cohort.name, **{**fields, **fixed, **changes})


@pytest.fixture(scope="session")
def trained(cohort, tmp_path_factory):
    """The folder of a finished run."""
    from massmatch.training.run import run

    return run(tiny(cohort), cohort, 0, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def weights(cohort, trained, tmp_path_factory):
    """The file of a trained network that asks for a crop, a flip and z-scores."""
    from massmatch.data.preprocessing.frame import Preprocessing
    from massmatch.runs.weights import load_weights, save_weights

    model, _ = load_weights(trained / "best.safetensors")

    class Prepared:
        normalise, licence, orientation = "z-score", "made up", "left"
        preprocessing = Preprocessing(crop="breast", flip="left", normalise="z-score", size=(64, 64))

    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(path, model, tiny(cohort), 0.5, (64, 64), Prepared)
    return path
