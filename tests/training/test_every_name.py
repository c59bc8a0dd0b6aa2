"""Every loss and every network of the catalogue trains for two epochs on made-up mammograms."""

import math

import pandas as pd
import pytest

from conftest import tiny
from massmatch.losses import LOSSES
from massmatch.models import MODELS
from massmatch.training.run import run

OFTEN = ("asp-q", "density-asp", "boundary", "instance")  # one of each kind of lifecycle: fit, density, epochs, labels
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:monai.*", "ignore::FutureWarning")


def trained(cohort, runs, **changes):
    experiment = tiny(cohort, **changes)
    folder = run(experiment, cohort, 0, runs)
    history = pd.read_csv(folder / "history.csv")
    assert len(history) == 2
    assert all(math.isfinite(value) for value in history["loss"])
    assert (folder / "DONE").exists()
    return pd.read_csv(folder / "rows.csv")


@pytest.mark.parametrize("loss", OFTEN)
def test_a_loss_of_each_lifecycle_trains(loss, cohort, tmp_path):
    trained(cohort, tmp_path, loss=loss)


@pytest.mark.parametrize("model", ["unet3+"])
def test_a_network_with_deep_supervision_trains(model, cohort, tmp_path):
    trained(cohort, tmp_path, model=model, loss="sm-tversky-s-a")


@pytest.mark.long
@pytest.mark.parametrize("loss", [name for name in LOSSES if name not in OFTEN])
def test_every_loss_trains(loss, cohort, tmp_path):
    trained(cohort, tmp_path, loss=loss)


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
def test_every_network_trains(model, cohort, tmp_path):
    trained(cohort, tmp_path, model=model, loss="hybrid", width=4 if 4 % MODELS[model].width_step == 0 else 12)
