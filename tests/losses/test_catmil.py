"""CATMIL equals a loop over the masses, is Dice + BCE without mass, and brings its balanced term in by epoch."""

import math

import numpy as np
import pytest
import torch

from massmatch.losses import LOSSES
from massmatch.losses.cores.base import DiceBCE
from massmatch.losses.rivals.catmil import CATMIL
from massmatch.losses.rivals.instance import components


def slow(x, y, mask):
    """One channel of one image, mass by mass, as the paper's equations 4 to 9 have it."""
    axes, p = tuple(range(-x.ndim, 0)), torch.sigmoid(x)
    labels = torch.from_numpy(components(y.numpy() > 0)) * mask.long()
    total = DiceBCE()(x, y, axes=axes, valid=mask)
    masses = [labels == n for n in labels.unique().tolist() if n > 0]
    if not masses:
        return total
    tp = sum(p[own].sum() / (own.sum() + 5) for own in masses)
    fn = sum((1 - p[own]).sum() / (own.sum() + 5) for own in masses)
    fp = 0.01 * p[(y == 0) & (mask > 0)].sum()
    cat = 1 - (tp + 1e-5) / (tp + 0.3 * fp + 0.7 * fn + 1e-5)
    mil = -sum(p[own].max().clamp(min=1e-6).log() for own in masses) / len(masses)
    return total + 0.1 * cat + 0.2 * mil


@pytest.mark.parametrize("shape", [(3, 2, 20, 26), (2, 1, 7, 8, 9)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("masked", [False, True])
def test_all_masses_at_once_are_the_loop_over_them(shape, masked):
    torch.manual_seed(3)
    y = (torch.rand(shape) > 0.95).double()
    y[0, 0] = 0
    mask = (torch.rand(shape) > 0.3).double() if masked else torch.ones(shape).double()
    x = 3 * torch.randn(shape).double() - 2
    expected = [[slow(a, b, m) for a, b, m in zip(*each, strict=True)] for each in zip(x, y, mask, strict=True)]
    loss = CATMIL(reduction="none")
    instances = torch.from_numpy(np.stack([np.stack([components(c.numpy() > 0) for c in image]) for image in y]))
    found = loss(x, y, mask=mask if masked else None, instances=instances)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(
        CATMIL(reduction="none", from_logits=False)(x.sigmoid(), y, mask=mask, instances=instances), found
    )


def test_a_mass_of_four_pixels_by_hand():
    """p = 1/2 everywhere on 4 x 4 pixels: TP = FN = 2/9, FP = 0.01 x 6, and the largest p is 1/2."""
    y = torch.zeros(1, 1, 4, 4)
    y[..., :2, :2] = 1
    x = torch.zeros_like(y)
    dice_bce = DiceBCE()(x, y, axes=(-2, -1)).item()
    cat = 1 - (2 / 9) / (2 / 9 + 0.3 * 0.06 + 0.7 * 2 / 9)
    assert LOSSES["catmil"]()(x, y).item() == pytest.approx(dice_bce + 0.1 * cat + 0.2 * math.log(2), abs=1e-5)


def test_the_balanced_term_comes_in_by_epoch():
    torch.manual_seed(0)
    x, y = torch.randn(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    y[..., 3:7, 4:9] = 1
    loss, values = CATMIL(), []
    for epoch in (0, 25, 50, 80):
        loss.set_epoch(epoch, of=100)
        values.append(loss(x, y).item())
    assert values[0] == pytest.approx(CATMIL(balance=0)(x, y).item())
    assert values[1] == pytest.approx((values[0] + values[2]) / 2)
    assert values[2] == values[3] == CATMIL()(x, y).item()


def test_masses_of_unlike_size_pull_alike():
    """A mass of 100 pixels and one of 4, both missed: the balanced term pulls at them as 100/105 to 4/9."""
    y = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    y[..., 2:12, 2:12], y[..., 20:22, 20:22] = 1, 1
    x = torch.full_like(y, -2).requires_grad_()
    both = CATMIL(detection=0)(x, y) - CATMIL(detection=0, balance=0)(x, y)
    (gradient,) = torch.autograd.grad(both, x)
    ratio = gradient[..., 2:12, 2:12].sum() / gradient[..., 20:22, 20:22].sum()
    assert ratio.item() == pytest.approx((100 / 105) / (4 / 9))
