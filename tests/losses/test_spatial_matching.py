"""The Spatial Matching loss against Algorithm 1 written out as loops, and the laws that it obeys."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from algorithm_1 import VARIANTS, algorithm_1, algorithm_1_of_batch
from drawing import box, draw, draw_instances, made_up, sure
from massmatch.losses import BCE, LOSSES, Dice, SpatialMatchingLoss, Tversky

READINGS = [
    {"threshold": 0.2},
    {"threshold": 0.9},
    {"threshold": 0.0},
    {"numerator": "all"},
    {"matched_weight": 0.9},
    {"matched_weight": 0.0},
    {"combination": "product"},
    {"distance_unit": "pixel"},
    {"distance_unit": "image"},
    {"rescale": "direct"},
    {"rescale": "direct", "matched_weight": 0.25},
    {"cell_statistic": "mean"},
    {"cell_statistic": "max"},
    {"cell_rounding": "up"},
    {"cell_rounding": "down"},
    {"cell_size": (4, 4)},
    {"cell_size": (3, 5)},
    {"cell_size": (32, 2)},
    {"min_cell": 1},
    {"min_cell": 2},
    {"min_cell": 8},
    {"grid_weight": 0.3},
    {"smooth": 0.1},
]
COMPLETE = [name for name in VARIANTS if name.startswith("sm-tversky")]


def options_for(name, reading):
    """The reading, without what this core does not have."""
    return {k: v for k, v in reading.items() if k != "smooth" or not name.startswith("sm-bce")}


def assert_equals_reference(name, logits, target, *, mask=None, instances=None, **reading):
    reading = options_for(name, reading)
    loss = LOSSES[name](reduction="none", **reading)
    expected = algorithm_1_of_batch(logits, target, mask=mask, instances=instances, **VARIANTS[name], **reading)
    value = loss(logits, target, mask=mask, instances=instances)
    assert value.shape == expected.shape
    torch.testing.assert_close(value.double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("seed", range(3))
def test_equals_algorithm_1(name, seed):
    assert_equals_reference(name, *made_up(seed, (2, 1, 16, 16)))


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_algorithm_1_in_float32(name):
    assert_equals_reference(name, *made_up(7, (1, 1, 16, 16), dtype=torch.float32))


@pytest.mark.parametrize("reading", READINGS, ids=str)
@pytest.mark.parametrize("name", COMPLETE)
def test_equals_algorithm_1_in_every_reading(name, reading):
    assert_equals_reference(name, *made_up(11, (2, 1, 16, 16), masses=3), **reading)


@pytest.mark.parametrize("reading", READINGS, ids=str)
@pytest.mark.parametrize("name", ["sm-bce-sd-nz", "sm-dice-sd-nz"])
def test_other_cores_equal_algorithm_1_in_every_reading(name, reading):
    assert_equals_reference(name, *made_up(12, (1, 1, 13, 18)), **reading)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("shape", [(1, 1, 13, 18), (1, 1, 1, 37), (1, 1, 9, 8, 10), (1, 3, 12, 16)], ids=str)
def test_equals_algorithm_1_in_every_number_of_axes_and_for_any_size(name, shape):
    assert_equals_reference(name, *made_up(3, shape))


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_algorithm_1_without_mass(name):
    logits, target = made_up(4)
    for reading in ({}, {"cell_size": (4, 8)}, {"rescale": "direct"}, {"numerator": "all"}):
        assert_equals_reference(name, logits, torch.zeros_like(target), **reading)


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_algorithm_1_on_soft_targets(name):
    assert_equals_reference(name, *made_up(5, soft=True))


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_algorithm_1_under_a_mask(name):
    logits, target = made_up(6, (2, 1, 12, 16))
    mask = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[:, :, :8, :8] = False  # whole cells without a valid pixel
    assert_equals_reference(name, logits, target, mask=mask)


def test_equals_algorithm_1_with_instances():
    instances = draw_instances("""
        . . . . . . . . . . . . . . . .
        . . 1 1 1 2 2 2 2 2 . . . . . .
        . . 1 1 1 2 2 2 2 2 . . . . . .
        . . 1 1 1 2 2 2 2 2 . . . . . .
        . . . . . 2 2 2 2 2 . . . . . .
        . . . . . . . . . . . . . . . .
        . . . . . . . . . . . . . . . .
        . . . . . . . . . . . . . . . .
    """)
    logits, _ = made_up(8, (1, 1, 8, 16))
    for name in COMPLETE:
        assert_equals_reference(name, logits, (instances > 0).double(), instances=instances, min_cell=1)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(VARIANTS)), reading=st.sampled_from(READINGS))
def test_equals_algorithm_1_wherever_hypothesis_looks(seed, name, reading):
    assert_equals_reference(name, *made_up(seed, (1, 1, 11, 12), masses=seed % 4), **reading)


# --- facts, explain, batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_facts_change_nothing(name):
    logits, target = made_up(9, (3, 2, 16, 12))
    loss = LOSSES[name]()
    assert torch.equal(loss(logits, target, facts=loss.facts(target)), loss(logits, target))


@pytest.mark.parametrize("name", ["sm-tversky-sd-nz", "sm-bce-d-a"])
def test_facts_of_the_whole_truth_hold_under_a_mask_that_hides_some(name):
    logits, target = made_up(10, (2, 1, 16, 16))
    mask = torch.ones_like(target)
    mask[:, :, :, :9] = 0
    loss = LOSSES[name]()
    assert (target * (1 - mask)).any()
    assert torch.equal(loss(logits, target, mask=mask, facts=loss.facts(target)), loss(logits, target, mask=mask))


@pytest.mark.parametrize("name", VARIANTS)
def test_pixels_outside_the_mask_have_no_influence(name):
    logits, target = made_up(13, (2, 1, 16, 16))
    mask = torch.ones_like(target)
    mask[:, :, 5:, :7] = 0
    loss = LOSSES[name]()
    other = loss(torch.where(mask > 0, logits, 30.0), torch.where(mask > 0, target, 1 - target), mask=mask)
    torch.testing.assert_close(loss(logits, target, mask=mask), other)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_ledger_adds_up(name):
    logits, target = made_up(14)
    loss = LOSSES[name](grid_weight=0.7)
    terms = loss.explain(logits, target)
    value = loss(logits, target)
    torch.testing.assert_close(terms.image + terms.contributions.sum(), value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(terms.loss, value, rtol=1e-12, atol=1e-12)
    ledger = (terms.kept * terms.weight * terms.cells).sum() / terms.kept.sum().clamp(min=1)
    torch.testing.assert_close(terms.image + 0.7 * terms.ratio * ledger, value, rtol=1e-12, atol=1e-12)


def test_explain_has_the_terms_of_algorithm_1():
    logits, target = made_up(15)
    terms = LOSSES["sm-tversky-sd-nz"]().explain(logits, target)
    expected = algorithm_1(logits.sigmoid()[0, 0], target[0, 0], **VARIANTS["sm-tversky-sd-nz"])
    assert terms.cell_size == expected.cell_size
    assert terms.kept.tolist() == expected.kept.tolist()
    assert terms.predicted.tolist() == expected.contains_p.tolist()
    assert terms.true.tolist() == expected.contains_y.tolist()
    for mine, theirs in (
        (terms.cells, expected.L_i),
        (terms.weight, expected.w_i),
        (terms.distance, expected.D_i),
        (terms.contributions, expected.contributions),
    ):
        torch.testing.assert_close(mine, torch.from_numpy(theirs))
    assert float(terms.S) == pytest.approx(expected.S)
    assert float(terms.ratio) == pytest.approx(expected.s)
    assert float(terms.image) == pytest.approx(expected.L_I)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_explain_tells_the_loss_of_the_call_with_masses_and_mask(masked, labelled):
    """Two masses that touch, 3 and 5 pixels wide; the mask hides part of the wider one, or nothing."""
    instances = draw_instances("""
        . . . . . . . . . . . . . . . .
        . . 1 1 1 2 2 2 2 2 . . . . . .
        . . 1 1 1 2 2 2 2 2 . . . . . .
        . . 1 1 1 2 2 2 2 2 . . . . . .
    """)
    logits, target = made_up(8, (1, 1, 4, 16))[0], (instances > 0).double()
    mask = torch.ones_like(target)
    mask[..., 6:] = 0
    given = {"mask": mask if masked else None, "instances": instances if labelled else None}
    loss = LOSSES["sm-tversky-sd-nz"](min_cell=1)
    terms = loss.explain(logits, target, **given)
    torch.testing.assert_close(terms.loss, loss(logits, target, **given))
    of = {word: None if value is None else value[0, 0] for word, value in given.items()}
    expected = algorithm_1(logits.sigmoid()[0, 0], target[0, 0], **VARIANTS["sm-tversky-sd-nz"], min_cell=1, **of)
    assert terms.cell_size == expected.cell_size


def test_explain_knows_distances_even_if_the_loss_does_not_weigh_by_them():
    target = box((16, 16), ((0, 0), (4, 4)))
    prediction = box((16, 16), ((12, 0), (4, 4)))
    terms = LOSSES["sm-bce-b-a"]().explain(sure(prediction), target)
    assert float(terms.distance[3, 0]) == 3
    assert (terms.weight == 1).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch_is_the_mean_of_its_images(name):
    logits, target = made_up(16, (4, 1, 16, 16))
    loss = LOSSES[name]()
    alone = torch.stack([loss(x[None], y[None]) for x, y in zip(logits, target, strict=True)])
    torch.testing.assert_close(loss(logits, target), alone.mean(), rtol=1e-12, atol=1e-12)


def test_channels_are_images_of_their_own():
    logits, target = made_up(17, (2, 3, 16, 16))
    loss = SpatialMatchingLoss(scale=True, distance=True, reduction="none")
    alone = loss(logits.flatten(0, 1)[:, None], target.flatten(0, 1)[:, None])
    torch.testing.assert_close(loss(logits, target).flatten(), alone.flatten())


def test_reductions_and_weights():
    logits, target = made_up(18, (3, 2, 16, 16))
    values = SpatialMatchingLoss(scale=True, reduction="none")(logits, target)
    weight, both = torch.tensor([1.0, 0.0, 2.5]), torch.rand(3, 2)
    mean, total, none = (SpatialMatchingLoss(scale=True, reduction=name) for name in ("mean", "sum", "none"))
    assert values.shape == (3, 2)
    torch.testing.assert_close(mean(logits, target), values.mean())
    torch.testing.assert_close(total(logits, target), values.sum())
    torch.testing.assert_close(mean(logits, target, sample_weight=weight), (values * weight[:, None]).sum() / 6)
    torch.testing.assert_close(mean(logits, target, sample_weight=both), (values * both).sum() / 6)
    torch.testing.assert_close(total(logits, target, sample_weight=weight), (values * weight[:, None]).sum())
    torch.testing.assert_close(none(logits, target, sample_weight=weight), values * weight[:, None])
    assert total(logits, target, sample_weight=torch.ones(3)) == total(logits, target)


# --- laws -------------------------------------------------------------------------------------------------------


def test_basic_average_bce_is_twice_bce():
    logits, target = made_up(19)
    torch.testing.assert_close(LOSSES["sm-bce-b-a"]()(logits, target), 2 * LOSSES["bce"]()(logits, target))


def test_scaled_average_bce_is_bce_times_one_and_sigma_of_s():
    logits, target = made_up(20)
    loss = LOSSES["sm-bce-s-a"]()
    s = torch.sigmoid(loss.explain(logits, target).S)
    torch.testing.assert_close(loss(logits, target), (1 + s) * LOSSES["bce"]()(logits, target))


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("predicted", [True, False])
def test_one_cell_that_is_the_image(name, predicted):
    logits = torch.full((1, 1, 8, 8), 2.0 if predicted else -2.0, dtype=torch.float64)
    logits[0, 0, :2] -= 0.5
    target = torch.zeros_like(logits)
    terms = LOSSES[name](cell_size=(8, 8)).explain(logits, target)
    kept = predicted or name.endswith("-a")
    s, w = (float(t) for t in (terms.ratio, terms.weight))
    expected = (1 + s * w) * terms.image if kept else terms.image
    torch.testing.assert_close(LOSSES[name](cell_size=(8, 8))(logits, target), expected)


@pytest.mark.parametrize("name", VARIANTS)
def test_flips_change_nothing_where_the_grid_tiles_the_image(name):
    logits, target = made_up(21)
    loss = LOSSES[name]()
    for axes in ((-1,), (-2,), (-2, -1)):
        torch.testing.assert_close(loss(logits.flip(axes), target.flip(axes)), loss(logits, target))


@pytest.mark.parametrize("name", COMPLETE)
def test_kept_weight_and_ratio_carry_no_gradient(name):
    logits, target = made_up(22)
    terms = LOSSES[name]().explain(logits.requires_grad_(), target)
    assert terms.image.requires_grad
    assert terms.cells.requires_grad
    for term in (terms.kept, terms.weight, terms.ratio, terms.S, terms.distance, terms.predicted, terms.true):
        assert not term.requires_grad


@pytest.mark.parametrize("name", [*VARIANTS, "bce", "dice", "tversky", "hybrid"])
def test_the_gradient_is_that_of_finite_differences(name):
    """Along directions drawn among all pixels; test_algorithm_1.py looks along each pixel."""
    logits, target = made_up(23, (1, 2, 5, 7))  # two channels, and cells that are cut off at both borders
    loss = LOSSES[name]()
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("name", ["sm-tversky-sd-nz", "sm-dice-d-a", "sm-bce-s-a"])
def test_the_gradient_holds_under_a_mask_with_the_squared_dice_and_for_probabilities(name):
    logits, target = made_up(24, (1, 1, 8, 9))
    mask = (torch.rand(logits.shape, generator=torch.Generator().manual_seed(2)) < 0.8).double()
    options = {"squared": True} if "dice" in name else {}
    loss, of_values = LOSSES[name](**options), LOSSES[name](from_logits=False, **options)
    assert torch.autograd.gradcheck(lambda x: loss(x, target, mask=mask), logits.requires_grad_())
    values = logits.detach().sigmoid().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: of_values(x, target, mask=mask), values)


@pytest.mark.parametrize("name", [*VARIANTS, "bce", "dice", "tversky", "hybrid"])
def test_probabilities_give_the_value_of_their_logits(name):
    logits, target = made_up(25)
    value = LOSSES[name](from_logits=False)(logits.sigmoid(), target)
    torch.testing.assert_close(value, LOSSES[name]()(logits, target))


# --- cores of somebody else's -----------------------------------------------------------------------------------


def mean_squared_error(logits, target, *, axes, valid=None, from_logits=True):
    p = logits.sigmoid() if from_logits else logits
    valid = torch.ones_like(p) if valid is None else valid
    return ((p - target) ** 2 * valid).sum(axes) / valid.sum(axes).clamp(min=1)


def plain_error(logits, target, *, axes):
    return (logits.sigmoid() - target).abs().mean(axes)


def test_any_callable_that_reduces_axes_is_a_core():
    logits, target = made_up(26)
    loss = SpatialMatchingLoss(mean_squared_error)
    torch.testing.assert_close(loss(logits, target), 2 * ((logits.sigmoid() - target) ** 2).mean())
    terms = SpatialMatchingLoss(plain_error, scale=True, distance=True).explain(logits, target)
    assert terms.cells.shape == terms.kept.shape


@pytest.mark.parametrize("core", [BCE(), Tversky(), Dice(), Dice(squared=True)], ids=str)
def test_the_fast_path_over_sums_equals_the_general_one(core):
    logits, target = made_up(27, (2, 1, 13, 16))

    def general(*args, axes, valid=None, from_logits=True):
        return core(*args, axes=axes, valid=valid, from_logits=from_logits)

    options = {"scale": True, "distance": True, "nonzero": True}
    fast, slow = (SpatialMatchingLoss(c, **options) for c in (core, general))
    gradients = []
    for loss in (fast, slow):
        x = logits.clone().requires_grad_()
        loss(x, target).backward()
        gradients.append(x.grad)
    torch.testing.assert_close(fast(logits, target), slow(logits, target))
    torch.testing.assert_close(*gradients)


def test_a_core_without_valid_is_refused_by_name_where_it_is_needed():
    logits, target = made_up(28)
    loss = SpatialMatchingLoss(plain_error, cell_size=(5, 4))
    with pytest.raises(ValueError, match="plain_error takes no argument 'valid'"):
        loss(logits, target)
    with pytest.raises(ValueError, match="plain_error takes no argument 'valid'"):
        SpatialMatchingLoss(plain_error, cell_size=(4, 4))(logits, target, mask=torch.ones_like(target))
    with pytest.raises(ValueError, match="plain_error takes no argument 'from_logits'"):
        SpatialMatchingLoss(plain_error, cell_size=(4, 4), from_logits=False)(logits.sigmoid(), target)


def test_a_core_that_reduces_too_much_is_refused_by_name():
    def everything(logits, target, *, axes, valid=None):
        return (logits - target).abs().mean()

    with pytest.raises(ValueError, match="everything must reduce the axes"):
        SpatialMatchingLoss(everything)(*made_up(29))


def test_moving_a_false_positive_away_costs_more():  # Fig. 1b
    truth, near, far = draw("#" * 4 + "." * 28), draw("." * 4 + "#" * 4 + "." * 24), draw("." * 28 + "#" * 4)
    loss = LOSSES["sm-bce-d-a"]()
    assert LOSSES["bce"]()(sure(near), truth) == LOSSES["bce"]()(sure(far), truth)
    assert loss(sure(far), truth) > loss(sure(near), truth)
