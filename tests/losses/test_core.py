"""The core losses: values worked out by hand, and what a core promises to the grid."""

import dataclasses
from math import log

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from drawing import made_up
from massmatch.losses import BCE, Dice, Tversky
from massmatch.losses.cores import sums

CORES = {
    "bce": BCE(),
    "tversky": Tversky(),
    "tversky, other weights": Tversky(fn_weight=0.2, fp_weight=1.1, smooth=0.3),
    "dice": Dice(),
    "dice, squared": Dice(squared=True, smooth=0.5),
}
every_core = pytest.mark.parametrize("core", CORES.values(), ids=CORES.keys())
AXES = (-2, -1)


def probabilities(*rows):
    """A 64-bit tensor (rows, columns), and the logits that say the same."""
    p = torch.tensor(rows, dtype=torch.float64)
    return torch.log(p / (1 - p))


def truth(*rows):
    return torch.tensor(rows, dtype=torch.float64)


# p and y of four pixels: TP = 0.8 + 0.4, FN = 0.2 + 0.6, FP = 0.5 + 0.1
LOGITS = probabilities([0.8, 0.4], [0.5, 0.1])
TARGET = truth([1, 1], [0, 0])


def test_bce_is_the_mean_over_the_pixels():
    expected = -(log(0.8) + log(0.4) + log(0.5) + log(0.9)) / 4
    assert BCE()(LOGITS, TARGET, axes=AXES).item() == pytest.approx(expected)


def test_bce_of_a_half_everywhere_is_log_2():
    assert BCE()(torch.zeros(3, 3), torch.eye(3), axes=AXES).item() == pytest.approx(log(2))


def test_bce_of_a_soft_target():
    expected = -(0.25 * log(0.8) + 0.75 * log(0.2))
    assert BCE()(probabilities([0.8]), truth([0.25]), axes=AXES).item() == pytest.approx(expected)


def test_bce_equals_that_of_torch():
    logits, target = made_up(0, soft=True)
    expected = F.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(BCE()(logits, target, axes=AXES).mean(), expected)


def test_tversky_by_hand():
    expected = 1 - (1.2 + 1) / (1.2 + 0.7 * 0.8 + 0.3 * 0.6 + 1)
    assert Tversky()(LOGITS, TARGET, axes=AXES).item() == pytest.approx(expected)


def test_tversky_with_other_weights_by_hand():
    core = Tversky(fn_weight=0.2, fp_weight=0.9, smooth=0.5)
    expected = 1 - (1.2 + 0.5) / (1.2 + 0.2 * 0.8 + 0.9 * 0.6 + 0.5)
    assert core(LOGITS, TARGET, axes=AXES).item() == pytest.approx(expected)


def test_dice_by_hand():
    expected = 1 - (2 * 1.2 + 1) / (1.8 + 2 + 1)
    assert Dice()(LOGITS, TARGET, axes=AXES).item() == pytest.approx(expected)


def test_squared_dice_by_hand():
    squares = 0.64 + 0.16 + 0.25 + 0.01
    expected = 1 - (2 * 1.2 + 1) / (squares + 2 + 1)
    assert Dice(squared=True)(LOGITS, TARGET, axes=AXES).item() == pytest.approx(expected)


def test_smooth_of_dice_by_hand():
    expected = 1 - (2 * 1.2 + 0.1) / (1.8 + 2 + 0.1)
    assert Dice(smooth=0.1)(LOGITS, TARGET, axes=AXES).item() == pytest.approx(expected)


@pytest.mark.parametrize("smooth", [1.0, 0.1, 1e-5])
def test_dice_is_tversky_with_equal_weights_and_half_the_smoothing(smooth):
    logits, target = made_up(1)
    tversky = Tversky(fn_weight=0.5, fp_weight=0.5, smooth=smooth / 2)
    dice = Dice(smooth=smooth)
    torch.testing.assert_close(tversky(logits, target, axes=AXES), dice(logits, target, axes=AXES))


def test_fn_weight_weighs_false_negatives():
    missed, spurious = truth([1, 1, 0, 0]), truth([0, 0, 0, 0])
    logits = probabilities([0.01, 0.01, 0.01, 0.01])

    def change(target):
        heavy, light = Tversky(fn_weight=0.9), Tversky(fn_weight=0.1)
        return (heavy(logits, target, axes=AXES) - light(logits, target, axes=AXES)).item()

    assert change(missed) > 0.3
    assert change(spurious) == 0


def test_fp_weight_weighs_false_positives():
    heavy, light = Tversky(fp_weight=0.9), Tversky(fp_weight=0.1)
    all_true, none_true = torch.ones(1, 4), torch.zeros(1, 4)
    logits = torch.full((1, 4), 3.0)
    assert heavy(logits, none_true, axes=AXES) > light(logits, none_true, axes=AXES) + 0.3
    assert heavy(logits, all_true, axes=AXES) == light(logits, all_true, axes=AXES)


def test_defaults_are_those_of_the_design():
    assert Tversky() == Tversky(fn_weight=0.7, fp_weight=0.3, smooth=1.0)
    assert Dice() == Dice(smooth=1.0, squared=False)


@every_core
def test_a_core_is_a_value_that_does_not_change(core):
    assert dataclasses.is_dataclass(core)
    assert dataclasses.replace(core) == core
    assert hash(dataclasses.replace(core)) == hash(core)
    with pytest.raises(dataclasses.FrozenInstanceError):
        core.smooth = 2.0


@every_core
def test_a_core_reduces_its_axes_and_keeps_those_in_front(core):
    logits, target = made_up(2, (2, 3, 4, 5))
    value = core(logits, target, axes=AXES)
    assert value.shape == (2, 3)
    torch.testing.assert_close(value[1, 2], core(logits[1, 2], target[1, 2], axes=AXES))


@every_core
def test_a_core_reduces_one_axis_or_three(core):
    logits, target = made_up(3, (2, 3, 4, 5))
    assert core(logits, target, axes=(-1,)).shape == (2, 3, 4)
    assert core(logits, target, axes=(-3, -2, -1)).shape == (2,)
    flat = core(logits.reshape(2, 60), target.reshape(2, 60), axes=(-1,))
    torch.testing.assert_close(core(logits, target, axes=(-3, -2, -1)), flat)


@every_core
def test_a_core_reduces_the_pixels_of_cells_whose_axes_are_not_neighbours(core):
    logits, target = made_up(4, (1, 1, 4, 6))
    logits, target = logits[0, 0], target[0, 0]
    cells = core(logits.reshape(2, 2, 2, 3), target.reshape(2, 2, 2, 3), axes=(-3, -1))
    assert cells.shape == (2, 2)
    torch.testing.assert_close(cells[1, 0], core(logits[2:, :3], target[2:, :3], axes=AXES))


@every_core
def test_only_valid_pixels_count(core):
    logits, target = made_up(5, (1, 1, 6, 6))
    logits, target = logits[0, 0], target[0, 0]
    valid = torch.zeros_like(logits)
    valid[1:4, 2:6] = 1
    inside = core(logits[1:4, 2:6], target[1:4, 2:6], axes=AXES)
    torch.testing.assert_close(core(logits, target, axes=AXES, valid=valid), inside)


@every_core
def test_pixels_that_are_not_valid_have_no_gradient(core):
    logits, target = made_up(6, (1, 1, 4, 4))
    logits.requires_grad_()
    valid = torch.ones_like(logits)
    valid[..., 2:] = 0
    core(logits, target, axes=AXES, valid=valid).sum().backward()
    assert (logits.grad[..., 2:] == 0).all()
    assert (logits.grad[..., :2] != 0).all()


@every_core
def test_valid_everywhere_changes_nothing(core):
    logits, target = made_up(7)
    everywhere = core(logits, target, axes=AXES, valid=torch.ones_like(logits))
    torch.testing.assert_close(everywhere, core(logits, target, axes=AXES))


@every_core
def test_a_region_without_a_valid_pixel_is_finite_in_value_and_gradient(core):
    logits, target = made_up(8, (1, 1, 4, 4))
    logits.requires_grad_()
    value = core(logits, target, axes=AXES, valid=torch.zeros_like(logits))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(logits.grad).all()


@every_core
def test_probabilities_give_the_value_of_their_logits(core):
    logits, target = made_up(9)
    p = torch.sigmoid(logits)
    torch.testing.assert_close(
        core(p, target, axes=AXES, from_logits=False), core(logits, target, axes=AXES), rtol=1e-9, atol=1e-9
    )


@every_core
def test_probabilities_of_exactly_zero_and_one_are_finite(core):
    p = torch.tensor([[0.0, 1.0, 0.0, 1.0]], requires_grad=True)
    value = core(p, torch.tensor([[0.0, 1.0, 1.0, 0.0]]), axes=AXES, from_logits=False)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(p.grad).all()


@every_core
@pytest.mark.parametrize("logit", [1e4, -1e4])
def test_extreme_logits_are_finite_in_value_and_gradient(core, logit):
    logits = torch.full((4, 4), logit, requires_grad=True)
    value = core(logits, torch.eye(4), axes=AXES)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


def test_bce_of_a_wrong_extreme_logit_is_the_logit():
    assert BCE()(torch.full((1, 1), 1e4), torch.zeros(1, 1), axes=AXES).item() == pytest.approx(1e4)


@every_core
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(core, from_logits, masked):
    logits, target = made_up(10, (2, 2, 3, 4), soft=True)
    values = logits if from_logits else torch.sigmoid(logits)
    valid = (torch.arange(12).reshape(3, 4) % 5 > 0).double().expand(2, 2, 3, 4) if masked else None

    def value(x):
        return core(x, target, axes=AXES, valid=valid, from_logits=from_logits)

    assert gradcheck(value, values.clone().requires_grad_())


@every_core
@pytest.mark.parametrize("from_logits", [True, False])
def test_the_gradient_has_the_gradient_of_finite_differences(core, from_logits):
    logits, target = made_up(11, (1, 2, 3, 4), soft=True)
    values = (logits if from_logits else torch.sigmoid(logits)).requires_grad_()
    assert gradgradcheck(lambda x: core(x, target, axes=AXES, from_logits=from_logits), values)


@every_core
def test_a_hessian_is_that_of_plain_formulas(core):
    """`torch.func` differentiates forwards too: what is written by hand must say how."""
    logits, target = made_up(12, (1, 1, 2, 3))

    def value(x):
        return core(x, target, axes=AXES).sum()

    expected = torch.autograd.functional.hessian(value, logits)
    torch.testing.assert_close(torch.func.hessian(value)(logits), expected)
    torch.testing.assert_close(torch.func.grad(value)(logits), torch.autograd.functional.jacobian(value, logits))


@every_core
@pytest.mark.parametrize("from_logits", [True, False])
def test_what_a_compiler_sees_has_the_same_value_and_gradient(core, from_logits, monkeypatch):
    """Eagerly the sums have gradients of their own, in a compiled graph those of PyTorch: the suite compiles little."""
    logits, target = made_up(9)
    x = logits if from_logits else logits.sigmoid()
    found = []
    for compiling in (False, True):
        monkeypatch.setattr(sums.torch.compiler, "is_compiling", lambda compiling=compiling: compiling)
        given = x.clone().requires_grad_()
        value = core(given, target, axes=AXES, from_logits=from_logits).sum()
        found.append((value.detach(), *torch.autograd.grad(value, given)))
    torch.testing.assert_close(*found)
