"""What an experiment refuses before anything runs."""

import sys
from types import ModuleType

import pytest
from torch import nn

from massmatch.errors import UsageError
from massmatch.runs.experiment import experiment_on
from massmatch.sweeps.plan import Plan, systems_of


class Grouped(nn.Module):
    """A network that can be built with a width of 4 and its multiples alone."""

    def __init__(self, channels, classes, width):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(4, width))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        return self.head(self.body(x))


@pytest.fixture
def own(monkeypatch):
    module = ModuleType("grouped")
    module.Grouped = Grouped
    monkeypatch.setitem(sys.modules, "grouped", module)


@pytest.mark.usefixtures("own")
def test_a_network_of_ones_own_is_built_with_the_width_that_was_asked_for(cohort):
    assert experiment_on(cohort, model="grouped:Grouped", width=8).width == 8
    with pytest.raises(UsageError, match="num_channels"):
        experiment_on(cohort, model="grouped:Grouped", width=6)


@pytest.mark.parametrize("loss", ["hybrid:from_logits=false", "sm-tversky-s-a:from_logits=false"])
def test_a_loss_of_probabilities_is_refused_where_networks_give_logits(loss, cohort):
    """Validation and prediction would take the sigmoid of what is one already: everything was mass, without a word."""
    with pytest.raises(UsageError, match="from_logits must be true here"):
        experiment_on(cohort, loss=loss)
    with pytest.raises(UsageError, match="from_logits must be true here"):
        systems_of(Plan(losses=[loss]), cohort)
