"""The Spatial Matching loss equals Algorithm 1 for every variant times every reading, in legal combinations of all.

What holds of every variant already in a second or two stands in test_spatial_matching.py, and is not said here again.
"""

import copy
import inspect
import itertools

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.autograd import gradcheck

from algorithm_1 import L_OF, SM, VARIANTS, G, algorithm_1, algorithm_1_of_batch
from drawing import box, draw, draw_instances, made_up, sure
from massmatch.losses import BCE, LOSSES, Dice, SpatialMatchingLoss, Tversky

pytestmark = pytest.mark.long  # a second look, wider than test_spatial_matching.py

every_variant = pytest.mark.parametrize("name", VARIANTS)
every_core = pytest.mark.parametrize("core", [BCE(), Tversky(), Dice()], ids=["bce", "tversky", "dice"])
every_strategy = pytest.mark.parametrize(
    "switches", [SM[sm] | G[g] for sm in SM for g in G], ids=[f"{sm}-{g}" for sm in SM for g in G]
)
PLAIN = ("bce", "dice", "tversky", "hybrid")

READINGS = [  # each is given to the loss and to algorithm_1
    {},
    {"threshold": 0.2},
    {"threshold": 0.9},
    {"numerator": "all"},
    {"numerator": "all", "rescale": "direct"},
    {"matched_weight": 0.0},
    {"matched_weight": 1.0},
    {"matched_weight": 0.3, "combination": "product"},
    {"matched_weight": 0.3, "rescale": "direct"},
    {"combination": "product"},
    {"combination": "product", "rescale": "direct"},
    {"distance_unit": "pixel"},
    {"distance_unit": "image"},
    {"distance_unit": "pixel", "rescale": "direct"},
    {"distance_unit": "image", "rescale": "direct"},
    {"rescale": "direct"},
    {"cell_statistic": "mean"},
    {"cell_statistic": "max"},
    {"cell_rounding": "up"},
    {"cell_rounding": "down"},
    {"cell_rounding": "down", "cell_statistic": "mean", "min_cell": 1},
    {"min_cell": 1},
    {"min_cell": 2},
    {"min_cell": 8},
    {"cell_size": (4, 4)},
    {"cell_size": (3, 5)},
    {"cell_size": (1, 2), "distance_unit": "pixel"},
    {"cell_size": (12, 20)},
    {"grid_weight": 0.25},
    {"grid_weight": 3.0, "numerator": "all", "combination": "product"},
]
readings = pytest.mark.parametrize("reading", READINGS, ids=[" ".join(map(str, r.items())) for r in READINGS])


def assert_equals_algorithm_1(name, logits, target, *, mask=None, instances=None, within=1e-7, **options):
    expected = algorithm_1_of_batch(logits, target, mask=mask, instances=instances, **VARIANTS[name], **options)
    loss = LOSSES[name](reduction="none", **options)
    value = loss(logits, target, mask=mask, instances=instances)
    assert value.shape == expected.shape
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=within, atol=within)


# --- equals Algorithm 1 -------------------------------------------------------------------------------------


@every_variant
@readings
def test_equals_algorithm_1(name, reading):
    logits, target = made_up(11, (2, 1, 12, 20))
    assert_equals_algorithm_1(name, logits, target, **reading)


@every_variant
@pytest.mark.parametrize("shape", [(1, 13), (64, 1), (1, 9), (11, 7), (17, 30), (5, 6, 7), (8, 4, 8)], ids=str)
def test_equals_algorithm_1_in_every_shape(name, shape):
    logits, target = made_up(13, (1, 1, *shape), masses=2)
    assert_equals_algorithm_1(name, logits, target, min_cell=2)


@every_variant
def test_equals_algorithm_1_with_several_channels(name):
    logits, target = made_up(14, (2, 3, 9, 12))
    target[0, 1] = 0
    assert_equals_algorithm_1(name, logits, target, min_cell=1)


@every_variant
def test_equals_algorithm_1_where_the_mask_hides_every_mass(name):
    logits, _ = made_up(20, (1, 1, 10, 12))
    target = box((10, 12), ((1, 1), (4, 3))).double()
    mask = torch.ones_like(target)
    mask[..., :6] = 0
    assert_equals_algorithm_1(name, logits, target, mask=mask)


@pytest.mark.parametrize("options", [{"fn_weight": 0.1}, {"fp_weight": 1.5, "smooth": 0.01}, {"smooth": 50.0}], ids=str)
@pytest.mark.parametrize("name", [name for name in VARIANTS if "tversky" in name])
def test_equals_algorithm_1_with_the_options_of_tversky(name, options):
    logits, target = made_up(22, (1, 1, 10, 12))
    assert_equals_algorithm_1(name, logits, target, min_cell=2, **options)


@pytest.mark.parametrize("options", [{"squared": True}, {"smooth": 0.01}, {"squared": True, "smooth": 3.0}], ids=str)
@pytest.mark.parametrize("name", [name for name in VARIANTS if "dice" in name])
def test_equals_algorithm_1_with_the_options_of_dice(name, options):
    logits, target = made_up(23, (1, 1, 10, 12))
    assert_equals_algorithm_1(name, logits, target, min_cell=2, **options)


@every_strategy
def test_equals_algorithm_1_with_the_hybrid_core(switches):
    logits, target = made_up(24, (1, 1, 10, 12))
    value = SpatialMatchingLoss(core="hybrid", **switches)(logits, target)
    expected = algorithm_1_of_batch(logits, target, core="hybrid", **switches)
    assert value.item() == pytest.approx(expected.mean(), rel=1e-7)


@every_variant
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_probabilities_equal_algorithm_1(name, threshold):
    logits, target = made_up(25, (1, 1, 10, 12))
    p = torch.sigmoid(logits)
    value = LOSSES[name](from_logits=False, threshold=threshold)(p, target)
    expected = algorithm_1_of_batch(p, target, from_logits=False, threshold=threshold, **VARIANTS[name])
    assert value.item() == pytest.approx(expected.mean(), rel=1e-7)


SHAPES = st.one_of(
    st.tuples(st.just(1), st.integers(1, 24)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)),
)


@st.composite
def a_case(draw_):
    """An image, a loss and its options: whatever is legal, in any combination."""
    shape = draw_(SHAPES)

    def an_array(low, high):
        return torch.from_numpy(draw_(arrays.arrays(np.int64, (1, 1, *shape), elements=st.integers(low, high))))

    logits = an_array(-24, 24).double() / 8  # some of them exactly at p = 1/2, which is no mass
    target = an_array(0, 1).double() if draw_(st.booleans()) else an_array(0, 8).double() / 8
    mask = an_array(0, 1).bool() if draw_(st.booleans()) else None
    if mask is not None and not mask.any():
        mask = None
    instances = an_array(1, 3) if draw_(st.booleans()) else None
    options = {
        "threshold": draw_(st.sampled_from([0.5, 0.3, 0.9])),
        "numerator": draw_(st.sampled_from(["kept", "all"])),
        "matched_weight": draw_(st.sampled_from([None, 0.0, 0.7])),
        "combination": draw_(st.sampled_from(["algorithm", "product"])),
        "distance_unit": draw_(st.sampled_from(["cell", "pixel", "image"])),
        "rescale": draw_(st.sampled_from(["sigmoid", "direct"])),
        "cell_statistic": draw_(st.sampled_from(["min", "mean", "max"])),
        "cell_rounding": draw_(st.sampled_from(["nearest", "up", "down"])),
        "cell_size": draw_(st.one_of(st.none(), st.tuples(*[st.integers(1, side) for side in shape]))),
        "min_cell": draw_(st.sampled_from([1, 2, 4])),
        "grid_weight": draw_(st.sampled_from([1.0, 0.3])),
    }
    return draw_(st.sampled_from(list(VARIANTS))), logits, target, mask, instances, options


@settings(max_examples=150)
@given(a_case())
def test_equals_algorithm_1_whatever_the_case(case):
    name, logits, target, mask, instances, options = case
    assert_equals_algorithm_1(name, logits, target, mask=mask, instances=instances, **options)


@settings(max_examples=60)
@given(a_case())
def test_facts_change_nothing_whatever_the_case(case):
    name, logits, target, mask, instances, options = case
    loss = LOSSES[name](**options)
    with_facts = loss(logits, target, mask=mask, facts=loss.facts(target, instances=instances), instances=instances)
    assert with_facts.item() == pytest.approx(loss(logits, target, mask=mask, instances=instances).item(), rel=1e-7)


# --- facts ----------------------------------------------------------------------------------------------------


@every_variant
def test_facts_of_single_images_can_be_put_together(name):
    logits, target = made_up(28, (3, 1, 12, 16))
    loss = LOSSES[name](min_cell=2)
    facts = [loss.facts(image[None])[0] for image in target]
    assert loss(logits, target, facts=facts) == loss(logits, target)


@every_variant
def test_facts_are_one_dict_of_tensors_per_image(name):
    _, target = made_up(29, (3, 2, 12, 16))
    facts = LOSSES[name]().facts(target)
    assert len(facts) == 3
    assert all(isinstance(value, torch.Tensor) for fact in facts for value in fact.values())
    assert all(isinstance(key, str) for fact in facts for key in fact)


@every_variant
def test_with_facts_nothing_is_labelled_or_measured(name, monkeypatch):
    logits, target = made_up(30)
    loss = LOSSES[name]()
    facts, expected = loss.facts(target), loss(logits, target)

    def refuse(*_, **__):
        raise AssertionError("measured in the training step")

    for function in ("label", "find_objects", "distance_transform_edt"):
        monkeypatch.setattr(ndimage, function, refuse)
    assert loss(logits, target, facts=facts) == expected


def test_facts_hold_the_instances():
    instances = draw_instances("1 1 2 2 2 2 . .")
    target = (instances > 0).double()
    logits, _ = made_up(31, target.shape)
    loss = SpatialMatchingLoss(core="tversky", scale=True, distance=True, min_cell=1)
    facts = loss.facts(target, instances=instances)
    assert loss(logits, target, facts=facts) == loss(logits, target, instances=instances)
    assert loss(logits, target, facts=facts) != loss(logits, target)


def test_facts_of_a_boolean_target_are_those_of_the_numbers():
    logits, target = made_up(32)
    loss = LOSSES["sm-tversky-sd-nz"]()
    assert loss(logits, target, facts=loss.facts(target.bool())) == loss(logits, target)


# --- explain --------------------------------------------------------------------------------------------------

LEDGERS = [
    {},
    {"numerator": "all"},
    {"rescale": "direct"},
    {"combination": "product", "grid_weight": 0.4},
    {"min_cell": 1},
]


def close(tensor, array):
    np.testing.assert_allclose(np.asarray(tensor, dtype=np.float64), array, rtol=1e-7, atol=1e-7)


@every_variant
@pytest.mark.parametrize("options", LEDGERS, ids=str)
def test_explain_tells_what_algorithm_1_did(name, options):
    for seed, masses in ((33, 2), (34, 0)):
        logits, target = made_up(seed, (1, 1, 11, 18), masses=masses)
        m = LOSSES[name](**options).explain(logits, target)
        P = torch.sigmoid(logits)[0, 0].numpy()
        expected = algorithm_1(P, target[0, 0].numpy(), **VARIANTS[name], **options)
        close(m.loss, expected.L_SM)
        close(m.image, expected.L_I)
        close(m.cells, expected.L_i)
        close(m.kept, expected.kept)
        close(m.weight, expected.w_i)
        close(m.ratio, expected.s)
        close(m.predicted, expected.contains_p)
        close(m.true, expected.contains_y)
        close(m.contributions, expected.contributions)
        assert m.cell_size == expected.cell_size
        if VARIANTS[name]["distance"]:
            close(m.distance, expected.D_i)
        if VARIANTS[name]["scale"]:
            close(m.S, expected.S)


def test_explain_of_a_drawn_image_by_hand():
    truth = draw("# # . . . . . .")
    prediction = draw(". . . . # # . .")
    m = SpatialMatchingLoss(core="bce", scale=True, distance=True, nonzero=True, cell_size=(1, 2)).explain(
        sure(prediction), truth
    )
    half, two = 1 / (1 + np.exp(-0.0)), 1 / (1 + np.exp(-2.0))
    assert m.true.flatten().tolist() == [1, 0, 0, 0]
    assert m.predicted.flatten().tolist() == [0, 0, 1, 0]
    assert m.kept.flatten().tolist() == [1, 0, 1, 0]
    assert m.distance.flatten().tolist() == [0, 0, 2, 0]
    assert m.weight.flatten().tolist() == pytest.approx([1 + half, 1 + half, 1 + two, 1 + half])
    assert float(m.S) == 1
    assert float(m.ratio) == pytest.approx(1 / (1 + np.exp(-1.0)))


# --- laws -----------------------------------------------------------------------------------------------------


def tiled(seed, masses=2):
    return made_up(seed, (1, 1, 16, 32), masses=masses)


@every_variant
def test_transposing_image_and_mask_together_changes_nothing(name):
    logits, target = tiled(40)
    loss = LOSSES[name]()
    torch.testing.assert_close(loss(logits.mT, target.mT), loss(logits, target))


@every_variant
def test_a_perfect_prediction_costs_almost_nothing(name):
    _, target = tiled(43)
    assert LOSSES[name]()(sure(target, 30.0), target) == pytest.approx(0, abs=1e-9)


def test_a_threshold_near_zero_keeps_every_cell():
    """Eq. 5 to the letter, 1{sum p > 0}: a sigmoid is never zero, so that G-NZ is G-A."""
    logits, target = made_up(44)
    average, nonzero = LOSSES["sm-tversky-b-a"](), LOSSES["sm-tversky-b-nz"](threshold=1e-9)
    assert nonzero(logits, target) == average(logits, target)


def test_a_predicted_half_is_no_predicted_mass():
    target = torch.zeros(1, 1, 4, 4)
    m = LOSSES["sm-bce-s-nz"]().explain(torch.zeros(1, 1, 4, 4), target)
    assert not m.predicted.any()


def test_the_threshold_is_for_the_prediction_only():
    target = torch.full((1, 1, 4, 4), 0.7)
    m = SpatialMatchingLoss(core="bce", threshold=0.9).explain(torch.full((1, 1, 4, 4), 1.0), target)
    assert m.true.all()
    assert not m.predicted.any()


# --- gradients ------------------------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("options", [{}, {"cell_size": (3, 4)}, {"numerator": "all", "rescale": "direct"}], ids=str)
def test_gradcheck(name, options):
    logits, target = made_up(45, (2, 1, 5, 8), soft=True)
    loss = LOSSES[name](min_cell=2, **options)
    assert gradcheck(lambda x: loss(x, target), logits.requires_grad_())


@every_variant
def test_gradcheck_with_a_mask_and_weights(name):
    logits, target = made_up(46, (2, 2, 4, 6))
    mask = torch.ones_like(target)
    mask[..., :2, 3:] = 0
    weights = torch.tensor([0.3, 2.0], dtype=torch.float64)
    loss = LOSSES[name](min_cell=2)
    assert gradcheck(lambda x: loss(x, target, mask=mask, sample_weight=weights), logits.requires_grad_())


@every_variant
def test_gradcheck_of_every_value_without_reduction(name):
    logits, target = made_up(47, (2, 2, 4, 4))
    loss = LOSSES[name](min_cell=2, reduction="none")
    assert gradcheck(lambda x: loss(x, target), logits.requires_grad_())


@every_variant
def test_gradcheck_of_probabilities(name):
    logits, target = made_up(48, (1, 1, 5, 8))
    loss = LOSSES[name](min_cell=2, from_logits=False)
    assert gradcheck(lambda x: loss(x, target), torch.sigmoid(logits).requires_grad_())


@every_variant
def test_the_gradient_is_that_of_algorithm_1(name):
    logits, target = made_up(49, (1, 1, 5, 8))
    logits.requires_grad_()
    LOSSES[name](min_cell=2)(logits, target).backward()
    step, expected = 1e-6, torch.zeros_like(logits)
    for j in itertools.product(*map(range, logits.shape)):
        values = []
        for sign in (1, -1):
            moved = logits.detach().clone()
            moved[j] += sign * step
            values.append(algorithm_1_of_batch(moved, target, min_cell=2, **VARIANTS[name])[0, 0])
        expected[j] = (values[0] - values[1]) / (2 * step)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-6, atol=1e-8)


@every_core
@every_strategy
def test_kept_weight_and_ratio_carry_no_gradient(core, switches):
    """The gradient is that of the line of the design, with kept, w and s as constants."""
    logits, target = tiled(50)
    logits.requires_grad_()
    loss = SpatialMatchingLoss(core=core, cell_size=(4, 8), **switches)
    (of_loss,) = torch.autograd.grad(loss(logits, target), logits)

    m = loss.explain(logits.detach(), target)
    cells = [tensor.reshape(4, 4, 4, 8) for tensor in (logits, target)]
    of_cells = core(*cells, axes=(-3, -1))
    line = core(logits, target, axes=(-2, -1)).sum()
    line = line + m.ratio * (m.kept * m.weight * of_cells).sum() / m.kept.sum()
    (of_line,) = torch.autograd.grad(line, logits)
    torch.testing.assert_close(of_loss, of_line)


@every_variant
def test_facts_do_not_change_the_gradient(name):
    logits, target = made_up(52)
    logits.requires_grad_()
    loss = LOSSES[name]()
    (expected,) = torch.autograd.grad(loss(logits, target), logits)
    (gradient,) = torch.autograd.grad(loss(logits, target, facts=loss.facts(target)), logits)
    torch.testing.assert_close(gradient, expected)


# --- mask -----------------------------------------------------------------------------------------------------

LEFT_HALF = torch.ones(1, 1, 16, 16, dtype=torch.float64)
LEFT_HALF[..., 8:] = 0


@every_variant
@pytest.mark.parametrize("given", ["facts", "no facts"])
def test_logits_outside_the_mask_have_no_influence(name, given):
    logits, target = made_up(53)
    loss = LOSSES[name](min_cell=2)
    facts = loss.facts(target) if given == "facts" else None
    expected = loss(logits, target, mask=LEFT_HALF, facts=facts)
    for outside in (-1e4, 0.0, 1e4):
        moved = torch.where(LEFT_HALF > 0, logits, outside)
        assert loss(moved, target, mask=LEFT_HALF, facts=facts) == expected


@every_variant
def test_pixels_outside_the_mask_have_no_gradient(name):
    logits, target = made_up(55)
    LOSSES[name]()(logits.requires_grad_(), target, mask=LEFT_HALF).backward()
    assert (logits.grad[..., 8:] == 0).all()
    assert (logits.grad[..., :8] != 0).any()


@every_variant
def test_a_mask_of_ones_changes_nothing(name):
    logits, target = made_up(56)
    loss = LOSSES[name]()
    torch.testing.assert_close(loss(logits, target, mask=torch.ones_like(target)), loss(logits, target))


@every_variant
def test_a_mask_that_ends_between_cells_is_a_smaller_image(name):
    logits, target = made_up(57)
    target[..., 8:] = 0
    loss = LOSSES[name](cell_size=(4, 4), distance_unit="cell")
    smaller = loss(logits[..., :8], target[..., :8])
    torch.testing.assert_close(loss(logits, target, mask=LEFT_HALF), smaller)


# --- a core of one's own ----------------------------------------------------------------------------------------


def brier(logits, target, *, axes, from_logits=True):
    p = torch.sigmoid(logits) if from_logits else logits
    return ((p - target) ** 2).mean(dim=axes)


def brier_of_valid_pixels(logits, target, *, axes, valid=None, from_logits=True):
    p = torch.sigmoid(logits) if from_logits else logits
    valid = torch.ones_like(p) if valid is None else valid
    return (valid * (p - target) ** 2).sum(dim=axes) / valid.sum(dim=axes).clamp(min=1)


def brier_in_loops(P, Y, pixels):
    return sum((P[j] - Y[j]) ** 2 for j in pixels) / len(pixels)


L_OF["brier"] = brier_in_loops


def equals_algorithm_1_with_brier(core, logits, target, switches, mask=None, **options):
    value = SpatialMatchingLoss(core=core, **switches, **options)(logits, target, mask=mask)
    expected = algorithm_1_of_batch(logits, target, mask=mask, core="brier", **switches, **options)
    assert value.item() == pytest.approx(expected.mean(), rel=1e-7)


@every_strategy
@pytest.mark.parametrize("core", [brier, brier_of_valid_pixels])
def test_a_core_of_ones_own(core, switches):
    logits, target = tiled(62)
    equals_algorithm_1_with_brier(core, logits, target, switches)


@every_strategy
def test_a_core_of_ones_own_on_cells_that_are_cut_off(switches):
    logits, target = made_up(63, (2, 2, 11, 14))
    equals_algorithm_1_with_brier(brier_of_valid_pixels, logits, target, switches)


@every_strategy
def test_a_core_of_ones_own_with_a_mask(switches):
    logits, target = made_up(64)
    mask = box((16, 16), ((1, 3), (10, 9)))
    equals_algorithm_1_with_brier(brier_of_valid_pixels, logits, target, switches, mask=mask)


def test_the_gradient_of_a_core_of_ones_own():
    logits, target = made_up(66, (1, 1, 5, 6))
    loss = SpatialMatchingLoss(core=brier_of_valid_pixels, scale=True, distance=True, nonzero=True, min_cell=2)
    assert gradcheck(lambda x: loss(x, target), logits.requires_grad_())


# --- the catalogue ----------------------------------------------------------------------------------------------


def test_the_catalogue_has_the_24_variants_and_the_plain_losses():
    assert set(LOSSES) >= set(VARIANTS) | set(PLAIN)


@pytest.mark.parametrize("name", [*VARIANTS, *PLAIN])
def test_every_loss_of_the_catalogue_has_the_same_call(name):
    loss = LOSSES[name]()
    forward = inspect.signature(loss.forward).parameters
    assert [*forward][:2] == ["logits", "target"]
    assert all(forward[word].default is None for word in ("mask", "sample_weight", "instances", "facts"))
    facts = inspect.signature(loss.facts).parameters
    assert all(facts[word].default is None for word in ("instances", "density"))
    assert isinstance(loss, torch.nn.modules.loss._Loss)


@pytest.mark.parametrize("name", [*VARIANTS, *PLAIN])
def test_every_loss_of_the_catalogue_can_be_copied(name):
    logits, target = made_up(69)
    loss = LOSSES[name]()
    assert copy.deepcopy(loss)(logits, target) == loss(logits, target)


@every_variant
def test_a_name_stands_for_its_switches(name):
    logits, target = made_up(70)
    assert LOSSES[name]()(logits, target) == SpatialMatchingLoss(**VARIANTS[name])(logits, target)


def test_options_of_the_loss_and_of_its_core_may_be_mixed():
    logits, target = made_up(71, masses=3)
    mixed = LOSSES["sm-tversky-s-a"](cell_statistic="mean", smooth=0.1)
    spelled_out = SpatialMatchingLoss(core=Tversky(smooth=0.1), scale=True, cell_statistic="mean")
    assert mixed(logits, target) == spelled_out(logits, target)


PLAIN_WITH_OPTIONS = [
    ("bce", {}, BCE()),
    ("dice", {}, Dice()),
    ("dice", {"squared": True, "smooth": 0.2}, Dice(squared=True, smooth=0.2)),
    ("tversky", {}, Tversky()),
    ("tversky", {"fn_weight": 0.4, "fp_weight": 0.6}, Tversky(fn_weight=0.4, fp_weight=0.6)),
]


@pytest.mark.parametrize(("name", "options", "core"), PLAIN_WITH_OPTIONS, ids=str)
def test_a_plain_loss_is_its_core(name, options, core):
    logits, target = made_up(72, (3, 2, 8, 8))
    value = LOSSES[name](**options)(logits, target)
    torch.testing.assert_close(value, core(logits, target, axes=(-2, -1)).mean())


def test_hybrid_is_half_bce_and_half_dice():
    logits, target = made_up(73, (3, 2, 8, 8))
    value = LOSSES["hybrid"]()(logits, target)
    expected = (LOSSES["bce"]()(logits, target) + LOSSES["dice"]()(logits, target)) / 2
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_loss_takes_mask_weights_and_facts(name):
    logits, target = made_up(74, (2, 1, 16, 16))
    mask = LEFT_HALF.expand(2, 1, 16, 16)
    loss = LOSSES[name]()
    values = torch.stack([loss(logits[b : b + 1, ..., :8], target[b : b + 1, ..., :8]) for b in range(2)])
    weights = torch.tensor([2.0, 0.5], dtype=torch.float64)
    value = loss(logits, target, mask=mask, sample_weight=weights, facts=loss.facts(target))
    torch.testing.assert_close(value, (weights * values).sum() / 2)
