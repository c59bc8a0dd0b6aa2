"""Losses of one's own under the common call: classes, functions, ready-made modules; what is no loss is told."""

import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F

from massmatch.losses import AdaptedLoss, make_loss
from massmatch.losses.origin import origin
from massmatch.losses.own import callable_loss

MODULE = '''
from functools import partial
from threading import Lock

import torch
from torch import nn
from massmatch.losses import WholeImageLoss, Dice

class Mean(nn.Module):
    """A scalar of logits, times a weight that is learned."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor, self.learned = factor, nn.Parameter(torch.ones(()))

    def forward(self, logits, target):
        return self.factor * self.learned * (torch.sigmoid(logits) - target).abs().mean()

def by_image(p, target, power=1):
    """A map for each image, of probabilities."""
    return (p - target).abs() ** power

class Ours(WholeImageLoss):
    def __init__(self, smooth=1.0, **options):
        super().__init__(Dice(smooth), **options)

class Closed(WholeImageLoss):
    """Takes none of the arguments that all losses of the catalogue have."""

    def __init__(self, smooth=2.0):
        super().__init__(Dice(smooth))

class Handing(Closed):
    def __init__(self, **options):
        super().__init__(**options)

def halves(logits, target):
    """Changes the truth in place."""
    return (logits.sigmoid() - target.mul_(0.5)).abs().mean()

class Kept(nn.Module):
    """Has options of the names that all losses of the catalogue have."""

    def __init__(self, reduction="mean", from_logits=True):
        super().__init__()
        self.reduction, self.from_logits = reduction, from_logits

    def forward(self, x, target):
        error = ((x.sigmoid() if self.from_logits else x) - target).abs()
        return error.sum() if self.reduction == "sum" else error.mean()

def focused(logits, target, gamma):
    """Has an option without a default."""
    return ((logits.sigmoid() - target).abs() ** gamma).mean()

class Masked(nn.Module):
    def forward(self, logits, target, mask):
        return (mask * (logits - target)).mean()

class Broken:
    def __init__(self):
        raise RuntimeError("no licence\\nsecond line")

class Counting(nn.Module):
    """Costs more at each call, and has weights and a buffer."""

    def __init__(self):
        super().__init__()
        self.calls, self.weight = 0, nn.Parameter(torch.rand(2))
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, logits, target):
        self.calls, self.mean = self.calls + 1, self.mean + logits.detach().mean()
        return self.calls * self.weight.sum() * (logits - target).abs().mean() + self.mean

class Plain:
    calls = 0

    def __call__(self, logits, target):
        self.calls += 1
        return self.calls * (logits - target).abs().mean()

class Ending(Plain):
    def __init__(self):
        self.lock = Lock()

def named(logits, target, probabilities=1, mask=0, facts=0, name=0, options=0):
    """Options called as arguments of ours."""
    return probabilities + mask + facts + name + options + 0 * logits.mean()

def swapped(y, y_hat):
    """In the order of many who write of the truth as y."""
    return (y - y_hat).abs().mean()

class Flat(WholeImageLoss):
    """Gives one value for each image in the place of one for each image and channel."""

    def __init__(self, **options):
        super().__init__(Dice(), **options)

    def per_image(self, logits, target, **known):
        return super().per_image(logits, target, **known)[:, 0]

def ported(y_true, y_pred):
    """In the order of Keras."""
    return (y_true - y_pred).abs().mean()

def makes(factor=2.0):
    return Mean(factor)

def taken(probabilities, target):
    return probabilities.mean()

ready = nn.BCEWithLogitsLoss()
counting, plain, ending = Counting(), Plain(), Ending()
set_up = partial(by_image, power=2)
ours = Ours()
number = 3
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "mine_for_tests.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path / "mine_for_tests.py"
    sys.modules.pop("mine_for_tests", None)


def example():
    torch.manual_seed(0)
    y = torch.zeros(2, 1, 8, 8)
    y[:, :, 2:5, 2:5] = 1
    return torch.randn(y.shape), y


def test_a_class_is_called_with_logits_and_keeps_its_parameters():
    x, y = example()
    loss = make_loss("mine_for_tests:Mean:factor=2")
    torch.testing.assert_close(loss(x, y, facts=loss.facts(y)), 2 * (x.sigmoid() - y).abs().mean())
    assert [p.shape for p in loss.parameters()] == [()]


def test_a_function_of_probabilities_gives_values_by_image():
    x, y = example()
    loss = make_loss("mine_for_tests:by_image:power=2,probabilities=true", reduction="none")
    expected = ((x.sigmoid() - y) ** 2).flatten(1).mean(1, keepdim=True)
    torch.testing.assert_close(loss(x, y), expected)
    torch.testing.assert_close(
        loss(x, y, sample_weight=torch.tensor([2.0, 0.0])), expected * torch.tensor([[2.0], [0]])
    )


def test_a_truth_that_the_loss_changes_in_place_stays_as_it_is():
    """A network with several outputs had its second one compared with half of the truth."""
    x, y = example()
    loss = make_loss("mine_for_tests:halves")
    first = loss(x, y)
    assert y.max() == 1
    torch.testing.assert_close(loss(x, y), first)


def test_its_own_options_reduction_and_from_logits_reach_it():
    x, y = example()
    error = (x.sigmoid() - y).abs()
    torch.testing.assert_close(make_loss("mine_for_tests:Kept:reduction=sum")(x, y), error.sum())
    given = make_loss("mine_for_tests:Kept:from_logits=false,probabilities=true")
    torch.testing.assert_close(given(x, y), error.mean())
    assert make_loss("mine_for_tests:Ours:reduction=none")(x, y).shape == (2, 1)
    with pytest.raises(ValueError, match="has no option 'reduction'"):
        make_loss("mine_for_tests:halves:reduction=sum")


def test_a_ready_made_module_and_a_loss_of_ours_are_used_as_they_are():
    x, y = example()
    assert make_loss("mine_for_tests:focused:gamma=0")(x, y) == 1
    torch.testing.assert_close(make_loss("mine_for_tests:ready")(x, y), F.binary_cross_entropy_with_logits(x, y))
    ours = make_loss("mine_for_tests:Ours:smooth=0.5", reduction="none")
    assert ours(x, y).shape == (2, 1)
    assert not isinstance(ours, AdaptedLoss)


def test_a_loss_of_ours_need_not_take_what_nobody_gave():
    """A constructor of one's own was refused for `reduction`, which stood nowhere."""
    x, y = example()
    for name in ("Closed", "Handing"):
        torch.testing.assert_close(make_loss(f"mine_for_tests:{name}")(x, y), make_loss("dice:smooth=2")(x, y))
    with pytest.raises(ValueError, match=r"has no option 'reduction'.*It has smooth"):
        make_loss("mine_for_tests:Closed", reduction="sum")


def test_a_loss_that_takes_the_truth_first_is_refused_in_python_too():
    with pytest.raises(ValueError, match="but its first argument is target"):
        AdaptedLoss(lambda target, logits: (target - logits).abs().mean())


@pytest.mark.parametrize("name", ["counting", "plain"])
def test_what_is_ready_made_begins_anew_in_each_training(name):
    """The second of two trainings in one process went on where the first had ended."""
    x, y = example()
    found = []
    for _ in range(2):
        loss = make_loss(f"mine_for_tests:{name}")
        found.append([loss(x, y).item() for _ in range(3)])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_a_ready_made_loss_of_ours_is_not_changed_by_a_training():
    first, second = make_loss("mine_for_tests:ours"), make_loss("mine_for_tests:ours")
    assert first is not second
    assert not isinstance(first, AdaptedLoss)


def test_weights_drawn_while_a_module_is_imported_are_the_same_in_every_process():
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        drawn.append(dict(make_loss("mine_for_tests:counting").named_parameters())["function.weight"].detach())
        assert torch.equal(torch.random.get_rng_state(), before)
        del sys.modules["mine_for_tests"]
    assert torch.equal(*drawn)


def test_an_option_that_is_called_as_ours_is_its_own():
    x, y = example()
    assert make_loss("mine_for_tests:named:probabilities=3,mask=5,facts=7,name=11,options=13")(x, y) == 39
    torch.testing.assert_close(make_loss("mine_for_tests:taken:probabilities=true")(x, y), x.sigmoid().mean())
    squared = ((x - y) ** 2).mean()
    torch.testing.assert_close(make_loss("mine_for_tests:set_up")(x, y), squared)
    torch.testing.assert_close(make_loss("mine_for_tests:set_up:power=0")(x, y), torch.ones(()))


def test_monais_losses_can_be_named():
    from monai.losses import DiceLoss

    x, y = example()
    torch.testing.assert_close(make_loss("monai.losses:DiceLoss:sigmoid=true")(x, y), DiceLoss(sigmoid=True)(x, y))


def test_half_precision_and_bool_targets_are_brought_to_float32():
    x, y = example()
    assert make_loss("mine_for_tests:ready")(x.half(), y.bool()).dtype == torch.float32
    assert callable_loss("mine_for_tests:ready", {})(x, y) == make_loss("mine_for_tests:ready")(x, y)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no_such_module:X", "no such loss or network .ModuleNotFoundError"),
        ("mine_for_tests:Nothing", "no such loss or network .AttributeError"),
        ("mine_for_tests:Mean:facter=2", "no option 'facter'; did you mean 'factor'. It has factor"),
        ("mine_for_tests:by_image:pover=2", "no option 'pover'; did you mean 'power'"),
        ("mine_for_tests:Broken", "cannot be built with these options: RuntimeError: no licence$"),
        ("mine_for_tests:focused", r"called with \(logits, target\), .* as options, .*: missing a required .* 'gamma'"),
        ("mine_for_tests:Masked", r"must be called with \(logits, target\), .*: missing a required argument: 'mask'"),
        ("mine_for_tests:swapped", r"called with \(logits, target\), but its first argument is y: wrap it in a"),
        ("mine_for_tests:ported", r"called with \(logits, target\), but its first argument is y_true: wrap it in a"),
        ("mine_for_tests:makes", "too many positional arguments; of a function that makes a loss, name the class"),
        ("mine_for_tests:ready:a=1", "ready-made and takes no options"),
        ("mine_for_tests:plain:a=1", "ready-made and takes no options"),
        ("mine_for_tests:ending", r"ready-made and cannot be copied \(TypeError: .*name its class"),
        ("mine_for_tests:set_up:pover=1", "no option 'pover'; did you mean 'power'"),
        ("mine_for_tests:number", "is no loss: it must be a class, a function or a module"),
        ("mine_for_tests:Mean:probabilities=3", "probabilities must be true or false"),
    ],
)
def test_what_is_no_loss_is_told_in_one_line(text, said):
    with pytest.raises(ValueError, match=said) as caught:
        make_loss(text)
    assert "\n" not in str(caught.value)


def test_what_one_number_for_a_batch_cannot_do_is_told():
    x, y = example()
    with pytest.raises(ValueError, match="one number for the whole batch"):
        make_loss("mine_for_tests:Mean", reduction="none")(x, y)
    with pytest.raises(ValueError, match="one number for the whole batch"):
        make_loss("mine_for_tests:Mean")(x, y, sample_weight=torch.ones(2))
    with pytest.raises(ValueError, match="takes no mask"):
        make_loss("mine_for_tests:Mean")(x, y, mask=torch.ones_like(x))
    with pytest.raises(ValueError, match=r"returned a tensor \(8,\)"):
        AdaptedLoss(lambda p, y: torch.zeros(8))(x, y)


def test_values_by_image_of_another_shape_than_asked_for_are_refused():
    """(B,) met weights and hidden images as (B, 1), and gave a mean over B x B numbers."""
    x, y = example()
    for more in ({}, {"sample_weight": torch.ones(len(x))}, {"mask": torch.ones_like(y)}):
        with pytest.raises(ValueError, match=r"Flat\.per_image must give \(B, C\) or \(B, 1\), not \(2,\)"):
            make_loss("mine_for_tests:Flat")(x, y, **more)


def test_the_origin_is_the_version_and_the_source(module):
    assert origin("torch.nn:BCEWithLogitsLoss").startswith(f"torch {torch.__version__.split('+')[0]}")
    first = origin("mine_for_tests:Mean")
    assert first.startswith("mine_for_tests without version, mine_for_tests.py sha256 ")
    module.write_text(MODULE + "\n# changed")
    assert origin("mine_for_tests:Mean") != first


def other_files(module, **texts):
    """The origin of a loss in a module of this text, with files of these texts beside it."""
    for name, text in texts.items():
        path = module.parent / f"{name.replace('__in__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


USES = {
    "a module": "import helper_for_tests\n",
    "a name of it": "from helper_for_tests import shared\n",
    "when it is called": "def late():\n    from helper_for_tests import shared\n",
    "by way of another": "import between_for_tests\n",
    "of a package": "from package_for_tests import inner\n",
    "deep in a package": "import package_for_tests.inner\n",
    "from where it is made": "from helper_for_tests import ready as Mean\n",
}


@pytest.mark.parametrize("how", USES)
def test_the_origin_tells_whether_a_file_that_is_imported_has_changed(module, how):
    other_files(
        module,
        helper_for_tests="from torch import nn\nshared = 1\nready = nn.BCEWithLogitsLoss()\n",
        between_for_tests="import helper_for_tests\nimport mine_for_tests\n",
        package_for_tests__in____init__="",
        package_for_tests__in__inner="from . import beside\nfrom .beside import shared\n",
        package_for_tests__in__beside="import helper_for_tests\nshared = 1\n",
    )
    module.write_text(MODULE + USES[how])
    first = origin("mine_for_tests:Mean")
    (module.parent / "unrelated_for_tests.py").write_text("shared = 3\n")
    assert origin("mine_for_tests:Mean") == first
    other_files(module, helper_for_tests="from torch import nn\nshared = 2\nready = nn.BCEWithLogitsLoss()\n")
    assert origin("mine_for_tests:Mean") != first
    for name in [name for name in sys.modules if name.endswith("_for_tests") and name != "mine_for_tests"]:
        del sys.modules[name]


def test_the_origin_of_what_is_ready_made_tells_whether_it_is_made_otherwise(module):
    first = origin("mine_for_tests:ready")
    module.write_text(MODULE.replace("nn.BCEWithLogitsLoss()", "nn.BCEWithLogitsLoss(reduction='sum')"))
    assert origin("mine_for_tests:ready") != first


def test_installed_packages_are_told_by_their_version_alone(module):
    module.write_text(MODULE + "import json\nimport numpy\nimport monai.losses\n")
    assert origin("mine_for_tests:Mean").count("sha256") == 1
    assert origin("monai.losses:DiceLoss").count("sha256") == 1
