"""ASP and Density-ASP: groups by hand, lifecycle, and what they refuse."""

import numpy as np
import pytest
import torch

from massmatch.losses import BCE, LOSSES, Dice
from massmatch.losses.rivals.adaptive import AdaptiveSampleLoss, DensityASP

AXES = (-2, -1)


def truth(*areas, side=40):
    """A mask per area, of that many pixels in one row after the other."""
    y = torch.zeros(len(areas), 1, side * side)
    for n, area in enumerate(areas):
        y[n, 0, :area] = 1
    return y.reshape(-1, 1, side, side)


def fitted(strategy, **options):
    loss = AdaptiveSampleLoss(strategy, **options)
    loss.fit(truth(0, 10, 20, 40, 80, 160, 320, 640, 1280), [None] * 9)
    return loss


def logits(count):
    return torch.randn(count, 1, 40, 40, generator=torch.Generator().manual_seed(0))


def test_quantiles_by_hand():
    """Of eight sizes that double, the quartiles' limits lie between the 2nd and 3rd, 4th and 5th, 6th and 7th."""
    loss = fitted("quantile")
    limits = 10 ** loss.edges.numpy() * 1600
    assert 20 < limits[0] < 40 < 80 < limits[1] < 160 < 320 < limits[2] < 640 or (limits[1] > 80 and limits[1] < 160)
    y = truth(10, 40, 160, 1280)
    x = logits(4)
    dice, bce = Dice()(x, y, axes=AXES), BCE()(x, y, axes=AXES)
    weight = torch.tensor([0.75, 0.75 - 0.5 / 3, 0.75 - 1.0 / 3, 0.25])[:, None]
    torch.testing.assert_close(fitted("quantile", reduction="none")(x, y), weight * dice + (1 - weight) * bce)


@pytest.mark.parametrize("name", ["asp-q", "asp-l"])
def test_the_share_of_mass_is_one_of_the_pixels_that_count(name):
    """Half of the image behind the mask: the loss of the other half alone."""
    loss = LOSSES[name]()
    if name == "asp-l":
        loss.slope.data.fill_(0.5)
    loss.fit(truth(0, 10, 20, 40, 80, 160, 320, 640, 1280), [None] * 9)
    y, x, mask = truth(70, 140, 500), logits(3), torch.zeros(1, 1, 40, 40)
    mask[..., :20, :] = 1
    torch.testing.assert_close(loss(x, y, mask=mask), loss(x[..., :20, :], y[..., :20, :]))


def test_clusters_find_the_gaps():
    loss = AdaptiveSampleLoss("cluster", groups=2)
    loss.fit(truth(10, 11, 12, 900, 1000), [None] * 5)
    assert 12 < 10 ** loss.edges.item() * 1600 < 900


def test_fitting_ignores_images_without_mass_and_is_repeatable():
    a, b = fitted("cluster"), fitted("cluster")
    assert torch.equal(a.edges, b.edges)
    c = AdaptiveSampleLoss("cluster")
    c.fit(truth(10, 20, 40, 80, 160, 320, 640, 1280), [None] * 8)
    assert torch.equal(a.edges, c.edges)


def test_what_was_fitted_is_in_the_checkpoint():
    loss, other = fitted("quantile"), AdaptiveSampleLoss("quantile")
    other.load_state_dict(loss.state_dict())
    x, y = logits(2), truth(10, 500)
    assert torch.equal(loss(x, y), other(x, y))


def test_before_fitting_one_is_told():
    with pytest.raises(RuntimeError, match="call fit"):
        AdaptiveSampleLoss("quantile")(logits(1), truth(5))
    with pytest.raises(ValueError, match="4 groups need as many sizes"):
        AdaptiveSampleLoss("quantile").fit(truth(5, 5, 5), [None] * 3)
    with pytest.raises(ValueError, match="did you mean 'quantile'"):
        AdaptiveSampleLoss("quantil")


def test_learned_weights_have_no_groups_to_choose():
    with pytest.raises(ValueError, match="loss asp-l has no option 'groups'; it has none"):
        LOSSES["asp-l"](groups=8)


def test_learned_weights_start_as_the_sum_and_learn():
    loss = LOSSES["asp-l"]()
    x, y = logits(2), truth(10, 500)
    torch.testing.assert_close(loss(x, y), (Dice()(x, y, axes=AXES) + BCE()(x, y, axes=AXES)).mean())
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    before = loss(x, y).item()
    for _ in range(50):
        optimizer.zero_grad()
        value = loss(x, y)
        value.backward()
        optimizer.step()
    assert loss(x, y).item() < before
    assert all(p.abs().sum() > 0 for p in loss.parameters())
    # at the optimum exp(s) is the loss itself (Kendall), so neither weight runs away
    assert torch.isfinite(loss.scale).all()


def test_density_weighs_the_region_term():
    loss = DensityASP(reduction="none")
    y = truth(100, 100, 100, 100)
    x = logits(1).expand(4, -1, -1, -1)
    found = loss(x, y, facts=loss.facts(y, density=[1, 2, 3, 4]))[:, 0].numpy()
    np.testing.assert_allclose(np.diff(found, 2), 0, atol=1e-5)  # linear in the density
    assert found[0] != found[3]


def test_density_is_asked_for():
    loss, y = DensityASP(), truth(5, 6)
    with pytest.raises(ValueError, match="give every image one in the column `density`"):
        loss.facts(y)
    with pytest.raises(ValueError, match="density must be 1, 2, 3 or 4, but is None for image 1"):
        loss.facts(y, density=[2, None])
    with pytest.raises(ValueError, match="needs the densities"):
        loss(logits(2), y)


def test_the_loader_says_which_image_has_no_density(cohort, tmp_path):
    from massmatch.data import Sample, write_cohort
    from massmatch.training.batches import Samples

    known = [cohort.load(id) for id in cohort.ids[:3]]
    samples = [
        Sample(s.id, s.patient, s.image, s.instances, density=None if n == 1 else s.density)
        for n, s in enumerate(known)
    ]
    some = write_cohort(samples, tmp_path / "c", reader="test", options={}, licence="")
    loaded = Samples(some, some.ids, DensityASP())
    loaded[0]
    with pytest.raises(ValueError, match=f"{some.ids[1]}: density-asp weighs images"):
        loaded[1]
