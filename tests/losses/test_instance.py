"""Losses that count masses: equal to the whole where there is one mass, and right where there are two."""

import numpy as np
import pytest
import torch

from massmatch.losses.cores.base import DiceBCE, Hybrid
from massmatch.losses.rivals.instance import BlobLoss, CCDiceBCE, InstanceLoss, components, territories

AXES = (-2, -1)
L = DiceBCE()


def two(side=20):
    y = torch.zeros(1, 1, side, side, dtype=torch.float64)
    y[0, 0, 2:5, 2:6], y[0, 0, 12:18, 10:18] = 1, 1
    torch.manual_seed(1)
    return 2 * torch.randn_like(y), y


def one():
    x, y = two()
    y[..., 10:, :] = 0
    return x, y


def slow(name, x, y, labels, mask):
    """The losses as loops over the masses and pieces of one channel of one image."""
    axes = tuple(range(-x.ndim, 0))
    found = [n for n in labels.unique().tolist() if n > 0]
    of = [(labels == n).to(x) for n in found]
    if name == "BlobLoss":
        each = [L(x, y, axes=axes, valid=mask * (own + (labels == 0))) for own in of]
        return 2 * L(x, y, axes=axes, valid=mask) + (torch.stack(each).mean() if each else 0)
    if name == "CCDiceBCE":
        near = torch.from_numpy(territories(labels.numpy()))
        return torch.stack([L(x, y, axes=axes, valid=mask * (near == n)) for n in near.unique()]).mean()
    total = Hybrid()(x, y, axes=axes, valid=mask)
    p = torch.sigmoid(x) * mask
    pieces = torch.from_numpy(components((p > 0.5).numpy()))
    numbers = range(1, int(pieces.max()) + 1)
    dice = []
    for own in of:
        hit = sum(((pieces == k) & (labels == 0)).to(p) for k in numbers if (own * (pieces == k)).any())
        dice.append(1 - (2 * (p * own).sum() + 1) / ((p * (own + hit)).sum() + own.sum() + 1))
    false = [p[pieces == k].mean() * (not labels[pieces == k].any()) for k in numbers]
    for terms in (dice, false):
        total = total + (torch.stack(terms).mean() if terms else 0)
    return total


@pytest.mark.parametrize("kind", [BlobLoss, CCDiceBCE, InstanceLoss])
@pytest.mark.parametrize("shape", [(3, 2, 24, 30), (2, 1, 1, 60), (2, 1, 9, 10, 11)], ids=["2-D", "line", "3-D"])
def test_all_masses_at_once_are_the_loop_over_them(kind, shape):
    torch.manual_seed(2)
    y = (torch.rand(shape) > 0.93).double()
    y[0, 0] = 0
    mask = (torch.rand(shape) > 0.2).double()
    x = 3 * torch.randn(shape).double() - 2
    labels = torch.from_numpy(np.stack([np.stack([components(c.numpy() > 0) for c in image]) for image in y]))
    for valid in (None, mask):
        leaf, slow_leaf = x.clone().requires_grad_(), x.clone().requires_grad_()
        found = kind(reduction="none")(leaf, y, mask=valid, instances=7 * labels)
        counted = torch.ones_like(y) if valid is None else valid
        visible = labels * counted.long()  # a mass behind the mask has no influence, nor has its territory
        expected = torch.stack(
            [
                slow(kind.__name__, *each)
                for each in zip(*(a.flatten(0, 1) for a in (slow_leaf, y, visible, counted)), strict=True)
            ]
        ).view(shape[:2])
        torch.testing.assert_close(found, expected)
        found.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(leaf.grad, slow_leaf.grad)


def test_with_one_mass_or_none_they_are_the_whole():
    x, y = one()
    whole = L(x, y, axes=AXES).mean()
    torch.testing.assert_close(BlobLoss()(x, y), 3 * whole)
    torch.testing.assert_close(CCDiceBCE()(x, y), whole)
    none = torch.zeros_like(y)
    torch.testing.assert_close(BlobLoss()(x, none), 2 * L(x, none, axes=AXES).mean())
    torch.testing.assert_close(CCDiceBCE()(x, none), L(x, none, axes=AXES).mean())


def test_blob_loss_by_hand():
    x, y = two()
    first, second = y.clone(), y.clone()
    first[..., 10:, :], second[..., :10, :] = 0, 0
    each = [L(x, own, axes=AXES, valid=1 - other).mean() for own, other in ((first, second), (second, first))]
    expected = 2 * L(x, y, axes=AXES).mean() + torch.stack(each).mean()
    torch.testing.assert_close(BlobLoss()(x, y), expected)


def test_cc_dice_bce_by_hand():
    x, y = two()
    region = torch.from_numpy(territories(components(y[0, 0].numpy() > 0)))[None, None]
    expected = torch.stack([L(x, y, axes=AXES, valid=(region == n).double()).mean() for n in (1, 2)]).mean()
    torch.testing.assert_close(CCDiceBCE()(x, y), expected)


def test_territories_are_those_of_the_nearest_mass():
    labels = np.zeros((9, 12), int)
    labels[2, 2], labels[6, 9] = 1, 2
    found = territories(labels)
    for r in range(9):
        for c in range(12):
            a, b = (r - 2) ** 2 + (c - 2) ** 2, (r - 6) ** 2 + (c - 9) ** 2
            assert a == b or found[r, c] == (1 if a < b else 2)


def test_touching_instances_stay_apart_when_they_are_told():
    x, _ = two()
    y = torch.zeros_like(x)
    y[0, 0, 4:8, 4:12] = 1
    instances = torch.zeros_like(y).long()
    instances[0, 0, 4:8, 4:8], instances[0, 0, 4:8, 8:12] = 1, 2
    for loss in (BlobLoss(), CCDiceBCE(), InstanceLoss()):
        told = loss(x, y, instances=instances)
        assert not torch.isclose(told, loss(x, y))
        torch.testing.assert_close(loss(x, y, facts=loss.facts(y, instances=instances)), told)


def test_a_missed_small_mass_costs_more_than_in_the_whole():
    """Of two masses the small one is missed: the whole hardly sees it, those that count masses do."""
    _, y = two()
    x = torch.where(y > 0, 6.0, -6.0).double()
    missed = x.clone()
    missed[..., :10, :] = -6.0
    whole = (L(missed, y, axes=AXES) - L(x, y, axes=AXES)).mean()
    assert CCDiceBCE()(missed, y) - CCDiceBCE()(x, y) > 2 * whole


def test_instance_loss_by_hand():
    """One mass hit, one missed, one false piece of 4 pixels with p = sigmoid(6)."""
    _, y = two()
    x = torch.full_like(y, -9.0)
    x[0, 0, 12:18, 10:18] = 6.0
    x[0, 0, 0:2, 16:18] = 6.0
    p = torch.sigmoid(x)
    hit = 1 - (2 * p[0, 0, 12:18, 10:18].sum() + 1) / (p[0, 0, 12:18, 10:18].sum() + 48 + 1)
    missed = 1 - (2 * p[0, 0, 2:5, 2:6].sum() + 1) / (p[0, 0, 2:5, 2:6].sum() + 12 + 1)
    expected = Hybrid()(x, y, axes=AXES).mean() + (hit + missed) / 2 + p[0, 0, 0, 16] / 2
    torch.testing.assert_close(InstanceLoss()(x, y), expected)


def test_a_false_piece_is_pushed_down_however_small():
    x, y = two()
    x = torch.where(y > 0, 6.0, -9.0).double()
    x[0, 0, 0, 18] = 3.0
    leaf = x.requires_grad_()
    InstanceLoss()(leaf, y).backward()
    with_it = leaf.grad[0, 0, 0, 18].item()
    leaf.grad = None
    InstanceLoss(false=0.0)(leaf, y).backward()
    assert with_it > 5 * leaf.grad[0, 0, 0, 18].item() > 0


def test_pieces_meet_at_corners():
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = mask[1, 1] = mask[3, 3] = True
    assert components(mask).max() == 2
    cube = np.zeros((3, 3, 3), bool)
    cube[0, 0, 0] = cube[1, 1, 1] = True
    assert components(cube).max() == 1


@pytest.mark.parametrize("make", [lambda: BlobLoss(whole=-1), lambda: InstanceLoss(false=float("inf"))])
def test_wrong_weights(make):
    with pytest.raises(ValueError, match="finite number of at least 0"):
        make()
