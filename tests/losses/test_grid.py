"""The size of the cells, on masks that are drawn."""

from functools import partial

import pytest
import torch

from drawing import box, draw, draw_instances, sure
from massmatch.losses import SoftMatchingLoss, SpatialMatchingLoss


def cell_size(target, **options):
    """The size of the cells, which `facts` and `explain` must give alike; the smallest cell is 1 unless told."""
    loss = SpatialMatchingLoss(core="bce", **{"min_cell": 1, **options})
    (fact,) = loss.facts(target)
    size = fact["cell_size"]
    assert not size.is_floating_point()
    assert size.shape == (1, target.ndim - 2)
    explained = loss.explain(sure(target.float()), target).cell_size
    assert explained == tuple(size[0].tolist())
    assert all(type(length) is int for length in explained)
    return explained


def square(side, image=64):
    return box((image, image), ((1, 2), (side, side)))


# --- rounding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "cell"),
    [(1, 1), (2, 2), (4, 4), (5, 4), (7, 8), (8, 8), (9, 8), (11, 8), (13, 16), (23, 16), (25, 32), (47, 32)],
)
def test_a_side_is_rounded_to_the_nearest_power_of_two(side, cell):
    assert cell_size(square(side)) == (cell, cell)


@pytest.mark.parametrize(("side", "cell"), [(3, 4), (6, 8), (12, 16), (24, 32), (48, 64)])
def test_a_tie_goes_up(side, cell):
    assert cell_size(square(side)) == (cell, cell)


@pytest.mark.parametrize(("side", "cell"), [(1, 1), (3, 4), (5, 8), (8, 8), (9, 16), (33, 64)])
def test_rounding_up(side, cell):
    assert cell_size(square(side), cell_rounding="up") == (cell, cell)


@pytest.mark.parametrize(("side", "cell"), [(1, 1), (3, 2), (7, 4), (8, 8), (15, 8), (60, 32)])
def test_rounding_down(side, cell):
    assert cell_size(square(side), cell_rounding="down") == (cell, cell)


def test_height_and_width_are_rounded_each():
    assert cell_size(box((64, 64), ((0, 0), (5, 30)))) == (4, 32)


# --- several masses -------------------------------------------------------------------------------------------------

TALL_AND_FLAT = draw("""
    # # . . . . . . . . . . . . . .
    # # . . . . . . . . . . . . . .
    # # . . . . . . . . . . . . . .
    # # . . . . . . . . . . . . . .
    # # . . . . . . . . . . . . . .
    # # . . . . . . . . . . . . . .
    # # . . . . . . . . . . . . . .
    # # . . . . . . . . . . . . . .
    . . . . . . . . . . . . . . . .
    . . . . # # # # # # # # . . . .
    . . . . # # # # # # # # . . . .
    . . . . . . . . . . . . . . . .
    . . . . . . . . . . . . . . . .
    . . . . . . . . . . . . . . . .
    . . . . . . . . . . . . . . . .
    . . . . . . . . . . . . . . . .
    """)


def test_smallest_height_and_smallest_width_may_come_from_different_masses():
    assert cell_size(TALL_AND_FLAT) == (2, 2)


def test_largest_height_and_largest_width_may_come_from_different_masses():
    assert cell_size(TALL_AND_FLAT, cell_statistic="max") == (8, 8)


def test_mean_height_and_mean_width():
    assert cell_size(TALL_AND_FLAT, cell_statistic="mean") == (4, 4)  # (8 + 2) / 2 = 5


THREE_MASSES = box((64, 64), ((0, 0), (2, 3)), ((10, 10), (4, 20)), ((30, 40), (30, 10)))


@pytest.mark.parametrize(
    ("statistic", "rounding", "cell"),
    [
        ("min", "nearest", (2, 4)),
        ("min", "up", (2, 4)),
        ("min", "down", (2, 2)),
        ("mean", "nearest", (16, 8)),  # 36 / 3 = 12, a tie; 33 / 3 = 11
        ("mean", "up", (16, 16)),
        ("mean", "down", (8, 8)),
        ("max", "nearest", (32, 16)),
        ("max", "up", (32, 32)),
        ("max", "down", (16, 16)),
    ],
)
def test_statistic_and_rounding_of_three_masses(statistic, rounding, cell):
    assert cell_size(THREE_MASSES, cell_statistic=statistic, cell_rounding=rounding) == cell


def test_a_mean_that_is_no_whole_number_is_rounded_once():
    masses = box((64, 64), ((0, 0), (5, 5)), ((20, 20), (6, 8)))
    assert cell_size(masses, cell_statistic="mean") == (4, 8)  # 5.5 is nearer to 4, 6.5 to 8


# --- what a mass is -------------------------------------------------------------------------------------------------


def test_pixels_that_touch_at_a_corner_are_one_mass():
    staircase = draw("""
        # . . . . . . .
        . # . . . . . .
        . . # . . . . .
        . . . # . . . .
        . . . . . . . .
        . . . . . . . .
        . . . . . . . .
        . . . . . . . .
        """)
    assert cell_size(staircase) == (4, 4)


def test_pixels_that_touch_at_the_other_corner_are_one_mass():
    staircase = draw("""
        . . . # . . . .
        . . # . . . . .
        . # . . . . . .
        # . . . . . . .
        . . . . . . . .
        . . . . . . . .
        . . . . . . . .
        . . . . . . . .
        """)
    assert cell_size(staircase) == (4, 4)


def test_voxels_that_touch_at_a_corner_are_one_mass():
    target = torch.zeros(1, 1, 8, 8, 8)
    for k in range(4):
        target[0, 0, k, k, 3 - k] = 1
    assert cell_size(target) == (4, 4, 4)


def test_a_mass_is_measured_by_its_bounding_box():
    ring = draw("""
        . . . . . . . .
        . # # # # # . .
        . # . . . # . .
        . # . # . # . .
        . # . . . # . .
        . # # # # # . .
        . . . . . . . .
        . . . . . . . .
        """)
    assert cell_size(ring, cell_statistic="max") == (4, 4)
    assert cell_size(ring, cell_statistic="min") == (1, 1)  # the speck inside is a mass of its own


def test_a_mass_at_the_border_is_measured_inside_the_image():
    corner = draw("""
        . . . . . . # #
        . . . . . . # #
        . . . . . . # #
        . . . . . . # #
        . . . . . . # #
        . . . . . . . .
        . . . . . . . .
        . . . . . . . .
        """)
    assert cell_size(corner) == (4, 2)


def test_opposite_borders_do_not_touch():
    assert cell_size(draw("# . . . . . . #")) == (1, 1)


def test_soft_truth_counts_above_one_half():
    target = 0.5 * square(20) + 0.4 * box((64, 64), ((5, 5), (4, 8)))
    (fact,) = SpatialMatchingLoss(core="bce").facts(target)
    assert fact["cell_size"].tolist() == [[4, 8]]


TOUCHING = draw("""
    . . . . . . . .
    . # # # # # # .
    . # # # # # # .
    . # # # # # # .
    . # # # # # # .
    . . . . . . . .
    . . . . . . . .
    . . . . . . . .
    """)
APART = draw_instances("""
    . . . . . . . .
    . 1 1 2 2 2 2 .
    . 1 1 2 2 2 2 .
    . 1 1 2 2 2 2 .
    . 1 1 2 2 2 2 .
    . . . . . . . .
    . . . . . . . .
    . . . . . . . .
    """)


def test_touching_masses_are_one_mass_without_instances():
    assert cell_size(TOUCHING) == (4, 8)


def test_instances_keep_touching_masses_apart():
    loss = SpatialMatchingLoss(core="bce", min_cell=1)
    (fact,) = loss.facts(TOUCHING, instances=APART)
    assert fact["cell_size"].tolist() == [[4, 2]]


def test_one_instance_in_two_pieces_is_one_mass():
    pieces = draw("# . . . . # . .")
    loss = SpatialMatchingLoss(core="bce", min_cell=1)
    (fact,) = loss.facts(pieces, instances=draw_instances("3 . . . . 3 . ."))
    assert fact["cell_size"].tolist() == [[1, 8]]


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_a_cell_is_at_least_four_pixels_wide_by_default():
    (fact,) = SpatialMatchingLoss(core="bce").facts(square(1))
    assert fact["cell_size"].tolist() == [[4, 4]]


@pytest.mark.parametrize("min_cell", [1, 2, 8, 16])
def test_min_cell_bounds_the_cell_from_below(min_cell):
    assert cell_size(square(1), min_cell=min_cell) == (min_cell, min_cell)


def test_min_cell_does_not_shrink_a_cell():
    assert cell_size(square(16), min_cell=4) == (16, 16)


def test_a_cell_is_at_most_the_largest_power_of_two_within_the_side():
    assert cell_size(torch.ones(1, 1, 12, 40)) == (8, 32)


def test_a_cell_is_never_rounded_up_beyond_the_image():
    assert cell_size(torch.ones(1, 1, 24, 31), cell_rounding="up") == (16, 16)


def test_the_image_wins_over_min_cell():
    assert cell_size(torch.ones(1, 1, 3, 20), min_cell=8) == (2, 16)


def test_a_mass_that_fills_an_image_of_a_power_of_two_is_one_cell():
    assert cell_size(torch.ones(1, 1, 32, 64)) == (32, 64)


# --- no mass, fixed cells, other numbers of axes ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8), (12, 20), (5, 7), (1, 1)])
def test_without_a_mass_the_cell_is_the_image(shape):
    assert cell_size(torch.zeros(1, 1, *shape)) == shape


def test_without_a_mass_there_is_one_cell():
    target = torch.zeros(1, 1, 5, 7)
    assert SpatialMatchingLoss(core="bce").explain(sure(target), target).cells.shape == (1, 1)


@pytest.mark.parametrize("target", [square(9), torch.zeros(1, 1, 64, 64)], ids=["mass", "no mass"])
def test_a_fixed_cell_stays_as_given(target):
    assert cell_size(target, cell_size=(8, 16)) == (8, 16)


def test_a_fixed_cell_needs_no_power_of_two():
    assert cell_size(square(9), cell_size=(10, 7)) == (10, 7)


@pytest.mark.parametrize("side", [64, 100, 10**6, 10**30])
@pytest.mark.parametrize("make", [SpatialMatchingLoss, partial(SoftMatchingLoss, random_phase=True)])
def test_a_fixed_cell_longer_than_the_image_is_the_image(make, side):
    """A million pixels ended in PyTorch's error of memory: the image was filled up to the cell."""
    target = square(9)
    assert cell_size(target, cell_size=(side, 8)) == (64, 8)
    torch.manual_seed(0)
    found = make(cell_size=(side, 8))(sure(target.float()) / 9, target)
    torch.manual_seed(0)
    assert found == make(cell_size=(64, 8))(sure(target.float()) / 9, target)


def test_cells_at_the_border_are_cut_off_by_the_image():
    target = square(9)
    matching = SpatialMatchingLoss(core="bce", cell_size=(10, 7)).explain(sure(target), target)
    assert matching.cells.shape == (7, 10)


def test_a_line_has_cells_too():
    target = torch.zeros(1, 1, 1, 32)
    target[..., 3:10] = 1
    assert cell_size(target) == (1, 8)


def test_a_volume_has_cells_too():
    assert cell_size(box((16, 32, 8), ((1, 2, 3), (3, 12, 2)))) == (4, 16, 2)


def test_every_channel_has_its_own_cells():
    target = torch.cat([square(4), square(16), torch.zeros(1, 1, 64, 64)], dim=1)
    (fact,) = SpatialMatchingLoss(core="bce").facts(target)
    assert fact["cell_size"].tolist() == [[4, 4], [16, 16], [64, 64]]


def test_every_image_has_its_own_facts():
    target = torch.cat([square(4), square(16)])
    facts = SpatialMatchingLoss(core="bce").facts(target)
    assert [fact["cell_size"].tolist() for fact in facts] == [[[4, 4]], [[16, 16]]]


# --- the paper: "the denominator will be four at maximum for samples with one mass" ---------------------------------


def true_cells(target, **options):
    loss = SpatialMatchingLoss(core="bce", scale=True, min_cell=1, **options)
    return int(loss.explain(sure(target), target).true.sum())


def test_one_mass_can_lie_in_nine_cells_with_the_nearest_power_of_two():
    mass = box((32, 32), ((7, 7), (10, 10)))  # cells of 8: columns 7, 8 to 15, 16
    assert true_cells(mass) == 9


@pytest.mark.parametrize("side", [1, 2, 3, 5, 6, 9, 10, 11, 15])
def test_one_mass_lies_in_four_cells_at_most_when_rounded_up(side):
    for corner in range(32 - side + 1):
        assert true_cells(box((32, 32), ((corner, 32 - side - corner), (side, side))), cell_rounding="up") <= 4
