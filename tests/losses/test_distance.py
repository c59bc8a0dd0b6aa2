"""Distances by brute force; the losses against their formulas, MONAI's where it is right, and their schedules."""

import numpy as np
import pytest
import torch

from massmatch.losses import BCE, LOSSES, Dice
from massmatch.losses.rivals.distance import (
    BoundaryLoss,
    GeneralisedSurface,
    HausdorffDT,
    RegionWise,
    edge_distance,
    region_map,
    signed_distance,
)

AXES = (-2, -1)


def example(seed=0, side=14):
    torch.manual_seed(seed)
    y = torch.zeros(3, 1, side, side, dtype=torch.float64)
    y[0, 0, 3:7, 4:9], y[1, 0, 2:4, 2:4], y[1, 0, 9:13, 8:12] = 1, 1, 1
    return 2 * torch.randn_like(y), y


def nearest(mask, others):
    """Distance of every pixel to the nearest of the others, pair by pair."""
    points = np.argwhere(others)
    return np.array(
        [[np.sqrt(((points - (r, c)) ** 2).sum(1).min()) for c in range(mask.shape[1])] for r in range(mask.shape[0])]
    )


def test_distances_by_brute_force():
    _, y = example()
    for n in (0, 1):
        mask = y[n, 0].numpy() > 0
        to_mass, to_rest = nearest(mask, mask), nearest(mask, ~mask)
        np.testing.assert_allclose(signed_distance(mask), np.where(mask, 1 - to_rest, to_mass), atol=1e-5)
        np.testing.assert_allclose(edge_distance(mask), np.where(mask, to_rest, to_mass), atol=1e-5)
        expected = np.where(mask, -to_rest / to_rest.max() - 1, 1 + to_mass / to_mass.max())
        np.testing.assert_allclose(region_map(mask), expected, atol=1e-5)


def test_maps_of_one_class():
    none, all_ = np.zeros((5, 5), bool), np.ones((5, 5), bool)
    assert not signed_distance(none).any()
    assert (signed_distance(all_) == -1).all()
    assert not edge_distance(none).any()
    assert not edge_distance(all_).any()
    assert (region_map(none) == 2).all()
    assert (region_map(all_) == -2).all()


def test_boundary_is_its_formula_and_follows_the_epochs():
    x, y = example()
    loss = BoundaryLoss(reduction="none")
    p = torch.sigmoid(x)
    phi = torch.from_numpy(np.stack([signed_distance(m[0].numpy() > 0) for m in y]))[:, None]
    for epoch, alpha in ((0, 0.01), (10, 0.11), (500, 0.99)):
        loss.set_epoch(epoch, 600)
        expected = (1 - alpha) * Dice()(x, y, axes=AXES) + alpha * (p * phi).mean(AXES)
        torch.testing.assert_close(loss(x, y), expected)


def test_hausdorff_terms_equal_monais():
    """MONAI's HausdorffDTLoss is the mean of the same terms, with the distances of each channel and alpha = 2."""
    from monai.losses import HausdorffDTLoss

    x, y = example()
    theirs = HausdorffDTLoss(alpha=2.0, include_background=True, sigmoid=True, reduction="none")
    found = HausdorffDT().terms(x, y, None).mean(AXES)
    expected = theirs(x[:2].float(), y[:2].float()).flatten()  # without mass MONAI's distance is another one
    torch.testing.assert_close(found[:2].flatten().float(), expected, rtol=1e-4, atol=1e-4)


def test_hausdorff_weighs_both_terms_alike():
    x, y = example()
    dice = Dice()(x, y, axes=AXES)
    found = HausdorffDT(reduction="none")(x, y)
    torch.testing.assert_close(found[:2], 2 * dice[:2])


def test_generalised_surface_is_its_formula():
    x, y = example()
    loss = GeneralisedSurface(reduction="none")
    p = torch.sigmoid(x)
    D = torch.from_numpy(np.stack([signed_distance(m[0].numpy() > 0) for m in y]))[:, None].double()
    region = Dice()(x, y, axes=AXES) + BCE()(x, y, axes=AXES)
    surface = 1 - ((D * (1 - y - p)) ** 2).sum(AXES) / (D**2).sum(AXES)
    for epoch, alpha in ((0, 1.0), (5, 0.5), (10, 0.0)):
        loss.set_epoch(epoch, 11)
        found = loss(x, y)
        torch.testing.assert_close(found[:2], (alpha * region + (1 - alpha) * surface)[:2])
        torch.testing.assert_close(found[2], region[2])  # no mass, no surface


def test_generalised_surface_of_the_truth_is_0():
    _, y = example()
    loss = GeneralisedSurface(reduction="none", from_logits=False)
    loss.set_epoch(9, 10)
    assert loss(y, y)[:2].abs().max() < 1e-6


def test_region_wise_is_its_formula():
    x, y = example()
    z = torch.from_numpy(np.stack([region_map(m[0].numpy() > 0) for m in y]))[:, None]
    torch.testing.assert_close(RegionWise(reduction="none")(x, y), (torch.sigmoid(x) * z).mean(AXES))


NAMES = ["boundary", "hausdorff-dt", "generalised-surface", "region-wise", "blob", "cc-dice-bce", "catmil", "instance"]


@pytest.mark.parametrize("name", NAMES)
def test_facts_give_the_same_value_and_foreign_ones_are_refused(name):
    x, y = example()
    loss = LOSSES[name]()
    loss.set_epoch(3, 5)
    torch.testing.assert_close(loss(x, y, facts=loss.facts(y)), loss(x, y))
    with pytest.raises(ValueError, match="facts must hold"):
        loss(x, y, facts=[{}] * 3)
    with pytest.raises(ValueError, match=r"facts\[0\] is of an image \(1, 14, 10\)"):
        loss(x, y, facts=loss.facts(y[..., :10]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axes", [2, 3])
def test_any_number_of_axes_empties_and_saturation(name, axes):
    y = torch.zeros(3, 1, *[10] * axes)
    y[0, 0, 2:5] = 1
    y[1] = 1
    for x in (torch.randn(y.shape), torch.full(y.shape, 1e4), torch.full(y.shape, -1e4)):
        leaf = x.clone().requires_grad_()
        loss = LOSSES[name]()
        loss.set_epoch(1, 4)
        value = loss(leaf, y)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_false_positives_cost_on_an_image_without_mass(name):
    leaf = torch.randn(1, 1, 12, 12).requires_grad_()
    loss = LOSSES[name]()
    loss.set_epoch(1, 4)
    loss(leaf, torch.zeros(1, 1, 12, 12)).backward()
    assert leaf.grad.sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_masked_pixels_have_no_influence_on_the_mean(name):
    if name == "instance":
        pytest.skip("its pieces are those of what counts")
    x, y = example()
    mask = torch.ones_like(y)
    mask[..., 11:] = 0
    y[..., 11:] = 0
    other = x.clone()
    other[..., 11:] = 30.0 if name != "hausdorff-dt" else x[..., 11:]
    loss = LOSSES[name]()
    torch.testing.assert_close(loss(x, y, mask=mask), loss(other, y, mask=mask))


@pytest.mark.parametrize("name", ["boundary", "catmil", "generalised-surface"])
@pytest.mark.parametrize("epoch", [-1, 2, 5])
def test_an_epoch_that_is_none_is_refused(name, epoch):
    with pytest.raises(ValueError, match=f"epoch must be from 0 to below their number, 2, but is {epoch}"):
        LOSSES[name]().set_epoch(epoch, of=2)


@pytest.mark.parametrize("name", ["boundary", "hausdorff-dt", "generalised-surface", "region-wise"])
@pytest.mark.parametrize("around", [(0, 9, 0, 5), (7, 0, 4, 0)])
@pytest.mark.parametrize("touching", [False, True])
def test_an_image_with_hidden_pixels_around_it_costs_what_it_costs_alone(name, around, touching):
    """Hidden pixels counted as background: a mass ended at them, and the farthest pixel was one of them."""
    x, y = example()
    if touching:
        y[0, 0, 9:, 9:], y[0, 0, :3, :3], y[1] = 1, 1, 1
    loss = LOSSES[name](reduction="none")
    if name in ("boundary", "generalised-surface"):
        loss.set_epoch(5, 10)
    padded, truth = (torch.nn.functional.pad(each, around) for each in (x, y))
    mask = torch.nn.functional.pad(torch.ones_like(y), around)
    leaf, alone = padded.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = loss(leaf, truth, mask=mask), loss(alone, y)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(loss(padded, truth, mask=mask, facts=loss.facts(truth)), expected)
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(leaf.grad[mask > 0], alone.grad.flatten())
    assert not leaf.grad[mask == 0].any()
