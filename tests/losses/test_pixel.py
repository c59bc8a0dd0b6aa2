"""Rival core losses against formulas written pixel by pixel, and the losses that they become at their limits."""

import math

import pytest
import torch

from drawing import draw
from massmatch.losses import BCE, CORES, LOSSES, Dice, SpatialMatchingLoss, Tversky
from massmatch.losses.cores.base import DiceBCE, Hybrid
from massmatch.losses.cores.weighted import BalancedBCE, Combo, Focal, FocalTversky, TopKBCE, UnifiedFocal, WeightedBCE
from massmatch.losses.rivals.adaptive_region import AdaptiveTversky

AXES = (-2, -1)
Y = draw("""
    ..#..
    .##..
    .....
""").double()
NONE, ALL = torch.zeros_like(Y), torch.ones_like(Y)


def logits(seed=0, shape=Y.shape):
    return 2 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pixels(x, y):
    """(p, y) of every pixel, as plain numbers."""
    return list(zip(torch.sigmoid(x).flatten().tolist(), y.flatten().tolist(), strict=True))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def slow_overlap(x, y):
    pairs = pixels(x, y)
    return sum(p * t for p, t in pairs), sum(p for p, _ in pairs), sum(t for _, t in pairs), len(pairs)


def slow_weighted(x, y):
    return mean(-(3 * t * math.log(p) + (1 - t) * math.log(1 - p)) for p, t in pixels(x, y))


def slow_balanced(x, y):
    share = mean(1 - t for _, t in pixels(x, y))
    return mean(-(share * t * math.log(p) + (1 - share) * (1 - t) * math.log(1 - p)) for p, t in pixels(x, y))


def slow_focal(x, y):
    def one(p, t):
        right, weight = (p, 0.25) if t else (1 - p, 0.75)
        return -weight * (1 - right) ** 2 * math.log(right)

    return mean(one(p, t) for p, t in pixels(x, y))


def slow_combo(x, y):
    tp, p_sum, y_sum, _ = slow_overlap(x, y)
    entropy = mean(-(0.5 * t * math.log(p) + 0.5 * (1 - t) * math.log(1 - p)) for p, t in pixels(x, y))
    return 0.5 * entropy - 0.5 * (2 * tp + 1) / (p_sum + y_sum + 1)


def slow_focal_tversky(x, y):
    tp, p_sum, y_sum, _ = slow_overlap(x, y)
    return (1 - (tp + 1) / (tp + 0.7 * (y_sum - tp) + 0.3 * (p_sum - tp) + 1)) ** 0.75


def slow_adaptive_tversky(x, y):
    tp, p_sum, y_sum, _ = slow_overlap(x, y)
    fn, fp = y_sum - tp, p_sum - tp
    fp_weight, fn_weight = (0.3 + 0.4 * kind / (fp + fn) for kind in (fp, fn))
    return 1 - (tp + 1) / (tp + fp_weight * fp + fn_weight * fn + 1)


def slow_unified(x, y):
    focal = mean(-(0.6 * t * math.log(p) + 0.4 * (1 - t) * math.sqrt(p) * math.log(1 - p)) for p, t in pixels(x, y))
    tp, p_sum, y_sum, n = slow_overlap(x, y)
    fn, fp = y_sum - tp, p_sum - tp
    tn = n - tp - fn - fp
    mass = (tp + 1e-6) / (tp + 0.6 * fn + 0.4 * fp + 1e-6)
    rest = (tn + 1e-6) / (tn + 0.6 * fp + 0.4 * fn + 1e-6)
    return 0.5 * focal + 0.5 * ((1 - rest) + math.sqrt(1 - mass)) / 2


def slow_topk(x, y):
    entropies = sorted((-math.log(p if t else 1 - p) for p, t in pixels(x, y)), reverse=True)
    return mean(entropies[: math.ceil(0.2 * len(entropies))])


CASES = [
    (WeightedBCE(3.0), slow_weighted),
    (BalancedBCE(), slow_balanced),
    (Focal(), slow_focal),
    (Combo(), slow_combo),
    (FocalTversky(), slow_focal_tversky),
    (AdaptiveTversky(), slow_adaptive_tversky),
    (UnifiedFocal(), slow_unified),
    (TopKBCE(0.2), slow_topk),
]
NAMES = [type(core).__name__ for core, _ in CASES]


@pytest.mark.parametrize(("core", "slow"), CASES, ids=NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_each_is_its_formula(core, slow, seed):
    x = logits(seed)
    assert core(x, Y, axes=AXES).item() == pytest.approx(slow(x, Y), rel=1e-9)
    assert core(torch.sigmoid(x), Y, axes=AXES, from_logits=False).item() == pytest.approx(slow(x, Y), rel=1e-7)


@pytest.mark.parametrize("core", [core for core, _ in CASES], ids=NAMES)
def test_pixels_that_do_not_count_have_no_influence(core):
    x, valid = logits(), torch.ones_like(Y)
    valid[..., :2] = 0
    other = x.clone()
    other[..., :2] = 50.0
    expected = core(x[..., 2:], Y[..., 2:], axes=AXES)
    torch.testing.assert_close(core(x, Y, axes=AXES, valid=valid), expected)
    torch.testing.assert_close(core(other, Y, axes=AXES, valid=valid), expected)


@pytest.mark.parametrize("core", [core for core, _ in CASES], ids=NAMES)
def test_every_axis_in_front_is_kept(core):
    x = logits(1, (2, 3, 4, 5, 6))
    y = (logits(2, x.shape) > 1).double()
    found = core(x, y, axes=(-3, -1))
    assert found.shape == (2, 3, 5)
    one = core(x[1, 2, :, 3], y[1, 2, :, 3], axes=(-2, -1))
    torch.testing.assert_close(found[1, 2, 3], one)


@pytest.mark.parametrize("core", [core for core, _ in CASES], ids=NAMES)
@pytest.mark.parametrize("y", [Y, NONE, ALL], ids=["some", "none", "all"])
def test_gradients(core, y):
    x = logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: core(x, y, axes=AXES), (x,), eps=1e-6, atol=1e-5)
    for value in (1e4, -1e4):
        x = torch.full_like(Y, value).requires_grad_()
        loss = core(x, y, axes=AXES)
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("core", [core for core, _ in CASES], ids=NAMES)
def test_on_an_image_without_mass_false_positives_are_pushed_down(core):
    x = logits().requires_grad_()
    (gradient,) = torch.autograd.grad(core(x, NONE, axes=AXES).sum(), x)
    assert gradient.sum() > 0


def test_what_they_become():
    x = logits(5)
    for a, b in (
        (WeightedBCE(1.0), BCE()),
        (Focal(gamma=0, alpha=None), BCE()),
        (TopKBCE(1.0), BCE()),
        (FocalTversky(gamma=1), Tversky()),
        (DiceBCE(), Hybrid(1.0, 1.0)),
    ):
        torch.testing.assert_close(a(x, Y, axes=AXES), b(x, Y, axes=AXES))
    balanced = BalancedBCE()
    torch.testing.assert_close(balanced(x, NONE, axes=AXES), BCE()(x, NONE, axes=AXES))
    torch.testing.assert_close(balanced(x, ALL, axes=AXES), BCE()(x, ALL, axes=AXES))
    combo = 0.25 * BCE()(x, Y, axes=AXES) + 0.5 * Dice()(x, Y, axes=AXES) - 0.5
    torch.testing.assert_close(Combo(alpha=0.5, beta=0.5)(x, Y, axes=AXES), combo)


def test_combo_does_not_reward_false_positives():
    """With the sign of the authors' code the background's term falls as p rises."""
    low, high = torch.full_like(Y, -3.0), torch.full_like(Y, 3.0)
    assert Combo(alpha=1.0)(high, NONE, axes=AXES) > Combo(alpha=1.0)(low, NONE, axes=AXES)


def test_unified_focal_against_monais_on_probabilities():
    """MONAI's wants two channels of probabilities; its focal part is the mean over the classes, not their sum."""
    from monai.losses import AsymmetricUnifiedFocalLoss

    p = torch.sigmoid(logits(3))
    for weight, factor in ((0.0, 1), (1.0, 2)):
        theirs = AsymmetricUnifiedFocalLoss(to_onehot_y=True, num_classes=2, gamma=0.5, delta=0.6, weight=weight)
        expected = factor * theirs(torch.cat([1 - p, p], 1), Y).item()
        ours = UnifiedFocal(weight=weight, smooth=1e-7)(p, Y, axes=AXES, from_logits=False)
        assert ours.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", sorted(set(CORES) - {"bce", "tversky", "dice", "hybrid"}))
def test_each_is_a_core_of_spatial_matching(name):
    x, y = logits(0, (2, 1, 16, 16)), torch.zeros(2, 1, 16, 16, dtype=torch.float64)
    y[0, 0, 3:8, 4:9] = 1
    loss = SpatialMatchingLoss(core=name, scale=True, distance=True, nonzero=True)
    x.requires_grad_()
    value = loss(x, y)
    value.backward()
    assert torch.isfinite(value)
    assert x.grad.abs().sum() > 0
    plain = SpatialMatchingLoss(core=name, grid_weight=0.0)(x, y)
    torch.testing.assert_close(plain, LOSSES[name](reduction="mean")(x, y))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: WeightedBCE(-1), "mass_weight"),
        (lambda: Focal(alpha=2), "alpha"),
        (lambda: Combo(alpha=1.5), "alpha"),
        (lambda: UnifiedFocal(gamma=2), "gamma"),
        (lambda: TopKBCE(0), "share"),
        (lambda: FocalTversky(gamma=float("nan")), "gamma"),
    ],
)
def test_wrong_options_are_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()
