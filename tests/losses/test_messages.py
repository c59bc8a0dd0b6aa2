"""Every refusal at the border of a loss says what to do, and `repr` makes the same loss again."""

import jaxtyping
import numpy as np
import pytest
import torch

import massmatch.losses
from massmatch.losses import (
    BCE,
    LOSSES,
    AdaptedLoss,
    Dice,
    LossSpec,
    SoftMatchingLoss,
    SpatialMatchingLoss,
    TopKBCE,
    WholeImageLoss,
    make_loss,
)
from massmatch.models import MODELS

LOGITS = torch.linspace(-3, 3, 512).reshape(2, 1, 16, 16)
TRUTH = torch.zeros(2, 1, 16, 16)
TRUTH[..., 4:9, 5:12] = 1
LOSS = SpatialMatchingLoss("tversky")
MARKS = (-1, 255, -100)  # usual ones of pixels to be ignored
PUBLIC = {name: getattr(massmatch.losses, name) for name in massmatch.losses.__all__}


@pytest.fixture(autouse=True)
def as_users_have_it():
    """Without the type checks of this suite, which would refuse wrong types before the losses do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("core", [Dice(), BCE(), TopKBCE()])
def test_a_core_that_is_called_as_a_loss_of_images_says_how_to_make_one(core):
    with pytest.raises(TypeError, match=r"WholeImageLoss\(.*LOSSES\['dice'\]\(\)") as refusal:
        core(LOGITS, TRUTH)
    advice = str(refusal.value).partition("the loss of images is ")[2].partition("(logits, target)")[0]
    loss = eval(advice, PUBLIC)
    assert loss(LOGITS, TRUTH) == WholeImageLoss(core)(LOGITS, TRUTH)
    with pytest.raises(TypeError, match="does not know mask"):
        core(LOGITS, TRUTH, axes=(-2, -1), mask=TRUTH)


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (2, 16, 16), (2, 3, 16, 16)])
def test_class_indices_under_several_channels_want_one_channel_each(shape):
    indices = torch.arange(np.prod(shape)).reshape(shape) % 3
    with pytest.raises(ValueError, match=r"one-hot, MONAI's to_onehot_y\), 3 here"):
        LOSS(torch.zeros(2, 3, 16, 16), indices)


@pytest.mark.parametrize(
    ("truth", "advice"),
    [
        (2 * TRUTH, "a mask of 0 and 2 wants `mask > 0`"),
        (3 * TRUTH.long(), "a mask of 0 and 3 wants `mask > 0`"),
        (255 * TRUTH, "`mask > 127`"),
        ((255 * TRUTH).to(torch.uint8), "`mask > 127`"),
        (TRUTH * torch.arange(1.0, 257).reshape(16, 16), "`labels > 0` as the target and the labels as `instances`"),
        (1.5 * TRUTH, "divide by the largest value"),
        (2 * TRUTH - 1, "a truth of -1 and 1 wants `target > 0`"),
        (-torch.ones_like(TRUTH), "a truth of -1 and 1 wants `target > 0`"),
        *((TRUTH.index_fill(2, torch.tensor(0), mark), f"pixels marked {mark} to be ignored go") for mark in MARKS),
        (LOGITS, "these look like logits or a normalised image"),
        (TRUTH / 0, "holds NaN"),
    ],
)
def test_a_truth_outside_0_and_1_is_told_what_its_values_want(truth, advice):
    with pytest.raises(ValueError, match="target must lie in") as refusal:
        LOSS(LOGITS, truth)
    assert advice in str(refusal.value)
    assert advice == "`mask > 127`" or "> 127" not in str(refusal.value)


@pytest.mark.parametrize("swapped", [TRUTH, TRUTH.bool(), TRUTH.long()])
def test_swapped_arguments_are_told_so(swapped):
    with pytest.raises((TypeError, ValueError), match=r"logits lie in .* may be swapped|logits must be floating point"):
        LOSS(swapped, LOGITS)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([1, 0], "mask must be a torch.Tensor, but is a list; torch.as_tensor"),
        (torch.ones(2, 16, 16), r"mask\.unsqueeze\(1\)"),
        (torch.ones(16, 16), r"mask\[None, None\]"),
        (torch.ones(2, 1, 8, 16), r"must broadcast to the shape of logits, \(2, 1, 16, 16\), but has \(2, 1, 8, 16\)"),
        (255 * TRUTH, "ranges from 0 to 255; a mask of 0 and 255 wants `mask > 127`"),
        (0.5 * TRUTH, "ranges from 0 to 0.5; weights of images go to sample_weight"),
        (TRUTH / 0, "mask must hold 0 and 1 only"),
    ],
)
def test_a_wrong_mask_says_what_a_mask_is(mask, message):
    with pytest.raises((TypeError, ValueError), match=message):
        LOSS(LOGITS, TRUTH, mask=mask)


@pytest.mark.parametrize("loss", [SpatialMatchingLoss, SoftMatchingLoss])
@pytest.mark.parametrize("size", [2.5, (2.5, 8), "8", 0, (), True, np.array([8, 8]), torch.tensor([8, 8])])
def test_a_cell_size_that_is_none_says_what_one_is(loss, size):
    with pytest.raises(ValueError, match=r"cell_size must be a whole number of pixels .* such as \(8, 16\), but is"):
        loss(cell_size=size)


def test_whole_numbers_of_numpy_are_whole_numbers():
    eight = np.int64(8)
    assert SpatialMatchingLoss(cell_size=(eight, eight), min_cell=eight)(LOGITS, TRUTH) == SpatialMatchingLoss(
        cell_size=8, min_cell=8
    )(LOGITS, TRUTH)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sm-tversky-b-a:min_cell=2.5", "min_cell must be a whole number of pixels of at least 1, but is 2.5"),
        ("sm-tversky-b-a:min_cell=4x8", r"min_cell must be a whole number of pixels of at least 1, but is \(4, 8\)"),
        ("soft-sm:levels=1.5", "levels must be a whole number from 1 to 8, but is 1.5"),
        ("soft-sm:levels=9", "levels must be a whole number from 1 to 8, but is 9"),
        ("asp-q:groups=2.5", "groups must be a whole number of at least 2"),
        ("ssim:side=5.0", "side must be a whole number of at least 1"),
        ("arsl:regions=0", "regions must be a whole number of at least 1"),
        ("nope", "unknown loss 'nope'; did you mean '.*'. `massmatch losses` lists all"),
        ("focal:gama=1", "loss focal has no option 'gama'; did you mean 'gamma'. It has alpha, gamma"),
        ("dice:from_logits=no", "from_logits must be True or False, but is 'no'"),
    ],
)
def test_wrong_names_and_options_in_a_text_say_what_is_right(text, message):
    with pytest.raises(ValueError, match=message):
        make_loss(text)


@pytest.mark.parametrize(
    ("core", "message"),
    [
        ("dice", r"but is 'dice'; by its name: LOSSES\['dice'\]\(\)"),
        (Dice, r"is the class Dice: make one, Dice\(\.\.\.\)"),
        (LOSSES["dice"](), "is WholeImageLoss, a loss of images; the cores are"),
        (torch.nn.BCEWithLogitsLoss(), r"BCEWithLogitsLoss takes no argument 'axes': wrap .* AdaptedLoss\(core\)"),
        (None, r"(such as Dice\(\)|or callable), but is None"),
        (3, r"(such as Dice\(\)|or callable), but is an int"),
    ],
)
def test_what_is_no_core_says_what_is(core, message):
    for kind in (WholeImageLoss, SpatialMatchingLoss, SoftMatchingLoss)[: None if core != "dice" else 1]:
        with pytest.raises(TypeError, match=message):
            kind(core)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], "sample_weight must be a torch.Tensor, but is a list; torch.as_tensor"),
        (np.ones(2), "sample_weight must be a torch.Tensor, but is a ndarray; torch.as_tensor"),
        (torch.ones(3), r"sample_weight must have the shape \(B,\) or \(B, C\), \(2, 1\) here, but has \(3,\)"),
        (torch.tensor([1, float("nan")]), "sample_weight must hold finite numbers"),
    ],
)
def test_wrong_sample_weights_say_what_they_are(weights, message):
    with pytest.raises((TypeError, ValueError), match=message):
        LOSS(LOGITS, TRUTH, sample_weight=weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: [{k: v.numpy() for k, v in fact.items()} for fact in facts], "torch.as_tensor"),
        (lambda facts: [None, None], r"facts\[0\] must be a dict of tensors, as facts\(\) gives it, but is None"),
        (lambda facts: facts[0], r"the dict of one image: give \[facts\]"),
        (lambda facts: facts[:1], "one dict per image, 2 here, but holds 1"),
        (lambda facts: [{}, {}], r"facts\[0\] lacks cell_size, "),
        (lambda facts: {}, r"facts\[0\] lacks cell_size, "),  # as a loader puts those of a loss without any together
        (lambda facts: [{"made_for": fact["made_for"]} for fact in facts], r"facts\[0\] lacks checksum"),
        (lambda facts: [{k: v.half() for k, v in fact.items()} for fact in facts], "'made_for' into torch.float16"),
        (
            lambda facts: [{k: v.bfloat16() if v.is_floating_point() else v for k, v in f.items()} for f in facts],
            r"facts\[0\] was turned into other numbers \('checksum' into torch.bfloat16\)",
        ),
        (lambda facts: "facts", "must be a list of one dict per image, .* but is a str"),
    ],
)
def test_facts_that_are_none_say_what_facts_are(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        LOSS(LOGITS, TRUTH, facts=change(LOSS.facts(TRUTH)))


def test_what_is_no_tensor_is_named():
    for given in (TRUTH.numpy(), [1], None):
        with pytest.raises(TypeError, match=r"target must be a torch\.Tensor, but is "):
            LOSS(LOGITS, given)
        with pytest.raises(TypeError, match=r"target must be a torch\.Tensor, but is "):
            LOSS.facts(given)
    for instances in ([1], TRUTH.numpy()):
        with pytest.raises(TypeError, match=r"instances must be a torch\.Tensor"):
            LOSS(LOGITS, TRUTH, instances=instances)
    with pytest.raises(ValueError, match="instances must hold whole numbers"):
        LOSS(LOGITS, TRUTH, instances=0.5 * TRUTH)


def test_labels_below_0_are_none():
    with pytest.raises(ValueError, match="instances must hold whole numbers"):
        LOSS(LOGITS, TRUTH, instances=-TRUTH.long())


@pytest.mark.parametrize("name", ["sm-tversky-sd-nz", "soft-sm", "boundary", "blob", "ssl"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64])
def test_a_truth_of_any_type_has_the_same_value_and_facts(name, dtype):
    loss = make_loss(name)
    expected, given = loss(LOGITS, TRUTH), TRUTH.to(dtype)
    for truth, of in ((given, None), (given, given), (given, TRUTH), (TRUTH, given)):
        found = loss(LOGITS, truth, facts=None if of is None else loss.facts(of))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("number", [np.float64(0.25), np.float32(0.25), np.int64(2)])
def test_numbers_of_numpy_are_numbers(number):
    plain = WholeImageLoss(Dice(smooth=float(number)))
    assert WholeImageLoss(Dice(smooth=number))(LOGITS, TRUTH) == pytest.approx(float(plain(LOGITS, TRUTH)))


def test_probabilities_that_were_cut_or_clamped_after_the_sigmoid_are_still_told():
    leaf = torch.cat([LOGITS, LOGITS], 1).requires_grad_()
    for made in (lambda x: x.sigmoid()[:, :1], lambda x: x.softmax(1)[:, 1:].clamp(0.01, 0.99)):
        with pytest.warns(UserWarning, match="come out of a (sigmoid|softmax)"):
            LOSS(made(leaf), TRUTH)
    LOSS(leaf[:, :1] * leaf[:, 1:].sigmoid(), TRUTH)  # a gate within the network is none; a warning is an error here


def test_an_option_that_is_given_twice_is_refused():
    with pytest.raises(ValueError, match="gives an option twice: gamma, gamma"):
        make_loss("focal:gamma=1,gamma=2")


@pytest.mark.parametrize(
    ("given", "told"), [(torch.nn.BCEWithLogitsLoss, "the class"), ("dice", "a str"), (None, "None")]
)
def test_what_is_no_loss_of_ones_own_is_named_when_it_is_made(given, told):
    with pytest.raises(TypeError, match=f"function must be a callable of .* but is {told}"):
        AdaptedLoss(given)


OTHER = {
    "core": "focal",
    "threshold": 0.25,
    "numerator": "all",
    "matched_weight": 0.75,
    "combination": "product",
    "distance_unit": "pixel",
    "rescale": "direct",
    "cell_statistic": "max",
    "cell_rounding": "up",
    "cell_size": (8, 4),
    "min_cell": 8,
    "grid_weight": 0.5,
    "normalise": "kept",
    "random_phase": True,
    "distance": False,
    "squared": True,
    "side": 5,
    "groups": 3,
    "levels": 2,
    "regions": 4,
    "low": 0.2,
    "high": 0.9,
}


@pytest.mark.parametrize("name", LOSSES)
def test_repr_makes_the_same_loss_again_with_every_option_changed(name):
    chosen = {option.name: OTHER.get(option.name, 0.375) for option in LOSSES[name].options()}
    plain = LOSSES[name]()
    loss = LOSSES[name](**chosen, reduction="none", from_logits=False)
    again = eval(repr(loss), PUBLIC)
    assert repr(again) == repr(loss) != repr(plain)
    assert all(f"{option}={value!r}" in repr(loss) for option, value in chosen.items() if option != "core")
    truth = TRUTH.repeat(4, 1, 1, 1)
    truth[::2, :, 3:6, 2:4] = 1
    for n, image in enumerate(truth):
        image[:, 12:, : 2 * n + 1] = 1  # of as many sizes as there are images, to learn groups from
    p = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    values = []
    for each in (loss, again):
        each.fit(truth, [1, 2, 3, 4] * 2)
        each.set_epoch(1, 4)
        torch.manual_seed(0)  # a random phase
        values.append(each(p, truth, facts=each.facts(truth, density=[1, 2, 3, 4] * 2)))
    assert values[0].shape == (8, 1)
    assert torch.equal(*values)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["focal", "sm-tversky-sd-nz", "ssl", "boundary", "catmil"])
def test_repr_and_texts_write_the_numbers_of_numpy_as_pythons_own(name, kind):
    """As `for gamma in np.linspace(...)` gives them: NumPy 2 would write np.float64(0.25)."""
    chosen = {option.name: kind(0.25) for option in LOSSES[name].options() if isinstance(option.default, float)}
    plain = dict.fromkeys(chosen, 0.25)
    assert repr(LOSSES[name](**chosen)) == repr(LOSSES[name](**plain))
    assert repr(eval(repr(LOSSES[name](**chosen)), PUBLIC)) == repr(LOSSES[name](**plain))
    assert str(LossSpec(name, chosen)) == str(LossSpec(name, plain))


def test_a_list_of_sizes_and_a_switch_of_numpy_are_written_as_texts_have_them():
    spec = LossSpec("soft-sm", {"cell_size": [8, 16], "distance": np.bool_(False)})
    assert str(spec) == "soft-sm:cell_size=8x16,distance=false"


def odd_tensors():
    y = torch.zeros(2, 1, 8, 8)
    return {
        "sparse": (y.to_sparse(), r"of the layout torch.sparse_coo: {}.to_dense\(\)"),
        "mkldnn": (y.to_mkldnn(), r"of the layout torch._mkldnn: {}.to_dense\(\)"),
        "meta": (y.to("meta"), "on the meta device, which keeps shapes alone"),
        "quantised": (
            torch.quantize_per_tensor(y, 1.0, 0, torch.quint8),
            r"quantised \(torch.quint8\): {}.dequantize\(\)",
        ),
        "nested": (torch.nested.nested_tensor([y[0], y[1]]), r"nested: {}.to_padded_tensor\(0\)"),
        "complex": (y.to(torch.complex64), "of torch.complex64: {}.real"),
        "uint16": (y.to(torch.uint16), r"of torch.uint16: {}.float\(\)"),
    }


@pytest.mark.parametrize("kind", ["sparse", "mkldnn", "meta", "quantised", "nested", "complex", "uint16"])
@pytest.mark.parametrize("name", ["logits", "target", "mask", "instances", "sample_weight"])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_that_hold_no_plain_numbers_are_named_with_the_way_out(name, kind):
    tensor, said = odd_tensors()[kind]
    y = torch.zeros(2, 1, 8, 8)
    given = {
        "logits": y,
        "target": y,
        name: tensor[:, 0, 0, 0] if name == "sample_weight" and kind == "uint16" else tensor,
    }
    said = said.format(name) if (name, kind) != ("logits", "uint16") else "must be floating point numbers"
    with pytest.raises(TypeError, match=rf"^{name} .*{said}"):
        make_loss("soft-sm")(**given)
    if name == "target":
        with pytest.raises(TypeError, match=rf"^target .*{said}"):
            make_loss("soft-sm").facts(tensor)


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        (TRUTH[:1], "target and logits must be of the same images"),
        (TRUTH[..., :-1], "bring logits to the size of target"),
        (TRUTH[:, 0], r"a target without channel axis wants target\.unsqueeze\(1\)"),
        (TRUTH.repeat(1, 2, 1, 1), ".* with a channel for each class"),
    ],
)
def test_a_target_of_another_shape_is_told_what_it_lacks(target, advice):
    with pytest.raises(ValueError, match=rf"^target must have the shape of logits, .*; {advice}"):
        LOSS(LOGITS, target)


def test_axes_in_another_order_are_told():
    with pytest.raises(ValueError, match="its spatial axes come in another order"):
        LOSS(LOGITS[..., :8], TRUTH[..., :8].transpose(2, 3))


@pytest.mark.parametrize("shape", [(2, 16, 16, 1), (2, 16, 12, 2), (2, 8, 16, 16, 1)])
def test_channels_that_come_last_are_told(shape):
    with pytest.raises(ValueError, match=r"channels that come last .* logits\.movedim\(-1, 1\)"):
        LOSS(torch.zeros(shape), torch.zeros(shape))


def test_alpha_is_not_taken_for_either_weight():
    """The paper's alpha weighs missed mass, MONAI's false positives: no guess, but both names."""
    with pytest.raises(TypeError, match=r"^loss tversky has no option 'alpha'\. It has fn_weight, fp_weight, smooth$"):
        LOSSES["tversky"](alpha=0.7)


def test_probabilities_that_were_enlarged_joined_or_padded_after_the_sigmoid_are_still_told():
    probabilities = LOGITS.clone().requires_grad_().sigmoid()
    enlarged = torch.nn.functional.interpolate(probabilities, size=LOGITS.shape[2:], mode="bilinear")
    joined = torch.cat([probabilities[:1], probabilities[1:]])
    padded = torch.nn.functional.pad(probabilities[..., 1:], (1, 0))
    for given in (enlarged, joined, padded):
        with pytest.warns(UserWarning, match="logits come out of a sigmoid"):
            LOSS(given, TRUTH)


def test_logarithms_of_probabilities_given_as_logits_are_told():
    leaf = torch.cat([LOGITS, LOGITS], 1).requires_grad_()
    for made, name in (
        (lambda x: torch.nn.functional.logsigmoid(x)[:, :1], "log-sigmoid"),
        (lambda x: x.log_softmax(1)[:, 1:], "log-softmax"),
    ):
        with pytest.warns(UserWarning, match=f"come out of a {name}, so they are logarithms of prob.*of the network$"):
            LOSS(made(leaf), TRUTH)


@pytest.mark.parametrize("outputs", [[LOGITS, LOGITS], (LOGITS, None)])
def test_several_outputs_are_told_to_be_taken_one_by_one(outputs):
    with pytest.raises(TypeError, match=r"^logits must be a torch\.Tensor, but is a \w+; of several outputs \(deep"):
        LOSS(outputs, TRUTH)


def test_capitals_find_the_name_that_was_meant():
    with pytest.raises(ValueError, match="unknown loss 'SM-BCE-D-A'; did you mean 'sm-bce-d-a'"):
        make_loss("SM-BCE-D-A")
    with pytest.raises(ValueError, match=r"unknown model 'AU-Net'; did you mean 'aunet'. `massmatch models` lists all"):
        MODELS["AU-Net"]
    with pytest.raises(ValueError, match="is 'NONE'; did you mean 'none'"):
        make_loss("dice", reduction="NONE")


def test_an_option_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match=r"^'focal:gamma=1' gives gamma, which must not be given beside"):
        make_loss("focal:gamma=1", gamma=2)


def test_a_number_with_an_underscore_is_none():
    """Python reads 0_5 as 5."""
    with pytest.raises(ValueError, match="must be a finite number of at least 0, but is '0_5'"):
        make_loss("focal:gamma=0_5")


@pytest.mark.parametrize("name", ["asp-q", "asp-c"])
def test_masks_that_are_no_truth_are_refused_before_anything_is_learned_of_them(name):
    """A mask of 255 would count as 255 times its size."""
    masks = [TRUTH[0] * 0 + (torch.arange(16) < n) for n in range(1, 9)]
    LOSSES[name]().fit(masks, [None] * 8)
    with pytest.raises(ValueError, match=r"target must lie in \[0, 1\], but ranges from 0 to 255"):
        LOSSES[name]().fit([255 * mask for mask in masks], [None] * 8)
    with pytest.raises(TypeError, match=r"^targets must be a torch\.Tensor, but is a ndarray"):
        LOSSES[name]().fit([mask.numpy() for mask in masks], [None] * 8)


def test_densities_may_be_a_tensor():
    loss = LOSSES["density-asp"]()
    (one, two), (first, second) = loss.facts(TRUTH, density=[1, 3]), loss.facts(TRUTH, density=torch.tensor([1, 3]))
    assert (one["density"], two["density"]) == (first["density"], second["density"])


@pytest.mark.parametrize("loss", [None, 3, Dice()])
def test_what_is_no_text_names_no_loss(loss):
    with pytest.raises(
        TypeError, match=r"^a loss or network is named by a text, such as 'focal:gamma=3' or .*, but not by "
    ):
        make_loss(loss)
