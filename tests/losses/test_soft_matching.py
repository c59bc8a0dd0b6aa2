"""Soft Spatial Matching against its formula written out as loops, and the laws that the faithful loss breaks."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drawing import box, draw, made_up, sure
from massmatch.losses import BCE, LOSSES, Dice, SoftMatchingLoss, SpatialMatchingLoss
from massmatch.losses.grid.distances import distances, distances_beside
from massmatch.losses.grid.geometry import cell_size, distance_to_mass
from massmatch.losses.grid.layout import images_of, layout_of

R1 = {}
SETTINGS = [
    R1,
    {"stray": 0},
    {"found": 0},
    {"distance": False},
    {"normalise": "kept"},
    {"count": 0.3},
    {"levels": 2},
    {"levels": 3, "count": 0.3, "normalise": "kept"},
    {"found": 0.7, "stray": 2.0, "count": 0.1, "levels": 4},
    {"min_cell": 1},
    {"cell_statistic": "mean", "cell_rounding": "up"},
    {"cell_size": (3, 5), "levels": 2},
]


def in_loops(
    logits, target, *, found=1, stray=0.5, count=0, distance=True, levels=1, normalise="true", size=None, **rule
):
    """The formula of the module for one image of two axes, one cell after the other, in NumPy."""
    p, y = 1 / (1 + np.exp(-logits.double().numpy()[0, 0])), target.double().numpy()[0, 0]
    rows, columns = p.shape
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    total = 0.5 * entropy + 0.5 * dice(p, y)
    statistic, rounding = rule.get("cell_statistic", "min"), rule.get("cell_rounding", "nearest")
    size = rule.get("cell_size") or cell_size(
        y > 0.5, statistic=statistic, rounding=rounding, min_cell=rule.get("min_cell", 4)
    )
    finest = None
    for k in range(levels):
        h, w = size[0] * 2**k, size[1] * 2**k
        cells = {
            (i, j): (p[i * h : (i + 1) * h, j * w : (j + 1) * w], y[i * h : (i + 1) * h, j * w : (j + 1) * w])
            for i in range(-(-rows // h))
            for j in range(-(-columns // w))
        }
        true = {at for at, (_, y_i) in cells.items() if (y_i > 0.5).any()}
        finest = true if k == 0 else finest
        kept = true | {at for at, (p_i, _) in cells.items() if (p_i > 0.5).any()}
        N = max(len(true if normalise == "true" else kept), 1)
        spread = 0.0
        for at, (p_i, _) in cells.items():
            if at in true:
                continue
            d = min((apart(within, to) for within in inside(at, 2**k, rows, columns, size) for to in finest), default=0)
            spread += (1 / (1 + math.exp(-d / 2**k)) if distance else 1.0) * p_i.mean() / N
        terms = found * sum(dice(*cells[at]) for at in true) / N + stray * math.log(1 + spread)
        terms += count * abs(math.log((1 + sum(p_i.max() for p_i, _ in cells.values())) / (1 + len(true))))
        total += terms * 2.0**-k / sum(2.0**-m for m in range(levels))
    return total


def dice(p, y):
    return 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


def apart(a, b):
    return math.dist(a, b)


def inside(at, times, rows, columns, size):
    """The cells of the first level that make up one of another level."""
    for i in range(at[0] * times, (at[0] + 1) * times):
        for j in range(at[1] * times, (at[1] + 1) * times):
            if i * size[0] < rows and j * size[1] < columns:
                yield i, j


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 1, 13, 18)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_equals_its_formula_in_loops(setting, shape, seed):
    logits, target = made_up(seed, shape)
    assert float(SoftMatchingLoss(**setting)(logits, target)) == pytest.approx(
        in_loops(logits, target, **setting), 1e-9
    )


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_equals_its_formula_without_mass(setting):
    logits, target = made_up(5)
    target = torch.zeros_like(target)
    assert float(SoftMatchingLoss(**setting)(logits, target)) == pytest.approx(
        in_loops(logits, target, **setting), 1e-9
    )


def test_by_hand():
    """Two cells of 4 x 4, one full of mass; p = 1/2 everywhere: 0.5 log 2 + 0.5 (1 - 17/33) + (1 - 17/25) + ..."""
    target = box((4, 8), ((0, 0), (4, 4)))
    value = SoftMatchingLoss()(torch.zeros_like(target), target)
    whole = 0.5 * math.log(2) + 0.5 * (1 - 17 / 33)
    found = 1 - 17 / 25
    stray = 0.5 * math.log(1 + 0.5 / (1 + math.exp(-1)))
    assert float(value) == pytest.approx(whole + found + stray, 1e-6)


@pytest.mark.parametrize("setting", [{}, {"levels": 3, "count": 0.3}], ids=str)
def test_the_gradient_is_that_of_the_value(setting):
    logits, target = made_up(1, (2, 1, 5, 9))
    loss = SoftMatchingLoss(**setting)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits.requires_grad_(),))


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("shape", [(3, 2, 16, 12), (2, 1, 1, 21), (1, 1, 8, 9, 10)], ids=str)
def test_facts_change_nothing_and_a_batch_is_the_mean_of_its_images(setting, shape):
    logits, target = made_up(2, shape)
    if "cell_size" in setting and len(shape) == 5:
        setting = setting | {"cell_size": 4}
    loss = SoftMatchingLoss(**setting)
    value = loss(logits, target)
    torch.testing.assert_close(loss(logits, target, facts=loss.facts(target)), value)
    one_by_one = [loss(x[None], y[None]) for x, y in zip(logits, target, strict=True)]
    torch.testing.assert_close(torch.stack(one_by_one).mean(), value)


@given(seed=st.integers(0, 10_000), setting=st.sampled_from(SETTINGS))
def test_the_ledger_adds_up(seed, setting):
    logits, target = made_up(seed)
    loss = SoftMatchingLoss(**setting)
    terms = loss.explain(logits, target)
    torch.testing.assert_close(terms.loss[0], loss(logits, target))
    parts = sum(level.weight * (level.found.sum() + level.stray.sum() + level.balance[0]) for level in terms.levels)
    torch.testing.assert_close(terms.image[0] + parts, terms.loss[0])
    torch.testing.assert_close(terms.image[0] + terms.contributions.sum(), terms.loss[0])
    assert terms.contributions.shape == terms.levels[0].true.shape


@pytest.mark.parametrize("core", ["bce", "tversky", "dice", "focal", Dice(squared=True)], ids=str)
def test_the_core_may_be_another_one(core):
    logits, target = made_up(3)
    plain = LOSSES[core]() if isinstance(core, str) else lambda x, y: core(x, y, axes=(-2, -1)).mean()
    terms = SoftMatchingLoss(core).explain(logits, target)
    torch.testing.assert_close(terms.image[0], plain(logits, target))


def test_pixels_behind_the_mask_have_no_influence():
    logits, target = made_up(4)
    mask = torch.zeros_like(target)
    mask[..., :10] = 1
    loss = SoftMatchingLoss(levels=2, count=0.3)
    other = torch.where(mask > 0, logits, 7.0)
    torch.testing.assert_close(loss(other, target, mask=mask), loss(logits, target, mask=mask))
    torch.testing.assert_close(loss(logits, target * mask, mask=mask), loss(logits, target, mask=mask))


# ---------------------------------------------------------------------------------- what the repairs are for


def test_predicting_nothing_costs_more_than_predicting_the_mass():
    target = box((32, 32), ((9, 9), (6, 6)))
    nothing, mass = sure(torch.zeros_like(target)), sure(target)
    assert SoftMatchingLoss()(nothing, target) > SoftMatchingLoss()(mass, target) + 1


def test_false_pieces_do_not_dilute_a_missed_mass():
    """G-NZ divides by a count that holds them, so that its grid term falls; here each makes the loss rise."""
    target = box((32, 32), ((8, 8), (4, 4)))
    values, grid = [], []
    for pieces in range(5):
        wrong = box((32, 32), *(((24, 4 * piece), (4, 4)) for piece in range(pieces)))
        values.append(float(SoftMatchingLoss()(sure(wrong), target)))
        grid.append(float(SoftMatchingLoss(normalise="kept", stray=0).explain(sure(wrong), target).levels[0].loss))
    assert values == sorted(values)
    assert grid == sorted(grid, reverse=True)  # the switch brings the fault back
    assert grid[4] == pytest.approx(grid[0] / 5, 1e-3)


def test_a_far_false_piece_costs_more_than_a_near_one():
    target = box((64, 64), ((8, 8), (4, 4)))
    near, far = (sure(box((64, 64), ((8, column), (4, 4)))) for column in (16, 56))
    assert SoftMatchingLoss()(far, target) > SoftMatchingLoss()(near, target)
    torch.testing.assert_close(
        SoftMatchingLoss(distance=False)(far, target), SoftMatchingLoss(distance=False)(near, target)
    )


def test_the_count_is_symmetric():
    """Twice as many occupied cells cost what half as many do: 2 N + 1 and (N - 1) / 2 against N = 3."""
    target = box((4, 28), ((0, 0), (4, 12)))
    more, fewer = (sure(box((4, 28), ((0, 0), (4, 4 * n))), 40.0) for n in (7, 1))
    loss = SoftMatchingLoss(found=0, stray=0, count=1.0, cell_size=4)
    more, fewer = (float(loss.explain(x, target).levels[0].balance) for x in (more, fewer))
    assert more == pytest.approx(fewer, 1e-4) == pytest.approx(math.log(2), 1e-4)


def test_the_phase_is_random_in_training_only_and_costs_the_core_nothing():
    logits, target = made_up(6, (2, 1, 24, 24))
    loss = SoftMatchingLoss(random_phase=True)
    torch.manual_seed(0)
    values = {round(float(loss(logits, target, facts=loss.facts(target))), 9) for _ in range(20)}
    assert len(values) > 3
    torch.testing.assert_close(loss.eval()(logits, target), SoftMatchingLoss()(logits, target))
    core = SoftMatchingLoss("bce", found=0, stray=0, random_phase=True)
    torch.testing.assert_close(core(logits, target), BCE()(logits, target, axes=(-2, -1)).mean())


def fronts(layout):
    """Rows and columns by which base cells begin before the images; F.pad names the last axis first."""
    return layout.pad[2::-2] if layout.pad else (0, 0)


def offsets_of(layout, sizes):
    """(N, axes): how many pixels before its image each grid begins, read off the numbers of the cells."""
    found, front = [], fronts(layout)
    for numbers, size in zip(layout.region - 1, sizes.tolist(), strict=True):
        lines = numbers.unflatten(0, [-1, layout.sides[2]])
        rows, columns = lines[:, 0] // layout.shape[1], lines[0] % layout.shape[1]
        found.append(
            [
                (side - (line == 0).sum() * base + before) % side
                for line, side, base, before in zip((rows, columns), size, layout.base, front, strict=True)
            ]
        )
    return torch.tensor(found)


def test_every_offset_of_every_image_is_as_likely():
    sizes = torch.tensor([[4, 8], [8, 4], [8, 8]])
    torch.manual_seed(0)
    drawn = torch.stack(
        [offsets_of(layout_of(sizes.numpy(), (32, 32), sizes.device, moved=True), sizes) for _ in range(4000)]
    )
    for n, axis in [(n, axis) for n in range(3) for axis in range(2)]:
        counts = torch.bincount(drawn[:, n, axis])
        side = int(sizes[n, axis])
        assert len(counts) == side
        assert (counts - 4000 / side).abs().max() < 5 * math.sqrt(4000 / side)


def test_a_cell_as_large_as_the_image_stays_where_it_is():
    layout = layout_of(np.array([[16, 16], [4, 16]]), (16, 16), torch.device("cpu"), moved=True)
    assert fronts(layout)[1] == 0
    assert (layout.region[0] == 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_phase_is_a_grid_that_begins_earlier(seed):
    """Each image under its offset is the image moved so far into a larger one, whose grid begins at the corner."""
    logits, target = made_up(7, (3, 1, 14, 15), masses=1)
    target[0, 0, 3:7, 2:9] = 1
    loss = SoftMatchingLoss(levels=2, count=0.3)
    sizes = torch.tensor([[4, 8], [4, 4], [8, 4]])
    facts = [{**fact, "cell_size": size[None]} for fact, size in zip(loss.facts(target), sizes, strict=True)]
    torch.manual_seed(seed)
    found = loss.match(images_of(logits, target, None, facts, loss.rule, True, moved=True)).loss
    torch.manual_seed(seed)
    rest, *multiples = torch.randint(2**40, (4, 2))
    for n, (size, multiple) in enumerate(zip(sizes, multiples, strict=True)):
        row, column = (rest % 4 + multiple % (size // 4) * 4).tolist()
        inside, x, y = (torch.zeros(1, 1, row + 14, column + 15, dtype=torch.float64) for _ in range(3))
        for whole, part in ((inside, torch.ones(14, 15)), (x, logits[n]), (y, target[n])):
            whole[..., row:, column:] = part
        alone = SoftMatchingLoss(levels=2, count=0.3, cell_size=tuple(size.tolist()))
        torch.testing.assert_close(found[n], alone(x, y, mask=inside))


@pytest.mark.parametrize("shape", [(40,), (9, 13), (5, 4, 7)], ids=str)
@pytest.mark.parametrize("step", [None, (1.0, 1.0, 1.0), (3.0, 0.5, 2.0)], ids=str)
def test_distances_are_those_of_scipy(step, shape):
    true = torch.rand(6, *shape, generator=torch.Generator().manual_seed(1)) < 0.03
    true[0] = False
    steps = None if step is None else step[: len(shape)]
    expected = np.stack([distance_to_mass(grid.numpy(), steps or (1.0,) * len(shape)) for grid in true])
    for measure in (distances, distances_beside):
        found = measure(true, None if steps is None else torch.tensor([steps]).expand(6, -1))
        torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-6, atol=1e-6)


def test_flipping_changes_nothing_where_the_grid_tiles_the_image():
    logits, target = made_up(8)
    loss = SoftMatchingLoss(levels=3, count=0.2, cell_size=4)
    torch.testing.assert_close(loss(logits.flip(-1), target.flip(-1)), loss(logits, target))


def test_nothing_at_all_has_a_value_and_a_gradient():
    logits = torch.full((1, 1, 8, 8), -200.0, requires_grad=True)
    value = SoftMatchingLoss(count=0.1, levels=2)(logits, torch.zeros_like(logits))
    value.backward()
    assert float(value.detach()) == 0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": 0}, "levels must be a whole number from 1 to 8, but is 0"),
        ({"levels": True}, "levels must be"),
        ({"found": -1}, "found must be a finite number"),
        ({"normalise": "treu"}, "did you mean 'true'"),
        ({"core": "hybird"}, "did you mean 'hybrid'"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        SoftMatchingLoss(**options)


REFUSED = """
import torch
from massmatch.losses import LOSSES, Dice, SoftMatchingLoss, SpatialMatchingLoss
for make, words in [
    (lambda: SoftMatchingLoss(distance="maybe"), "distance must be True or False, but is 'maybe'"),
    (lambda: SoftMatchingLoss(random_phase=1), "random_phase must be True or False, but is 1"),
    (lambda: SpatialMatchingLoss(scale="false"), "scale must be True or False, but is 'false'"),
    (lambda: Dice(squared="no"), "Dice(squared) must be True or False, but is 'no'"),
    (lambda: SoftMatchingLoss(3), "or callable, but is an int"),
    (lambda: SpatialMatchingLoss(torch.nn.BCEWithLogitsLoss()), "BCEWithLogitsLoss takes no argument 'axes': wrap it"),
]:
    try:
        made = make()
    except (TypeError, ValueError) as error:
        assert words in str(error), error
    else:
        raise AssertionError(made)
"""


def test_what_has_another_type_is_refused_where_no_type_checker_stands_before_it():
    """In these tests there is one, so a process of its own."""
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_shown_says_every_switch_and_the_grid():
    shown = repr(SoftMatchingLoss(cell_size=(8, 16), random_phase=True))
    assert "random_phase=True" in shown
    assert "cell_size=(8, 16)" in shown
    shown = repr(SpatialMatchingLoss(threshold=0.3, cell_statistic="mean", grid_weight=2.0))
    assert all(part in shown for part in ("threshold=0.3", "cell_statistic='mean'", "grid_weight=2.0"))


def test_a_larger_cell_is_shared_out_to_those_within():
    """Of 3 x 3 cells the last row and column have larger cells with two small ones, and one with a single one."""
    logits, target = made_up(9, (1, 1, 12, 12))
    terms = SoftMatchingLoss(levels=2, cell_size=4).explain(logits, target)
    large = (terms.contributions - terms.levels[0].shared_out(1, terms.levels[0].true))[0]
    level = terms.levels[1]
    corners = level.weight * (level.found + level.stray)[0]
    torch.testing.assert_close(large[:2, :2], (corners[0, 0] / 4).expand(2, 2))
    torch.testing.assert_close(large[:2, 2], (corners[0, 1] / 2).expand(2))
    torch.testing.assert_close(large[2, 2], corners[1, 1])


def test_drawn():
    """One mass that fits its cell exactly, found exactly: only what is left of the core's uncertainty."""
    target = draw("""
        # # # # . . . .
        # # # # . . . .
        # # # # . . . .
        # # # # . . . .
    """)
    assert float(SoftMatchingLoss(levels=2)(sure(target, 30.0), target)) == pytest.approx(0, abs=1e-5)
