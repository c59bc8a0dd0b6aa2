"""The adaptive region-specific loss against numbers by hand, a loop over its regions, and PyTorch's pooling."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from massmatch.losses import LOSSES, SpatialMatchingLoss, Tversky
from massmatch.losses.rivals.adaptive_region import AdaptiveRegionLoss, AdaptiveTversky


def example(shape=(2, 1, 24, 24), seed=0):
    torch.manual_seed(seed)
    y = torch.zeros(*shape, dtype=torch.float64)
    y[0, 0, 5:14, 8:17] = 1
    return torch.randn_like(y) + 2 * y - 1, y


def slow_tversky(tp, fp, fn, s, low=0.3, high=0.7):
    a = low + (high - low) * fp / (fp + fn) if fp + fn else 0
    b = low + (high - low) * fn / (fp + fn) if fp + fn else 0
    return 1 - (tp + s) / (tp + a * fp + b * fn + s)


def slow_arsl(p, y, regions=16, s=1e-5, valid=None):
    """One image, region by region."""
    valid = np.ones_like(y) if valid is None else valid
    high, wide = (-(-side // regions) for side in p.shape)
    losses = []
    for top in range(0, p.shape[0], high):
        for left in range(0, p.shape[1], wide):
            region = np.s_[top : top + high, left : left + wide]
            q, t = p[region][valid[region] == 1], y[region][valid[region] == 1]
            if len(q):
                losses.append(slow_tversky((q * t).mean(), (q * (1 - t)).mean(), ((1 - q) * t).mean(), s))
    return np.mean(losses)


def test_four_regions_by_hand():
    p = torch.tensor([[0.5, 0.5, 0.25, 0.25], [0.5, 0.0, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    y = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    # as means over four pixels: both kinds of error (FP 1/8, FN 1/4: weights 13/30 and 17/30), false positives alone
    # (FP 1/4: 0.7), none, and misses alone (FN 1: 0.7)
    both = 1 - (0.25 + 0.025) / (0.25 + 13 / 30 / 8 + 17 / 30 / 4 + 0.025)
    regions = [both, 1 - 0.025 / (0.7 / 4 + 0.025), 0.0, 1 - 0.025 / (0.7 + 0.025)]
    found = AdaptiveRegionLoss(regions=2, smooth=0.025, from_logits=False)(p[None, None], y[None, None])
    assert found.item() == pytest.approx(sum(regions) / 4, rel=1e-6)


@pytest.mark.parametrize(("side", "regions"), [(32, 16), (24, 16), (21, 4), (10, 16)])
def test_region_by_region(side, regions):
    x, y = example((2, 1, side, side))
    found = AdaptiveRegionLoss(regions=regions, reduction="none")(x, y)
    for n in range(2):
        expected = slow_arsl(torch.sigmoid(x[n, 0]).numpy(), y[n, 0].numpy(), regions)
        assert found[n, 0].item() == pytest.approx(expected, rel=1e-9)


def test_it_is_the_formula_of_public_code_where_the_regions_divide_the_image():
    """Averages by pooling; the shares are smoothed there, which changes little while errors are far above 1e-5."""
    x, y = example((2, 1, 32, 32))
    p, s = torch.sigmoid(x), 1e-5
    tp, fp, fn = (F.adaptive_avg_pool2d(each, 16) for each in (p * y, p * (1 - y), (1 - p) * y))
    a, b = (0.3 + 0.4 * (each + s) / (fp + fn + s) for each in (fp, fn))
    expected = (1 - (tp + s) / (tp + a * fp + b * fn + s)).mean()
    torch.testing.assert_close(AdaptiveRegionLoss()(x, y), expected, rtol=1e-5, atol=0)


def test_one_region_is_the_core_over_the_image():
    x, y = example()
    expected = LOSSES["adaptive-tversky"](smooth=24 * 24 * 1e-5)(x, y)
    torch.testing.assert_close(AdaptiveRegionLoss(regions=1)(x, y), expected)


def test_equal_weights_are_tversky():
    x, y = example()
    found = AdaptiveTversky(0.4, 0.4, 1.0)(x, y, axes=(-2, -1))
    torch.testing.assert_close(found, Tversky(0.4, 0.4, 1.0)(x, y, axes=(-2, -1)))


@pytest.mark.parametrize("smooth", [1e-5, 0.0])
def test_gradients_are_those_of_finite_differences(smooth):
    """Regions of mass, of background, and of both; the weights carry a gradient."""
    x, y = example((2, 1, 12, 12))
    x.requires_grad_()
    loss = AdaptiveRegionLoss(regions=4, smooth=smooth, reduction="none")
    assert torch.autograd.gradcheck(lambda x: loss(x, y), (x,))


@pytest.mark.parametrize("smooth", [1e-5, 0.0])
def test_without_any_error_it_costs_nothing_and_stays_finite(smooth):
    _, y = example()
    y[:] = y[:1]  # mass in both images: a region with neither mass nor prediction costs 1 without smoothing
    p = y.clone().requires_grad_()
    loss = AdaptiveRegionLoss(regions=1, smooth=smooth, from_logits=False)(p, y)
    (gradient,) = torch.autograd.grad(loss, p)
    assert loss.item() == 0
    assert torch.isfinite(gradient).all()


def test_sums_that_rounding_left_below_nothing_cost_nothing():
    tp, p, y = (torch.tensor([value], requires_grad=True) for value in (4.000001, 4.0, 4.0))
    loss = AdaptiveTversky().from_sums(tp, p, y)
    gradients = torch.autograd.grad(loss.sum(), (tp, p, y))
    assert loss.item() == 0
    assert all(gradient.abs().item() <= 1 for gradient in gradients)


def test_a_region_without_mass_pushes_false_positives_down():
    x, y = example()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(AdaptiveRegionLoss()(x, torch.zeros_like(y)), x)
    assert (gradient > 0).all()


def test_pixels_that_do_not_count_have_no_influence():
    x, y = example()
    mask = torch.ones_like(y)
    mask[..., :9] = 0
    other = torch.where(mask == 1, x, 50.0)
    loss = AdaptiveRegionLoss(regions=6, reduction="none")
    torch.testing.assert_close(loss(other, y, mask=mask), loss(x, y, mask=mask))
    expected = slow_arsl(torch.sigmoid(x[0, 0]).numpy(), y[0, 0].numpy(), 6, valid=mask[0, 0].numpy())
    assert loss(x, y, mask=mask)[0, 0].item() == pytest.approx(expected, rel=1e-9)
    assert loss(x, y, mask=torch.zeros_like(y)).tolist() == [[0.0], [0.0]]


def test_on_the_grid_of_the_masses():
    """Cells of known sides: the loss of the image and the mean of those of the cells, each by itself."""
    x, y = example((1, 1, 24, 24))
    found = SpatialMatchingLoss(core="adaptive-tversky", cell_size=(8, 8))(x, y)
    core = AdaptiveTversky()
    corners = [np.s_[..., row : row + 8, column : column + 8] for row in (0, 8, 16) for column in (0, 8, 16)]
    cells = [core(x[corner], y[corner], axes=(-2, -1)) for corner in corners]
    torch.testing.assert_close(found, (core(x, y, axes=(-2, -1)) + torch.stack(cells).mean(0)).squeeze())


@pytest.mark.parametrize(
    ("options", "told"),
    [({"regions": 0}, "regions"), ({"regions": True}, "regions"), ({"low": 0.8}, "low"), ({"smooth": -1}, "smooth")],
)
def test_wrong_options_are_named(options, told):
    with pytest.raises(ValueError, match=told):
        AdaptiveRegionLoss(**options)
