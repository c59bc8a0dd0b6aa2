"""A loss and a network of one's own in `train`, `sweep` and `predict`, in processes that start in the user's folder."""

import importlib
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import yaml
from lightning_fabric import Fabric
from torch import nn

import massmatch
from massmatch.cli.screen import BUG, DEBUG, told
from massmatch.errors import RunError, UsageError
from massmatch.inference.network import load_network
from massmatch.losses import make_loss, own
from massmatch.losses.own import AdaptedLoss, OwnLossError, blamed
from massmatch.runs.collection import collect
from massmatch.runs.experiment import Experiment, check_logits, own_code
from massmatch.runs.failure import failures_written
from massmatch.runs.folder import RunFolder
from massmatch.runs.network import make_model
from massmatch.runs.weights import save_weights
from massmatch.training.batches import Batch
from massmatch.training.own_state import Kept
from massmatch.training.step import Step

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
    monkeypatch.setattr(own, "_NAMED", {})  # networks of this file that other tests name are code of one's own, too
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
    assert len(collect(place / "runs").groups) == 1
    with pytest.raises(ValueError, match="not run on a file's word"):
        load_network(folder)
    network, _ = load_network(folder, own=[MODEL])
    assert type(network).__name__ == "Small"


@pytest.fixture
def weights(place, cohort):
    """A weights file of an own network, untrained."""
    experiment = Experiment(cohort=cohort.name, fingerprint=cohort.fingerprint, loss="bce", model=MODEL, width=2)
    save_weights(place / "w.safetensors", make_model(MODEL, 2), experiment, 0.5, (64, 64), cohort)
    return place / "w.safetensors"


def test_weights_whose_module_is_gone_are_one_line(weights, place, monkeypatch):
    sys.modules.pop("own_for_training")
    (place / "own_for_training.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(UsageError, match="own_for_training:Small: no such loss or network"):
        load_network(weights, own=[MODEL])


def test_weights_whose_network_was_written_anew_say_so(weights, place):
    load_network(weights, own=[MODEL])  # without a warning, which would be an error here
    (place / "own_for_training.py").write_text(MODULE.replace("return self.layers(x)", "return -self.layers(x)"))
    with pytest.warns(RuntimeWarning, match="what the network computes may have changed"):
        load_network(weights, own=[MODEL])


FAULTY = """
import sys

def raising(logits, target):
    return logits.sum() + halved(target)

def halved(target):
    raise KeyError("mine")

def ending(logits, target):
    sys.exit(0)

def reading(logits, target):
    open("weights.npy")

def nothing(logits, target):
    return None
"""
TOLD = {
    "raising": "own_for_training:raising raised KeyError: 'mine' (own_for_training.py, line 8, in halved)",
    "ending": "own_for_training:ending raised SystemExit: 0 (own_for_training.py, line 11, in ending)",
    "reading": "FileNotFoundError: [Errno 2] No such file or directory: 'weights.npy' (own_for_training.py, line 14,",
    "nothing": "a loss must return a scalar tensor, or one value or map per image, but returned a NoneType",
}


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("debug", [False, True])
def test_what_own_code_raises_is_told_as_its_own(place, capsys, name, debug):
    (place / "own_for_training.py").write_text(FAULTY)
    loss, images = make_loss(f"own_for_training:{name}"), torch.zeros(2, 1, 8, 8)
    (DEBUG.set if debug else DEBUG.clear)()
    try:
        with pytest.raises(SystemExit) as end, told():
            loss(images, images)
    finally:
        DEBUG.clear()
    said = capsys.readouterr().err
    assert end.value.code == 1
    assert TOLD[name] in said
    assert BUG not in said
    assert ("per_image" in said) is debug  # our own part of the traceback


@pytest.mark.parametrize("name", TOLD)
def test_a_run_that_own_code_ends_has_failed_and_says_where(place, name):
    (place / "own_for_training.py").write_text(FAULTY)
    loss, images = make_loss(f"own_for_training:{name}"), torch.zeros(2, 1, 8, 8)
    with pytest.raises((Exception, SystemExit)), failures_written(place / "run"):
        loss(images, images)
    assert TOLD[name] in RunFolder(place / "run").failure()


def test_code_of_a_file_with_several_names_is_told_by_all_of_them(place):
    (place / "own_for_training.py").write_text(FAULTY)
    loss = make_loss("own_for_training:raising")
    make_loss("own_for_training:ending")
    with pytest.raises(KeyError) as raised:
        loss(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8))
    assert "own_for_training:raising or own_for_training:ending raised KeyError" in blamed(raised.value)


def test_a_module_that_ends_the_program_when_it_is_imported_is_no_loss(place):
    (place / "own_for_training.py").write_text("raise SystemExit(0)")
    with pytest.raises(ValueError, match=r"no such loss or network \(SystemExit: 0\)"):
        make_loss("own_for_training:anything")


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


def stepped(loss, network):
    """A step of a training with this loss, ready to be called with a batch."""
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    network, optimizer = Fabric(accelerator="cpu", devices=1).setup(network, optimizer)
    return Step(Fabric(accelerator="cpu", devices=1), network, loss, optimizer, None, None, torch.contiguous_format)


@pytest.mark.parametrize(
    "function",
    [
        lambda logits, target: ((logits > 0).float() - target).abs().mean(),
        lambda logits, target: torch.from_numpy(np.abs(logits.detach().numpy() - target.numpy())).mean(),
        lambda logits, target: torch.ones((), requires_grad=True) * target.mean(),
    ],
)
def test_a_loss_from_which_nothing_is_learned_is_refused_at_the_first_step(function):
    step = stepped(AdaptedLoss(function), nn.Conv2d(1, 1, 3, padding=1))
    batch = Batch(torch.rand(2, 1, 8, 8), torch.ones(2, 1, 8, 8), [{}, {}], ["a", "b"])
    with pytest.raises(RunError, match="no gradient by the network's weights, so nothing can be learned"):
        step(batch, 0)


@pytest.mark.long  # a training
def test_a_loss_that_is_the_same_whatever_the_network_says_is_refused_after_an_epoch(cohort, tmp_path):
    options = {"loss": "torch.nn:CrossEntropyLoss", "width": 2, "epochs": 1, "scheme": "split", "threads": 1}
    fixed = {"precision": "float32", "memory": "contiguous"}
    with pytest.raises(RunError, match=r"was 0 in all of epoch 1, .* torch.nn:CrossEntropyLoss may be the same"):
        massmatch.train(cohort, out=tmp_path, **options, **fixed)


DRIFTING = """
from torch import nn

class Drifting(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer, self.mean = nn.Conv2d(inputs, outputs, 3, padding=1), 0.0

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean()
        return self.layer(x - self.mean)
"""


def test_a_network_whose_weights_do_not_hold_all_that_it_learned_leaves_none(cohort, place):
    """They were written, and found other masses than those of its validation."""
    (place / "own_for_training.py").write_text(DRIFTING)
    options = {"model": "own_for_training:Drifting", "epochs": 1, "scheme": "split", "threads": 1}
    told = pytest.warns(UserWarning, match=r"changes Drifting\.mean while it learns")
    with told, pytest.raises(RunError, match="finds something else once its weights are loaded anew"):
        massmatch.train(cohort, out=place / "runs", **options, precision="float32", memory="contiguous")
    assert not list(place.rglob("best.safetensors"))


@pytest.mark.parametrize(
    "text",
    [
        "bce",
        "torch.nn:BCEWithLogitsLoss",
        "own_for_training:absolute:probabilities=true",
        "own_for_training:absolute:weight=0",  # as one that is weighed by an epoch that has not come
        "own_for_training:smoothed",
    ],
)
def test_a_loss_that_likes_right_logits_is_taken_without_a_word(place, text):
    with (place / "own_for_training.py").open("a") as file:
        file.write(
            "\ndef smoothed(x, t):\n    return nn.functional.binary_cross_entropy_with_logits(x, 0.1 + 0.8 * t)\n"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_logits(text)


@pytest.mark.parametrize("text", ["own_for_training:dice", "own_for_training:score:probabilities=true"])
def test_a_loss_of_probabilities_that_is_given_logits_is_told(place, text):
    """The likeliest mistake of all: MONAI's losses want probabilities, unless they are told otherwise."""
    (place / "own_for_training.py").write_text(
        "def dice(p, t):\n    return 1 - 2 * (p * t).sum() / (p + t).sum()\n\n"
        "def score(p, t):\n    return 1 - dice(p, t)\n"
    )
    with pytest.warns(RuntimeWarning, match=f"^{text} is .*if it wants probabilities, give it probabilities=true"):
        check_logits(text)


@pytest.mark.parametrize(
    "name",
    [
        *("DiceLoss", "DiceCELoss", "DiceFocalLoss", "TverskyLoss", "GeneralizedDiceLoss", "SoftDiceclDiceLoss"),
        "AsymmetricUnifiedFocalLoss",
    ],
)
def test_a_loss_of_monai_without_its_sigmoid_is_told(name):
    """The cross-entropy of a DiceCELoss learns, so that it likes right logits better than unsure ones."""
    with pytest.warns(RuntimeWarning, match=r"it teaches no masses, or not with all of its parts.*sigmoid=true"):
        check_logits(f"monai.losses:{name}")


@pytest.mark.parametrize(
    "text",
    [
        *("DiceLoss", "DiceCELoss", "DiceFocalLoss", "TverskyLoss", "GeneralizedDiceLoss"),
        *("DiceLoss:probabilities", "TverskyLoss:probabilities", "AsymmetricUnifiedFocalLoss:probabilities"),
    ],
)
def test_a_loss_of_monai_that_is_spelt_right_is_taken_without_a_word(text):
    name, _, option = text.partition(":")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*teaches no masses")
        check_logits(f"monai.losses:{name}:{option or 'sigmoid'}=true")


def test_what_a_network_changes_and_no_checkpoint_holds_is_told(cohort, place):
    """A number that counts in training alone is in no weights, and is 0 again where a training goes on."""
    (place / "own_for_training.py").write_text(UNSEEN)
    options = {"model": "own_for_training:Stepping", "epochs": 1, "scheme": "split", "threads": 1}
    with pytest.warns(UserWarning, match=r"Stepping changes Stepping\.steps while it learns, which no check"):
        massmatch.train(cohort, out=place / "runs", **options, precision="float32", memory="contiguous")


READY_MADE = """
from torch import nn
from massmatch.losses import LOSSES

class Scheduled(nn.Module):
    epochs = None

    def set_epoch(self, epoch, of):
        self.epochs = (epoch, of)

    def forward(self, logits, target):
        return (logits - target).abs().mean()

class Odd(Scheduled):
    def set_epoch(self, epoch):
        pass

boundary = LOSSES["boundary"]()
"""


def test_a_loss_of_ones_own_is_told_of_each_epoch(place):
    (place / "own_for_training.py").write_text(READY_MADE)
    loss = make_loss("own_for_training:Scheduled")
    loss.set_epoch(3, 10)
    assert loss.function.epochs == (3, 10)
    handed_probabilities = make_loss("own_for_training:Scheduled:probabilities=true")
    handed_probabilities.set_epoch(4, of=10)
    assert handed_probabilities.function.function.epochs == (4, 10)
    with pytest.raises(OwnLossError, match=r"Odd.set_epoch must take \(epoch, of\)"):
        make_loss("own_for_training:Odd").set_epoch(3, 10)


def test_a_ready_made_loss_of_the_catalogue_keeps_its_facts_and_its_schedule(place):
    (place / "own_for_training.py").write_text(READY_MADE)
    own, named = make_loss("own_for_training:boundary"), make_loss("boundary")
    target = torch.zeros(1, 1, 16, 16)
    target[..., 4:9, 4:9] = 1
    for loss in (own, named):
        loss.set_epoch(5, 10)
    assert own.facts(target)[0].keys() == named.facts(target)[0].keys() != set()
    logits = torch.linspace(-2, 2, 256).reshape(1, 1, 16, 16)
    assert torch.equal(own(logits, target), named(logits, target))


UNSEEN = """
import torch
from torch import nn

class Plain:
    def __init__(self, weight=True):
        self.weight = nn.Parameter(torch.ones(()), requires_grad=weight)

    def __call__(self, logits, target):
        return (self.weight * logits - target).abs().mean()

class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = {"one": nn.Conv2d(1, 1, 1)}

    def forward(self, logits, target):
        return (self.layers["one"](logits) - target).abs().mean()

class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
        self.table = {}
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, logits, target):
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * logits.detach().mean()
        return (logits - target).abs().mean() * self.calls

class Shared(nn.Module):
    calls = 0

    def forward(self, logits, target):
        Shared.calls += 1
        return (logits - target).abs().mean() * Shared.calls

class Base(nn.Module):
    calls = 0

class Heir(Base):
    def forward(self, logits, target):
        Base.calls += 1
        return (logits - target).abs().mean() * Base.calls

class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Counting(), Counting()

    def forward(self, logits, target):
        return self.first(logits, target)

class Caching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.utils.spectral_norm(nn.Conv2d(1, 1, 1))
        self.again = nn.GRU(1, 1)
        self.skipped = []

    def forward(self, logits, target):
        self.features = self.layer(logits)
        self.skipped = [self.features]
        return (self.features - target).abs().mean() + 0 * self.again(logits[0, 0, :, :1])[0].sum()

class Stepping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.steps = nn.Conv2d(1, 1, 1), 0

    def forward(self, images):
        self.steps += self.training
        return self.layer(images) * (2 - 1 / (1 + self.steps) if self.training else 1)

class Bank(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("bank", torch.zeros(0))

    def forward(self, logits, target):
        value = (logits - target).abs().mean()
        self.bank = torch.cat([self.bank, value.detach()[None]])[-50:]
        return value

class Late(nn.Module):
    def forward(self, logits, target):
        if not hasattr(self, "mean"):
            self.register_buffer("mean", logits.detach().mean())
        return (logits - target).abs().mean()

class Keeping(Plain):
    def __call__(self, logits, target):
        self.last = self.weight = self.weight + 1
        return (logits - target).abs().mean()
"""


@pytest.mark.parametrize(("name", "where"), [("Plain", "weight"), ("Listed", "layers")])
def test_weights_of_a_loss_that_pytorch_does_not_see_are_refused(place, name, where):
    """They stayed as they were, in silence."""
    (place / "own_for_training.py").write_text(UNSEEN)
    with pytest.raises(ValueError, match=f"keeps weights in {where} where PyTorch does not see them"):
        make_loss(f"own_for_training:{name}")
    make_loss("own_for_training:Plain:weight=false")


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("Counting", "Counting.calls"),
        ("Keeping:weight=false", "Keeping.weight"),
        ("Shared", "Shared.calls"),
        ("Heir", "Heir.calls"),
        ("Twice", "Counting.calls"),
    ],
)
def test_what_a_loss_changes_and_no_checkpoint_holds_is_told(place, text, changed):
    """A run that was interrupted ended with other weights than one that was not."""
    (place / "own_for_training.py").write_text(UNSEEN)
    name = f"own_for_training:{text}"
    loss, images = make_loss(name), torch.rand(2, 1, 8, 8)
    kept = Kept(name, loss)
    kept.compare()
    loss(images, images)
    with pytest.warns(UserWarning, match=f"{text} changes {changed} while it learns, which no checkpoint holds"):
        kept.compare()


def test_what_a_step_leaves_in_a_network_is_no_state(place):
    """Features for a skip connection, a normed weight, the flat weights of a GRU are made anew by each step."""
    (place / "own_for_training.py").write_text(UNSEEN)
    own, images = make_loss("own_for_training:Caching"), torch.rand(2, 1, 8, 8)
    kept = Kept("own_for_training:Caching", own)
    own(images, images).backward()
    torch.optim.SGD(own.parameters(), 0.1).step()
    own(images, images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept.compare()


@pytest.mark.parametrize(("name", "buffer"), [("Bank", "function.bank"), ("Late", "function.mean")])
def test_what_a_loss_makes_while_it_learns_could_not_be_resumed(place, name, buffer):
    """A memory bank, a mean that is registered in the first step: the same command ended in a traceback."""
    (place / "own_for_training.py").write_text(UNSEEN)
    text = f"own_for_training:{name}"
    loss, images = make_loss(text), torch.rand(2, 1, 8, 8)
    kept = Kept(text, loss)
    loss(images, images)
    with pytest.raises(RunError, match=f"^{text} makes {buffer}, or changes its size, while it learns, so that no"):
        kept.compare()
