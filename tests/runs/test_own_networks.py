"""What is asked of a network of one's own: logits, layers that PyTorch sees, weights that hold all that it learned."""

import warnings

import pytest
import torch
from torch import nn

from massmatch.data import open_cohort
from massmatch.errors import RunError
from massmatch.runs.experiment import Experiment
from massmatch.runs.network import make_model, refuse_lost_state
from massmatch.runs.precision import arranged, fastest
from massmatch.runs.weights import load_weights, save_weights


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
        (torch.sigmoid, "ends in a sigmoid, but must return logits"),
        (lambda logits: [logits, logits.sigmoid().clamp(0.01)], "ends in a sigmoid"),
        (lambda logits: torch.cat([-logits, logits], 1).softmax(1)[:, 1:], "ends in a softmax"),
        (nn.functional.logsigmoid, "ends in a log-sigmoid"),
        (lambda logits: torch.cat([-logits, logits], 1).log_softmax(1)[:, 1:], "ends in a log-softmax"),
        (nn.functional.hardsigmoid, "ends in a hard sigmoid"),
        (lambda logits: logits.sigmoid().clamp(1e-6).log(), "ends in a sigmoid"),
        (lambda logits: torch.cat([-logits, logits], 1).softmax(1).chunk(2, 1)[1], "ends in a softmax"),
        (lambda logits: torch.cat([-logits, logits], 1).softmax(1)[:, [1]], "ends in a softmax"),
    ],
)
def test_a_network_that_returns_anything_but_logits_is_refused(monkeypatch, made, told):
    monkeypatch.setattr(Returning, "made", staticmethod(made), raising=False)
    with pytest.raises(RunError, match=f"the network Returning .*{told}|the output of the network Returning {told}"):
        make_model(f"{__name__}:Returning", 1)(torch.zeros(2, 1, 8, 8))


class PlainList(nn.Module):
    """The classic mistake: layers in a list that PyTorch does not know."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.first = nn.Conv2d(inputs, 4, 3, padding=1)
        self.layers = [self.first, nn.Conv2d(4, outputs, 3, padding=1)]


class KnownList(PlainList):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.last = self.layers[1]


def test_a_network_whose_layers_pytorch_does_not_see_is_refused():
    """They were not trained, no file held them, and each time that it was loaded it found other masses."""
    with pytest.raises(ValueError, match="PlainList keeps weights in layers where PyTorch does not see them"):
        make_model(f"{__name__}:PlainList", 1)
    make_model(f"{__name__}:KnownList", 1)


class SigmoidOutside(Returning):
    """As much public code does: logits for the loss, probabilities for the user."""

    def forward(self, x):
        return self.layer(x) if self.training else self.layer(x).sigmoid()


def test_a_network_that_takes_a_sigmoid_outside_of_training_alone_is_refused_in_its_first_step():
    """Its validation, prediction and export took a second one: everything was mass."""
    network = make_model(f"{__name__}:SigmoidOutside", 1)
    with pytest.raises(RunError, match="SigmoidOutside ends in a sigmoid outside of training, but must return logits"):
        network(torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize(
    "made",
    [
        lambda logits: logits * logits.sigmoid(),
        lambda logits: 8 * logits.sigmoid() - 4,
        torch.tanh,
        torch.relu,
        lambda logits: nn.functional.logsigmoid(logits) - nn.functional.logsigmoid(-logits),
    ],
)
def test_logits_that_are_made_by_way_of_a_sigmoid_are_logits(monkeypatch, made):
    monkeypatch.setattr(Returning, "made", staticmethod(made), raising=False)
    make_model(f"{__name__}:Returning", 1)(torch.rand(2, 1, 8, 8))


@pytest.mark.filterwarnings("ignore:the network Returning returns 2 outputs")
def test_several_outputs_in_a_tuple_are_trained_and_timed_as_those_in_a_list(monkeypatch):
    """The choice of the fastest number format ended in a traceback."""
    monkeypatch.setattr(Returning, "made", staticmethod(lambda logits: (logits, -logits)), raising=False)
    network = make_model(f"{__name__}:Returning", 1)
    assert isinstance(network(torch.rand(2, 1, 8, 8)), list)
    fastest(network, "float32", "auto", torch.device("cpu"), side=8, at_once=True)


@pytest.mark.filterwarnings("ignore:the network Returning returns 2 outputs")
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


class Drifting(Returning):
    """A network that keeps something it learns outside of its weights."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 1)
        self.mean = self.kept()

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean()
        return self.layer(x - self.mean)


class Number(Drifting):
    def kept(self):
        return 0.0


class Unlisted(Drifting):
    def kept(self):
        self.register_buffer("mean", torch.zeros(()), persistent=False)
        return self.mean


class Listed(Drifting):
    def kept(self):
        self.register_buffer("mean", torch.zeros(()))
        return self.mean


class Drawn(Returning):
    """Features of frequencies that are drawn when it is built, and then never change (Tancik et al. 2020)."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 1)
        self.frequencies = torch.randn(inputs)

    def forward(self, x):
        return self.layer(torch.sin(10 * self.frequencies * x))


class Dropping(Returning):
    """It drops pixels when it predicts, too, as those do that estimate how sure they are (Gal and Ghahramani 2016)."""

    def forward(self, x):
        return self.layer(nn.functional.dropout(x, 0.5, training=True))


def looked_at(kind, seed=0):
    text = f"{__name__}:{kind.__name__}"
    torch.manual_seed(seed)
    network = make_model(text, 1)
    network(torch.rand(2, 1, 8, 8) + 3)
    refuse_lost_state(text, 1, network.eval(), torch.rand(1, 1, 8, 8))


@pytest.mark.parametrize("kind", [Number, Unlisted, Drawn])
def test_a_network_that_keeps_what_it_learns_outside_of_its_weights_is_refused(kind):
    """Its validation was of one network, and what was loaded to predict was another."""
    with pytest.raises(RunError, match=f"{kind.__name__} finds something else once its weights are loaded anew"):
        looked_at(kind)


@pytest.mark.parametrize("kind", [Listed, Dropping])
def test_a_network_whose_weights_hold_all_is_not_refused(kind):
    looked_at(kind)


class Sampling(Returning):
    """Drops out when it predicts, too (Monte Carlo dropout)."""

    def made(self, logits):
        return nn.functional.dropout(logits, 0.3, training=True)


def test_the_first_look_takes_no_random_numbers_from_the_training():
    """It is taken again by each process that goes on with a training, which then went on with other numbers."""
    found = []
    for looks in (True, False):
        network, images = make_model(f"{__name__}:Sampling", 1), torch.rand(2, 1, 8, 8)
        if not looks:  # as in the second step of a training
            torch.manual_seed(1)
            network(images)
        torch.manual_seed(0)
        network(images)
        found.append(torch.rand(1))
    assert found[0] == found[1]


def test_the_look_takes_no_random_numbers_from_the_training():
    text = f"{__name__}:Dropping"
    network, state = make_model(text, 1).eval(), torch.random.get_rng_state()
    refuse_lost_state(text, 1, network, torch.rand(1, 1, 8, 8, generator=torch.Generator()))
    assert torch.equal(torch.random.get_rng_state(), state)


class Same(Returning):
    """A layer that is made with the module, and used by each network of the class."""

    layer_of_all = nn.Conv2d(1, 1, 3, padding=1)
    made = staticmethod(lambda logits: logits)

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 1)
        self.layer = self.layer_of_all


def test_a_layer_that_all_networks_of_a_class_share_is_refused():
    with pytest.raises(RunError, match="takes layers that all networks of its class share"):
        looked_at(Same)


@pytest.mark.parametrize("memory", ["contiguous", "channels-last"])
def test_a_network_of_another_layout_in_memory_is_compared_in_it(memory, monkeypatch):
    monkeypatch.setattr(Returning, "made", staticmethod(lambda logits: logits), raising=False)
    text = f"{__name__}:Returning"
    network = arranged(make_model(text, 1), memory)
    refuse_lost_state(text, 1, network, torch.rand(1, 1, 8, 8), memory)


class Several(Returning):
    """The main output last, as in much public code of nested networks."""

    def forward(self, x):
        return [-self.layer(x), self.layer(x)]


class SeveralInTraining(Several):
    def forward(self, x):
        return super().forward(x) if self.training else self.layer(x)


def test_several_outputs_outside_of_training_are_told_since_the_first_is_the_prediction():
    with pytest.warns(RuntimeWarning, match="Several returns 2 outputs outside of training, too, of which the first"):
        make_model(f"{__name__}:Several", 1)(torch.rand(2, 1, 8, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_model(f"{__name__}:SeveralInTraining", 1)(torch.rand(2, 1, 8, 8))


class Tied(Returning):
    """One weight under two names, as decoders that share theirs have it."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 1)
        self.again = self.layer
        self.made = lambda logits: logits


def test_weights_under_two_names_are_written_and_read(cohort, tmp_path):
    """MONAI's DynUNet has them so: each of its trainings ended in a traceback after the first epoch."""
    text = f"{__name__}:Tied"
    network, opened = make_model(text, 1), open_cohort(cohort.root)
    experiment = Experiment(cohort=opened.name, fingerprint=opened.fingerprint, model=text)
    save_weights(tmp_path / "w.safetensors", network, experiment, 0.5, opened.load(opened.ids[0]).image.shape, opened)
    read, _ = load_weights(tmp_path / "w.safetensors", own=[text])
    image = torch.rand(1, 1, 8, 8)
    assert torch.equal(read(image), network.eval()(image))


class NormOfWeights(Returning):
    made = staticmethod(lambda logits: logits)

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 1)
        with warnings.catch_warnings(action="ignore"):
            self.layer = nn.utils.weight_norm(self.layer)


def test_a_weight_that_is_computed_of_weights_is_no_weight_that_pytorch_does_not_see():
    looked_at(NormOfWeights)
