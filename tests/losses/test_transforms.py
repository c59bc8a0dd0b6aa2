"""All losses within the transforms of `torch.func` and within autocast, and at probabilities of 0 and 1."""

import pytest
import torch
from torch import Tensor

from drawing import made_up
from massmatch.losses import LOSSES, ImageLoss

LEARNING = ("asp-q", "asp-c", "asp-l")  # what they learn is tested beside them
FITTED = sorted(set(LOSSES) - {*LEARNING, "density-asp"})
LOOKING = ("hausdorff-dt", "instance")  # at the pieces of the prediction
MASS = (slice(None), slice(None), slice(4, 9), slice(3, 11))


def drawn(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Logits and truth, (2, 1, 12, 12)."""
    logits, _ = made_up(5, (2, 1, 12, 12))
    target = torch.zeros(2, 1, 12, 12)
    target[MASS] = 1
    return logits.to(dtype), target.to(dtype)


@pytest.mark.parametrize("name", FITTED)
def test_derivatives_taken_forwards_and_backwards_are_those_of_autograd(name):
    logits, target = drawn()
    direction = torch.ones_like(logits)
    loss = LOSSES[name]()
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, target), leaf, create_graph=True)
    (second,) = torch.autograd.grad((gradient * direction).sum(), leaf)
    gradient = gradient.detach()

    def value(x):
        return loss(x, target)

    torch.testing.assert_close(torch.func.grad(value)(logits), gradient)
    _, along = torch.func.jvp(value, (logits,), (direction,))
    torch.testing.assert_close(along, (gradient * direction).sum())
    _, turned = torch.func.jvp(torch.func.grad(value), (logits,), (direction,))
    torch.testing.assert_close(turned, second)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # of PyTorch, for some functions in place
@pytest.mark.parametrize("name", FITTED)
def test_vmap_over_logits_is_a_loop_or_refused(name):
    logits, target = drawn()
    loss, both = LOSSES[name](), torch.stack([logits, logits + 1])
    if name in LOOKING:
        with pytest.raises(TypeError, match="vmap cannot run over what this loss measures"):
            torch.func.vmap(lambda x: loss(x, target))(both)
        return
    found = torch.func.vmap(lambda x: loss(x, target))(both)
    torch.testing.assert_close(found, torch.stack([loss(x, target) for x in both]))


@pytest.mark.parametrize("name", ["bce", "soft-sm", "sm-tversky-sd-nz", "boundary", "blob"])
def test_vmap_over_the_truth_says_what_to_do(name):
    loss = LOSSES[name]()
    with pytest.raises(TypeError, match=r"vmap cannot run over target.*reduction='none'"):
        torch.func.vmap(lambda x, y: loss(x[None], y[None]))(*drawn())


@pytest.mark.parametrize("name", FITTED)
def test_facts_may_be_made_and_read_within_autocast(name):
    logits, target = drawn(torch.float32)
    loss = LOSSES[name]()
    expected = loss(logits, target)
    outside = loss.facts(target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss.facts(target)
        found = [loss(logits, target, facts=facts) for facts in (outside, inside)]
    torch.testing.assert_close(torch.stack(found), expected.expand(2))


def test_facts_of_density_within_autocast_are_the_same():
    _, target = drawn(torch.float32)
    loss = LOSSES["density-asp"]()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss.facts(target, density=[1, 4])
    for one, other in zip(inside, loss.facts(target, density=[1, 4]), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", FITTED)
def test_probabilities_of_0_and_1_have_a_finite_gradient(name):
    logits, target = drawn()
    p = (logits > 0).to(logits).requires_grad_()
    loss: ImageLoss = LOSSES[name](from_logits=False)
    value = loss(p, target)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(p.grad).all()


def test_facts_of_a_large_mass_that_was_flipped_or_moved_are_refused():
    """Pixels weighed in a regular order add up to nearly the same over any large mass."""
    loss = LOSSES["soft-sm"]()
    rows, columns = torch.meshgrid(torch.arange(512.0), torch.arange(512.0), indexing="ij")
    accepted = []
    for step in range(12):
        mass = ((rows - 150 - 5 * step) / 100) ** 2 + ((columns - 130 - 7 * step) / (60 + step)) ** 2 <= 1
        target = mass[None, None].float()
        facts = loss.facts(target)
        for other in (target.flip(-1), target.flip(-1, -2), target.transpose(-1, -2), target.roll(1, -1)):
            try:
                loss(torch.zeros_like(target), other, facts=facts)
            except ValueError:
                continue
            accepted.append(step)
    assert accepted == []


@pytest.mark.parametrize("name", ["dice", "bce", "hybrid"])
def test_a_loss_is_exported_for_batches_of_any_size(name):
    x, y = torch.randn(4, 1, 16, 16), torch.rand(4, 1, 16, 16).round()
    batch = torch.export.Dim("batch", min=2, max=64)
    sizes = ({0: batch}, {0: batch})
    program = torch.export.export(LOSSES[name](), (x, y), dynamic_shapes=sizes, strict=False).module()
    torch.testing.assert_close(program(x[:3], y[:3]), LOSSES[name]()(x[:3], y[:3]))
