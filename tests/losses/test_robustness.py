"""Finite for every legal input, an error that can be mended for every other one, and the same under a compiler."""

import subprocess
import sys
import textwrap
from itertools import combinations_with_replacement

import pytest
import torch

from algorithm_1 import VARIANTS
from drawing import box, made_up, sure
from massmatch.losses import LOSSES, SpatialMatchingLoss, Tversky, make_loss

NAMES = [*VARIANTS, "bce", "dice", "tversky", "hybrid"]


def specks(side):
    """Single pixels that do not touch, about a thousand of them."""
    mask = torch.zeros(1, 1, side, side)
    mask[..., ::2, ::2] = 1
    assert mask.sum() >= 1000
    return mask


NO_MASS = torch.zeros(1, 1, 32, 32)
MASS = box((32, 32), ((8, 4), (9, 12)))
ODDITIES = {
    "no mass": (sure(MASS), NO_MASS),
    "no prediction": (torch.full_like(MASS, -10), MASS),
    "neither": (torch.full_like(MASS, -10), NO_MASS),
    "one pixel": (sure(MASS), box((32, 32), ((31, 31), (1, 1)))),
    "an image of one pixel": (torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)),
    "mass fills the image": (sure(MASS), torch.ones(1, 1, 32, 32)),
    "logits of 1e4": (sure(MASS, 1e4), MASS),
    "logits of 1e4, all wrong": (sure(1 - MASS, 1e4), MASS),
    "mass at the borders": (sure(MASS), box((32, 32), ((0, 0), (3, 32)), ((10, 30), (5, 2)))),
    "a thousand masses": (torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)), specks(64)),
}


def assert_finite(loss, logits, target, **context):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target, **context)
    value.backward()
    assert torch.isfinite(value), value
    assert torch.isfinite(logits.grad).all()
    return value, logits.grad


@pytest.mark.parametrize("oddity", ODDITIES)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_finite(name, oddity):
    value, _ = assert_finite(LOSSES[name](), *ODDITIES[oddity])
    assert value >= -1e-6


@pytest.mark.parametrize("text", ["combo", "dice:smooth=0", "unified-focal", "focal-tversky", "sm-dice-s-a:smooth=0"])
def test_an_image_of_which_no_pixel_counts_costs_nothing(text):
    target = MASS.expand(2, -1, -1, -1).clone()
    mask = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    _, gradient = assert_finite(make_loss(text), sure(target), target, mask=mask)
    assert not gradient[1].any()
    each = make_loss(text, reduction="none")
    expected = torch.cat([each(sure(MASS), MASS), torch.zeros(1, 1)])
    torch.testing.assert_close(each(sure(target), target, mask=mask), expected)


def test_what_a_loss_learns_is_not_learned_from_images_of_which_no_pixel_counts():
    loss = LOSSES["asp-l"]()
    loss(sure(MASS), MASS, mask=torch.zeros_like(MASS)).backward()
    assert not loss.scale.grad.any()
    assert not loss.slope.grad.any()


@pytest.mark.parametrize("oddity", ["no mass", "neither", "mass fills the image"])
@pytest.mark.parametrize("name", [n for n in NAMES if "bce" not in n])
def test_finite_without_smoothing_too(name, oddity):
    assert_finite(LOSSES[name](smooth=0), *ODDITIES[oddity])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_logits_are_computed_in_float32(name, dtype):
    logits = torch.full((1, 1, 512, 512), -3.0, dtype=dtype)  # their sum does not fit float16
    target = box((512, 512), ((8, 4), (90, 12)))
    value, gradient = assert_finite(LOSSES[name](), logits, target)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value, LOSSES[name]()(logits.float(), target))


@pytest.mark.parametrize("name", ["sm-tversky-sd-nz", "sm-bce-s-a", "hybrid"])
def test_autocast_changes_nothing(name):
    logits, target = made_up(1, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        value, _ = assert_finite(LOSSES[name](), logits, target)
    assert torch.equal(value, LOSSES[name]()(logits, target))


@pytest.mark.parametrize("name", NAMES)
def test_float64_stays_and_bool_targets_are_targets(name):
    logits, target = made_up(2)
    value = LOSSES[name]()(logits, target)
    assert value.dtype == torch.float64
    assert torch.equal(LOSSES[name]()(logits, target.bool()), value)


@pytest.mark.parametrize("logit", [-10.0, -5.0, 0.0, 0.5, 5.0, 10.0])
@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_mass_pushes_false_positives_down(name, logit):
    logits = torch.full((1, 1, 64, 64), -4.0)
    logits[..., 20:30, 20:30] = logit
    _, gradient = assert_finite(LOSSES[name](), logits, torch.zeros_like(logits))
    assert (gradient[..., 20:30, 20:30] > 0).all()


WRONG = {
    "shape": (
        lambda x, y: {"target": y[:, 0]},
        r"target must have the shape of logits, \(2, 1, 16, 16\).*\(2, 16, 16\)",
    ),
    "above 1": (lambda x, y: {"target": y * 255}, r"target must lie in \[0, 1\], but ranges from 0 to 255"),
    "below 0": (lambda x, y: {"target": y - 1}, r"target must lie in \[0, 1\], but ranges from -1"),
    "NaN": (lambda x, y: {"target": y * torch.nan}, r"target must lie in \[0, 1\], but holds NaN"),
    "axes": (
        lambda x, y: {"logits": x[0, 0], "target": y[0, 0]},
        r"logits must have the shape \(B, C, \*spatial\)",
    ),
    "empty": (lambda x, y: {"logits": x[:0], "target": y[:0]}, r"no empty one"),
    "mask shape": (lambda x, y: {"mask": y[..., :3]}, r"mask must broadcast to the shape of logits"),
    "mask values": (lambda x, y: {"mask": y + 0.5}, r"mask must hold 0 and 1 only"),
    "weights": (
        lambda x, y: {"sample_weight": torch.ones(3)},
        r"sample_weight must have the shape \(B,\) or \(B, C\)",
    ),
    "weights below 0": (
        lambda x, y: {"sample_weight": torch.tensor([1.0, -0.5])},
        r"sample_weight must be at least 0, but holds -0\.5",
    ),
    "instances": (lambda x, y: {"instances": y[0]}, r"instances must have the shape of logits"),
    "background": (lambda x, y: {"instances": 0 * y}, r"instances must label every pixel of true mass"),
    "facts": (lambda x, y: {"facts": [{}]}, r"facts must hold one dict per image, 2 here, but holds 1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_argument_is_named(wrong):
    logits, target = made_up(3, (2, 1, 16, 16), dtype=torch.float32)
    change, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        SpatialMatchingLoss()(**{"logits": logits, "target": target, **change(logits, target)})


def test_values_outside_0_and_1_are_refused_where_values_are_expected():
    logits, target = made_up(4)
    with pytest.raises(ValueError, match=r"from_logits=False.*must lie in \[0, 1\]"):
        SpatialMatchingLoss(from_logits=False)(logits, target)


def test_wrong_types_are_type_errors():
    logits, target = made_up(5)
    with pytest.raises(TypeError, match=r"logits must be floating point numbers, but are torch\.int64"):
        SpatialMatchingLoss()(logits.long(), target)
    with pytest.raises(TypeError, match="has no option 'smoth'; did you mean 'smooth'"):
        LOSSES["sm-tversky-s-a"](smoth=1)


OPTIONS = [
    (
        {"core": "tversk"},
        r"core must be one of 'bce', 'tversky', 'dice', 'hybrid', .*, but is 'tversk'; did you mean 'tversky'",
    ),
    ({"cell_statistic": "median"}, r"cell_statistic must be one of 'min', 'mean', 'max', but is 'median'"),
    ({"cell_rounding": "floor"}, r"cell_rounding must be one of 'nearest', 'up', 'down'"),
    ({"numerator": "active"}, r"numerator must be one of 'kept', 'all'"),
    ({"combination": "sum"}, r"combination must be one of 'algorithm', 'product'"),
    ({"distance_unit": "mm"}, r"distance_unit must be one of 'cell', 'pixel', 'image'"),
    ({"rescale": "tanh"}, r"rescale must be one of 'sigmoid', 'direct'"),
    (
        {"reduction": "sums"},
        r"reduction must be one of 'mean', 'sum', 'none', but is 'sums'; did you mean 'sum'",
    ),
    ({"threshold": 1.5}, r"threshold must lie in \[0, 1\]"),
    ({"grid_weight": -1}, r"grid_weight must be a finite number of at least 0"),
    ({"matched_weight": float("nan")}, r"matched_weight must be a finite number of at least 0"),
    ({"cell_size": (8, 0)}, r"cell_size must be a whole number of pixels of at least 1"),
    ({"min_cell": 0}, r"min_cell must be a whole number of pixels of at least 1"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS, ids=str)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        SpatialMatchingLoss(**options)


def weights_of(name):
    """The options of a loss that are numbers."""
    options = LOSSES[name].options()
    return [
        each.name for each in options if isinstance(each.default, int | float) and not isinstance(each.default, bool)
    ]


@pytest.mark.parametrize("name", [*(name for name in LOSSES if not name.startswith("sm-")), "sm-tversky-sd-nz"])
def test_no_two_weights_of_0_make_a_loss_that_learns_nothing(name):
    logits = torch.randn(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    target = torch.zeros(1, 1, 24, 24)
    target[..., 4:12, 5:11] = 1
    for chosen in combinations_with_replacement(weights_of(name), 2):
        try:
            loss = make_loss(f"{name}:" + ",".join(f"{option}=0" for option in set(chosen)))
        except ValueError:
            continue
        leaf = logits.clone().requires_grad_()
        loss(leaf, target).backward()
        assert leaf.grad.any(), chosen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hybrid:bce_weight=0,dice_weight=0", "Hybrid: one of bce_weight and dice_weight must be above 0"),
        ("sm-tversky-s-a:fn_weight=0,fp_weight=0", "Tversky: one of fn_weight and fp_weight must be above 0"),
        ("focal-tversky:gamma=0", "FocalTversky: gamma must be above 0, or nothing is learned"),
        ("arsl:low=0,high=0", "AdaptiveTversky: high must be above 0"),
        ("blob:whole=0,each=0", "BlobLoss: one of whole and each must be above 0"),
    ],
)
def test_weights_that_are_all_0_are_refused(text, said):
    with pytest.raises(ValueError, match=said):
        make_loss(text)


def test_negative_smoothing_is_refused():
    with pytest.raises(ValueError, match=r"Tversky\(smooth\) must be a finite number of at least 0, but is -1"):
        Tversky(smooth=-1)


def test_a_cell_size_for_another_number_of_axes_is_refused():
    with pytest.raises(ValueError, match="one side per spatial axis, 2 here"):
        SpatialMatchingLoss(cell_size=(4, 4, 4))(*made_up(6))


def test_facts_of_other_options_of_another_size_or_without_distance_are_refused():
    logits, target = made_up(7, (2, 1, 16, 16))
    loss = SpatialMatchingLoss(distance=True)
    with pytest.raises(ValueError, match="made by a loss with other options"):
        loss(logits, target, facts=SpatialMatchingLoss(distance=True, cell_statistic="mean").facts(target))
    with pytest.raises(ValueError, match="lacks distance"):
        loss(logits, target, facts=SpatialMatchingLoss().facts(target))
    with pytest.raises(ValueError, match=r"is of an image \(1, 16, 12\)"):
        loss(logits, target, facts=loss.facts(target[..., :12]))


def test_explain_takes_one_image():
    with pytest.raises(ValueError, match=r"explain takes one image of one channel, .* not \(2, 1, 16, 16\)"):
        SpatialMatchingLoss().explain(*made_up(8, (2, 1, 16, 16)))


def in_a_fresh_process(code, timeout=280):
    """Run a script without the shape checks of the test run, which a compiler cannot trace."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


COMPILED = """
    import torch
    from massmatch.losses import LOSSES
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logits, target = torch.randn(2, 1, 32, 32) * 3, torch.zeros(2, 1, 32, 32)
    target[0, 0, 3:9, 4:14] = 1
    target[1, 0, 20:31, 8:16] = 1
    for name in {names}:
        for options, fullgraph in (({{"cell_size": (8, 8)}}, True), ({{}}, False)):
            torch._dynamo.reset()
            loss = LOSSES[name](**options)
            facts = loss.facts(target) if "d" in name.split("-")[2] or not fullgraph else None
            compiled = torch.compile(loss, fullgraph=fullgraph)
            values, gradients = [], []
            for call in (loss, compiled):
                x = logits.clone().requires_grad_()
                value = call(x, target, facts=facts)
                value.backward()
                values.append(value.detach())
                gradients.append(x.grad)
            torch.testing.assert_close(*values)
            torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)
        print(name)
"""


@pytest.mark.long
def test_every_switch_and_core_compiles_to_the_same_values_and_gradients():
    names = [n for n in VARIANTS if n.startswith("sm-tversky") or n.endswith("sd-nz")]
    assert in_a_fresh_process(COMPILED.format(names=names), timeout=1500).split() == names


@pytest.mark.long  # a process of its own that compiles
def test_no_batch_is_compiled_anew_for_its_cells_and_a_phase_is_one_that_is_drawn_without_a_compiler():
    in_a_fresh_process("""
        import torch
        from torch._dynamo.utils import counters
        from massmatch.losses import make_loss
        torch.manual_seed(0)
        target = torch.zeros(6, 1, 32, 32)
        for n, side in enumerate((4, 8, 16, 0, 5, 30)):
            target[n, 0, 1 : 1 + side, 1 : 1 + side // 2] = 1
        logits = torch.randn(target.shape, dtype=torch.float64)
        phase = "soft-sm:random_phase=true"
        for name in ("sm-tversky-sd-nz", "soft-sm", phase, phase + ",cell_size=2"):
            loss = make_loss(name)
            step = torch.compile(lambda x, y, facts: loss(x, y, facts=facts), fullgraph=True, backend="eager")
            counters.clear()
            for images in (slice(0, 2), slice(2, 4), slice(4, 6)):
                x, y = logits[images], target[images]
                facts = loss.facts(y)
                drawn, compiled = (
                    {round(float(call(x, y, facts=facts)), 5) for _ in range(60 if "cell_size" in name else 1)}
                    for call in (loss, step)
                )
                assert name == phase or drawn == compiled, (name, drawn, compiled)
            assert counters["stats"]["unique_graphs"] == 1, (name, counters["stats"])
        fixed = make_loss("sm-tversky-s-nz:cell_size=8")  # needs no facts, so nothing is measured and no graph broken
        step = torch.compile(fixed, fullgraph=True, backend="eager")
        assert torch.equal(step(logits, target), fixed(logits, target))
    """)


@pytest.mark.long
def test_a_compiled_graph_says_where_facts_do_not_hold_behind_a_mask():
    """The facts of the whole were taken, and another number came out than without a compiler."""
    in_a_fresh_process("""
        import torch
        from massmatch.losses import make_loss
        target, mask = torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
        target[..., 4:12, 5:14], target[..., 20:24, 26:30], mask[..., 20:] = 1, 1, 0
        logits = torch.zeros(target.shape)
        for name in ("soft-sm", "sm-tversky-sd-nz"):
            loss = make_loss(name)
            call = lambda x, y, facts: loss(x, y, mask=mask, facts=facts)
            step = torch.compile(call, fullgraph=True, backend="eager")
            kept = target * mask
            assert torch.isclose(step(logits, kept, loss.facts(kept)), call(logits, target, loss.facts(target)))
            try:
                step(logits, target, loss.facts(target))
            except RuntimeError as error:
                assert "hand over target * mask" in str(error)
            else:
                raise AssertionError(name)
    """)


@pytest.mark.long
def test_specks_on_a_large_image_stay_within_a_gigabyte():
    out = in_a_fresh_process("""
        import resource, torch
        from massmatch.losses import LOSSES
        torch.set_num_threads(1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        target = torch.zeros(1, 1, 2048, 2048, dtype=torch.bool)
        target[..., ::64, ::64] = True
        logits = torch.full((1, 1, 2048, 2048), -2.0, requires_grad=True)
        for name in ("sm-tversky-sd-nz", "sm-bce-sd-a"):
            loss = LOSSES[name](min_cell=1)
            assert loss.facts(target)[0]["cell_size"].tolist() == [[1, 1]]
            loss(logits, target).backward()
            assert torch.isfinite(logits.grad).all()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """)
    assert int(out) < 1024**2  # kilobytes


def test_probabilities_given_as_logits_are_told():
    network = torch.zeros(1, 1, 16, 16, requires_grad=True)
    target = torch.zeros(1, 1, 16, 16)
    with pytest.warns(UserWarning, match="logits come out of a sigmoid, .*from_logits=False"):
        LOSSES["sm-tversky-s-a"]()(network.sigmoid(), target)
    with pytest.warns(UserWarning, match="logits come out of a sigmoid, .*from_logits=False"):
        LOSSES["sm-tversky-s-a"]()(network.sigmoid(), target, mask=torch.ones_like(target))
    LOSSES["sm-tversky-s-a"]()(network + 0.5, target)  # logits that happen to lie in [0, 1] are left alone
    LOSSES["sm-tversky-s-a"](from_logits=False)(network.sigmoid(), target)
