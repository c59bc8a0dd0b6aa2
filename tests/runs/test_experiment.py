"""What an experiment refuses before anything runs."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from conftest import tiny
from massmatch.errors import UsageError
from massmatch.runs.experiment import experiment_on
from massmatch.runs.folder import run_folders
from massmatch.runs.network import make_model
from massmatch.sweeps.plan import Plan, systems_of


class Grouped(nn.Module):
    """A network that can be built with a width of 4 and its multiples alone."""

    def __init__(self, channels, classes, width):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(4, width))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        return self.head(self.body(x))


class Told(nn.Module):
    """A network that keeps what it was called with."""

    def __init__(self, *, asked):
        super().__init__()
        self.asked, self.layer = asked, nn.Conv2d(1, 1, 1)


class Named(Told):
    def __init__(self, dims, in_channels=3, out_channels=2, dropout=0.0, width=32):
        super().__init__(asked=(dims, in_channels, out_channels, dropout, width))


class Handing(Named):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)


class Placed(Told):
    def __init__(self, channels, classes, bilinear=False):
        super().__init__(asked=(channels, classes, bilinear))


class Alone(Told):
    def __init__(self, width, depth=4):
        super().__init__(asked=(width, depth))


class Other(Told):
    def __init__(self, depth=4, bilinear=False, **rest):
        super().__init__(asked=(depth, bilinear, rest))


class Dropping(Grouped):
    def __init__(self, dropout=0.1, **options):
        super().__init__(1, 1, **options)
        self.dropout = dropout


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.LazyConv2d(1, 3, padding=1)

    def forward(self, x):
        return self.body(x)


class Weightless(nn.Module):
    def forward(self, x):
        return x


class Extra(Grouped):
    def __init__(self):
        super().__init__(1, 1, 8)

    def get_extra_state(self):
        return {"steps": 3}

    def set_extra_state(self, state):
        pass


class Conditioned(Grouped):
    def forward(self, x, time):
        return super().forward(x) + time


class Scripted(torch.jit.ScriptModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)

    @torch.jit.script_method
    def forward(self, x):
        return self.layer(x)


NETWORKS = (Grouped, Named, Handing, Placed, Alone, Other, Dropping, Lazy, Weightless, Extra, Conditioned, Scripted)


@pytest.fixture
def own(monkeypatch):
    module = ModuleType("grouped")
    vars(module).update({each.__name__: each for each in NETWORKS})
    monkeypatch.setitem(sys.modules, "grouped", module)


@pytest.mark.usefixtures("own")
def test_a_network_of_ones_own_is_built_with_the_width_that_was_asked_for(cohort):
    assert experiment_on(cohort, model="grouped:Grouped", width=8).width == 8
    with pytest.raises(UsageError, match="num_channels"):
        experiment_on(cohort, model="grouped:Grouped", width=6)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Named:dims=2", (2, 1, 1, 0.0, 8)),
        ("Handing:dims=2,dropout=0.5", (2, 1, 1, 0.5, 8)),
        ("Placed", (1, 1, False)),
        ("Placed:bilinear=true", (1, 1, True)),
        ("Alone", (8, 4)),
        ("Other", (4, False, {})),
    ],
)
def test_no_argument_of_a_network_gets_what_is_meant_for_another(text, asked):
    """The third one became the width, whatever it was called: bilinear=8, dropout=8."""
    assert make_model(f"grouped:{text}", 8).asked == asked


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("name", ["Placed", "Other"])
def test_a_width_that_a_network_has_not_is_refused(cohort, name):
    model = f"grouped:{name}"
    assert experiment_on(cohort, model=model).model == model
    systems_of(Plan(losses=["bce"], models=[model]), cohort)
    for asked in (8, 64):
        with pytest.raises(
            UsageError, match=f"width: {model} has no argument of this name, so that {asked} would .* this argument"
        ):
            experiment_on(cohort, model=model, width=asked)
        with pytest.raises(UsageError, match="has no argument of this name"):
            systems_of(Plan(losses=["bce"], models=[model], training={"width": asked}), cohort)
        beside = systems_of(Plan(losses=["bce"], models=["aunet", model], training={"width": asked}), cohort)[0]
        assert [system.model for system in beside] == ["aunet", model]  # the width is that of the others


@pytest.mark.usefixtures("own")
def test_what_a_network_is_not_called_with_is_told_with_what_it_takes(cohort):
    with pytest.raises(UsageError, match=r"did you mean 'bilinear'. It has channels, classes, bilinear$"):
        experiment_on(cohort, model="grouped:Placed:blinear=true")
    with pytest.raises(UsageError, match="option of its own: --width 4"):
        experiment_on(cohort, model="grouped:Alone:width=4")


@pytest.mark.usefixtures("own")
def test_a_width_that_a_network_hands_on_is_an_option(cohort):
    with pytest.raises(UsageError, match=r"is an option: grouped:Dropping:width=8\)"):
        experiment_on(cohort, model="grouped:Dropping:width=4", width=8)
    assert make_model("grouped:Dropping:width=8", 64).head.in_channels == 8


@pytest.mark.usefixtures("own")
def test_a_network_in_torchscript_is_built_though_it_does_not_tell_what_it_is_called_with():
    assert make_model("grouped:Scripted", 8)(torch.zeros(1, 1, 4, 4)).shape == (1, 1, 4, 4)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Lazy", r"has weights without a size until it sees an image \(body.weight\), .* nn.Conv2d in place of"),
        ("Weightless", "has no weights that can be learned"),
        ("Extra", "keeps _extra_state, which is no tensor, so that no file of weights can hold it"),
        ("Conditioned", r"called with the images alone: .* a default \(missing a required argument: 'time'\)"),
    ],
)
def test_a_network_that_cannot_be_trained_on_images_alone_is_told_in_one_line(cohort, name, said):
    """The first was called a fault of the program, the second ended in a traceback."""
    with pytest.raises(UsageError, match=f"^grouped:{name} .*{said}") as caught:
        experiment_on(cohort, model=f"grouped:{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loss", ["hybrid:from_logits=false", "sm-tversky-s-a:from_logits=false"])
def test_a_loss_of_probabilities_is_refused_where_networks_give_logits(loss, cohort):
    """Validation and prediction would take the sigmoid of what is one already: everything was mass, without a word."""
    with pytest.raises(UsageError, match="from_logits must be true here"):
        experiment_on(cohort, loss=loss)
    with pytest.raises(UsageError, match="from_logits must be true here"):
        systems_of(Plan(losses=[loss]), cohort)


def test_a_run_on_a_cohort_whose_folder_is_hidden_is_found(cohort, tmp_path):
    """It was in a hidden folder itself, which `compare`, `report` and `status` pass over: "no runs here"."""
    experiment = tiny(cohort).model_copy(update={"cohort": ".tiny"})
    experiment.folder(tmp_path, 0).mkdir(parents=True)
    assert run_folders(tmp_path) == [experiment.folder(tmp_path, 0)]
    assert experiment.folder(tmp_path, 0) != tiny(cohort).folder(tmp_path, 0)
