"""MONAI's classes and ours of the same names, over the product of their arguments: values, gradients, errors."""

import inspect
import io
import itertools
import random
import warnings

import monai.losses
import pytest
import torch

from massmatch import losses as own
from massmatch.integrations.monai import DiceLoss, SoftMatchingLoss, SpatialMatchingLoss, TverskyLoss

PAIRS = {"TverskyLoss": TverskyLoss, "DiceLoss": DiceLoss}
ACTIVATIONS = [{}, {"sigmoid": True}, {"softmax": True}, {"other_act": torch.tanh}]
SHAPES = [(2, 1, 6), (2, 3, 6), (2, 1, 6, 5), (2, 3, 6, 5), (2, 3, 4, 5, 3)]


def words(options):
    """The name of a test, the same in every process: a function stands there without its address."""
    return " ".join(f"{name}={getattr(value, '__name__', value)}" for name, value in options.items()) or "defaults"


def batch(shape, onehot, soft=False, seed=0):
    """Predictions, and a truth of labels or one-hot."""
    torch.manual_seed(seed)
    labels = torch.randint(0, max(shape[1], 2), (shape[0], 1, *shape[2:]))
    if shape[1] == 1 or onehot:
        target = labels.float()
    else:
        target = torch.nn.functional.one_hot(labels[:, 0], shape[1]).movedim(-1, 1).float()
    if soft and not onehot:
        target = 0.8 * target + 0.1
    return torch.randn(shape), target


def outcome(make, input, target):
    """Value, gradient and warnings, or the error."""
    leaf = input.clone().requires_grad_()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = make()(leaf, target)
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        except Exception as error:
            return type(error), str(error), [str(w.message) for w in caught]
    return value.detach(), gradient, [str(w.message) for w in caught]


def check_same(name, options, input, target):
    theirs = outcome(lambda: getattr(monai.losses, name)(**options), input, target)
    ours = outcome(lambda: PAIRS[name](**options), input, target)
    assert ours[2] == theirs[2]
    if isinstance(theirs[0], type):
        assert ours[:2] == theirs[:2]
        return
    assert ours[0].shape == theirs[0].shape
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-4, atol=1e-6)


OF_BOTH = {
    "include_background": (True, False),
    "to_onehot_y": (True, False),
    "reduction": ("mean", "sum", "none"),
    "batch": (False, True),
    "ignore_index": (None, 1, 255),
    "soft_label": (False, True),
}
OF_ONE = {
    "TverskyLoss": {"alpha": (0.3,), "beta": (0.7,)},
    "DiceLoss": {"squared_pred": (False, True), "jaccard": (False, True)},
}
DRAWN = 40  # of 144 (Tversky) and 576 (Dice) products for each activation and shape


def products(name):
    """Every product of the arguments but those in which MONAI's view fails or repeats, depending on the shape."""
    words = OF_BOTH | OF_ONE[name]
    for values in itertools.product(*words.values()):
        options = {**dict(zip(words, values, strict=True)), "smooth_nr": 1e-3, "smooth_dr": 1e-4}
        if not (options["reduction"] == "none" and options["batch"] and name == "DiceLoss"):
            yield options


def check_products(name, activation, shape, chosen):
    for options in chosen:
        check_same(name, options | activation, *batch(shape, options["to_onehot_y"], options["soft_label"]))


every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS, ids=words)


@pytest.mark.parametrize("name", PAIRS)
@every_activation
@every_shape
def test_products_of_arguments_are_the_same(name, activation, shape):
    """Drawn ones, other ones for each activation and shape; each value of an argument is among every draw."""
    draw = random.Random(f"{name} {words(activation)} {shape}")
    chosen = draw.sample(list(products(name)), DRAWN)
    assert all({c[word] for c in chosen} == set(values) for word, values in (OF_BOTH | OF_ONE[name]).items())
    check_products(name, activation, shape, chosen)


@pytest.mark.long
@pytest.mark.parametrize("name", PAIRS)
@every_activation
@every_shape
def test_every_product_of_arguments_is_the_same(name, activation, shape):
    check_products(name, activation, shape, products(name))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    "options",
    [
        {"sigmoid": True, "softmax": True},
        {"sigmoid": True, "other_act": torch.tanh},
        {"other_act": "tanh"},
        {"reduction": "unknown"},
        {"reduction": None},
        {"to_onehot_y": True, "softmax": True, "include_background": False},
    ],
    ids=words,
)
def test_the_same_errors_and_warnings(name, options):
    check_same(name, options, *batch((2, 1, 4, 4), False))


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_refusal_of_shapes_and_reductions(name):
    check_same(name, {}, torch.ones(1, 2, 3), torch.ones(4, 5, 6))
    for wrong in ("unknown", None):
        theirs, ours = getattr(monai.losses, name)(), PAIRS[name]()
        theirs.reduction = ours.reduction = wrong
        x = torch.ones(1, 1, 2, 2)
        for loss in (theirs, ours):
            with pytest.raises(ValueError, match="Unsupported reduction"):
                loss(x, x)


@pytest.mark.parametrize(
    ("weight", "background"),
    [([0.2, 0.8, 1.0], True), ([1.0, 2.0], False), (0.5, True), ([1.0, 2.0], True), ([-1.0, 1.0, 1.0], True)],
)
def test_class_weights(weight, background):
    options = {"weight": weight, "include_background": background, "softmax": True, "to_onehot_y": True}
    check_same("DiceLoss", options, *batch((2, 3, 6, 5), True))


@pytest.mark.parametrize("name", PAIRS)
def test_arguments_stand_in_monais_order(name):
    theirs = list(inspect.signature(getattr(monai.losses, name)).parameters)
    assert list(inspect.signature(PAIRS[name]).parameters)[: len(theirs)] == theirs


@pytest.mark.parametrize("name", PAIRS)
def test_they_can_be_scripted_and_exported(name):
    input, target = batch((2, 1, 16, 16), False)
    loss = PAIRS[name](sigmoid=True)
    expected = loss(input, target)
    with warnings.catch_warnings(action="ignore"):
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(loss), buffer)
        buffer.seek(0)
        torch.testing.assert_close(torch.jit.load(buffer)(input, target), expected)
        torch.testing.assert_close(torch.export.export(loss, (input, target)).module()(input, target), expected)


# --- our own losses, in their own spelling ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES[2:], ids=str)  # ours take no signals
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_our_losses_without_a_grid_equal_monais(shape, reduction):
    """The options that both have: reduction, weights, smoothing; per image and channel."""
    input, target = batch(shape, False)
    for fn_weight, fp_weight, smooth in itertools.product((0.5, 0.7), (0.3, 0.5), (1e-5, 1.0)):
        theirs = monai.losses.TverskyLoss(
            sigmoid=True, alpha=fp_weight, beta=fn_weight, smooth_nr=smooth, smooth_dr=smooth, reduction=reduction
        )
        core = own.Tversky(fn_weight, fp_weight, smooth)
        ours = own.WholeImageLoss(core, reduction=reduction)
        torch.testing.assert_close(ours(input, target), theirs(input, target), rtol=1e-5, atol=1e-6)
    for squared in (False, True):
        theirs = monai.losses.DiceLoss(
            sigmoid=True, squared_pred=squared, smooth_nr=1.0, smooth_dr=1.0, reduction=reduction
        )
        ours = own.WholeImageLoss(own.Dice(1.0, squared=squared), reduction=reduction)
        expected = theirs(input, target)
        torch.testing.assert_close(
            ours(input, target), expected.reshape(shape[:2]) if reduction == "none" else expected
        )


# --- with the grid ---------------------------------------------------------------------------------------------------


def mammogram_like():
    target = torch.zeros(2, 1, 32, 32)
    target[0, 0, 4:12, 6:14], target[1, 0, 20:24, 20:28] = 1, 1
    return 2 * torch.randn(2, 1, 32, 32), target


def test_with_the_grid_they_are_the_spatial_matching_loss():
    input, target = mammogram_like()
    switches = {"scale": True, "distance": True, "nonzero": True}
    expected = own.SpatialMatchingLoss(own.Tversky(0.7, 0.3, 1e-5), **switches)(input, target)
    common = {"sigmoid": True, "alpha": 0.3, "beta": 0.7, **switches}
    for loss in (TverskyLoss(grid=True, **common), SpatialMatchingLoss("tversky", **common)):
        torch.testing.assert_close(loss(input, target), expected, rtol=1e-4, atol=1e-5)
    dice = own.SpatialMatchingLoss(own.Dice(1e-5), **switches)(input, target)
    torch.testing.assert_close(DiceLoss(sigmoid=True, grid=True, **switches)(input, target), dice, rtol=1e-4, atol=1e-5)


def test_the_soft_loss_is_our_own():
    input, target = mammogram_like()
    switches = {"levels": 2, "count": 0.1, "distance": False}
    expected = own.SoftMatchingLoss("tversky", **switches)(input, target)
    torch.testing.assert_close(SoftMatchingLoss("tversky", sigmoid=True, **switches)(input, target), expected)
    torch.testing.assert_close(SoftMatchingLoss(sigmoid=True)(input, target), own.SoftMatchingLoss()(input, target))
    phase = SoftMatchingLoss(sigmoid=True, random_phase=True)
    torch.testing.assert_close(phase.eval()(input, target), own.SoftMatchingLoss()(input, target))
    labels = target.repeat(1, 2, 1, 1)
    labels[:, 0] = 1 - labels[:, 1]
    logits = torch.cat([-input, input], 1)
    both = SoftMatchingLoss(softmax=True, to_onehot_y=True, reduction="none")(logits, target)
    assert both.shape == (2, 2)
    torch.testing.assert_close(
        both[:, 1:], own.SoftMatchingLoss(reduction="none")(2 * input, target), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    "make",
    [
        lambda: SpatialMatchingLoss(core="hybrid", sigmoid=True),
        lambda: SpatialMatchingLoss(core="bce", sigmoid=True),
        lambda: SoftMatchingLoss(sigmoid=True),
    ],
)
def test_a_network_that_is_sure_and_wrong_is_pushed_back_in_every_number_format(make, dtype):
    """The sigmoid of 30 is 1 in each of them, and that of 9 in half precision."""
    for sure in (9.0, 30.0):
        logits = torch.full((1, 1, 32, 32), sure, dtype=dtype, requires_grad=True)
        value = make()(logits, torch.zeros(1, 1, 32, 32))
        value.backward()
        assert sure / 2 < float(value.detach()) < 3 * sure + 3
        assert torch.isfinite(logits.grad).all()
        assert float(logits.grad.float().sum()) > 0.4  # half of the core is cross-entropy, or all of it


@pytest.mark.parametrize("make", [SpatialMatchingLoss, SoftMatchingLoss, lambda **o: TverskyLoss(grid=True, **o)])
@pytest.mark.parametrize("activation", [{"sigmoid": True}, {"other_act": torch.sigmoid}])
def test_with_the_grid_what_is_ignored_has_no_influence(make, activation):
    input, target = mammogram_like()
    target[:, :, 24:] = 255
    loss = make(ignore_index=255, **activation)
    other = input.clone()
    other[:, :, 24:] += 5
    torch.testing.assert_close(loss(input, target), loss(other, target))


def test_classes_and_cores_with_the_grid():
    labels = torch.zeros(2, 1, 32, 32)
    labels[:, :, 4:12, 6:14] = 1
    loss = SpatialMatchingLoss(
        "focal", softmax=True, to_onehot_y=True, include_background=False, reduction="none", scale=True
    )
    logits = torch.randn(2, 2, 32, 32).requires_grad_()
    value = loss(logits, labels)
    assert value.shape == (2, 1)
    value.sum().backward()
    assert logits.grad.abs().sum() > 0
    plain = SpatialMatchingLoss("tversky", sigmoid=True, grid=False)
    input, target = mammogram_like()
    torch.testing.assert_close(plain(input, target), TverskyLoss(sigmoid=True)(input, target))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: TverskyLoss(scale=True), "switches of the grid, which is off"),
        (lambda: TverskyLoss(grid=True, batch=True), "batch=True is not possible with the grid"),
        (lambda: DiceLoss(grid=True, jaccard=True), "not possible with the grid"),
        (lambda: SpatialMatchingLoss("tverski"), "core must be one of 'bce'.* did you mean 'tversky'"),
        (
            lambda: SpatialMatchingLoss("bce", alpha=0.2),
            "alpha and beta are those of core='tversky', but core is 'bce'",
        ),
        (lambda: SpatialMatchingLoss("focal", smooth_nr=1.0), "smooth_nr and smooth_dr are those of"),
        (lambda: SpatialMatchingLoss()(torch.randn(1, 1, 8, 8) * 9, torch.zeros(1, 1, 8, 8)), "activate them first"),
    ],
)
def test_what_does_not_go_together(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_in_a_bundle_configuration():
    from monai.bundle import ConfigParser

    path = "massmatch.integrations.monai.SpatialMatchingLoss"
    parser = ConfigParser({"loss": {"_target_": path, "core": "tversky", "sigmoid": True, "scale": True}})
    loss = parser.get_parsed_content("loss")
    assert torch.isfinite(loss(*mammogram_like()))


def test_under_deep_supervision():
    input, target = mammogram_like()
    loss = monai.losses.DeepSupervisionLoss(SpatialMatchingLoss("tversky", sigmoid=True, scale=True))
    assert torch.isfinite(loss([input, input[..., ::2, ::2]], target))
