"""Phantoms: seeded, and with the sizes of the real set."""

import numpy as np
import pytest

from massmatch.data.phantom import phantoms


@pytest.fixture(scope="module")
def many():
    return list(phantoms(40, seed=1, size=128))


def test_the_same_seed_makes_the_same_patients_whatever_their_number(many):
    for few, same in zip(phantoms(2, seed=1, size=128), many, strict=False):
        assert few.id == same.id
        assert np.array_equal(few.image, same.image)
        assert np.array_equal(few.instances, same.instances)


def test_another_seed_makes_others(many):
    assert not np.array_equal(next(phantoms(1, seed=2, size=128)).image, many[0].image)


def test_patients_have_two_or_four_images_of_one_density(many):
    for patient in {s.patient for s in many}:
        own = [s for s in many if s.patient == patient]
        assert len(own) in (2, 4)
        assert {s.view for s in own} == {"CC", "MLO"}
        assert len({s.density for s in own}) == 1


@pytest.mark.long
def test_masses_have_the_sizes_of_the_real_set():
    sizes = np.array([s.mask.mean() for s in phantoms(60, seed=3, size=128, normal_fraction=0)])
    low, median, high = 100 * np.percentile(sizes, [5, 50, 95])  # real: 0.08, 0.27, 1.07 %
    assert 0.04 < low < 0.13
    assert 0.2 < median < 0.35
    assert 0.7 < high < 1.6


def test_some_images_hold_no_mass_and_some_several(many):
    counts = np.array([s.instances.max() for s in many])
    assert 0.03 < (counts == 0).mean() < 0.3
    assert 0 < (counts > 1).mean() < 0.2
    assert all(s.instances.max() == 0 for s in phantoms(4, size=64, normal_fraction=1))


def test_the_breast_lies_on_black(many):
    areas = np.array([(s.image > 8).mean() for s in many])
    assert all((s.image[:, -4:] == 0).mean() > 0.95 for s in many)
    assert 0.2 < areas.mean() < 0.45  # real: 0.28
    assert all((s.image[s.mask] > 8).mean() > 0.9 for s in many if s.mask.any())


def test_masses_are_brighter_than_their_surroundings_on_the_average(many):
    def ring(mask):
        grown = np.zeros_like(mask)
        rows, cols = np.nonzero(mask)
        grown[max(rows.min() - 6, 0) : rows.max() + 7, max(cols.min() - 6, 0) : cols.max() + 7] = True
        return grown & ~mask

    contrast = [s.image[s.mask].mean() - s.image[ring(s.mask)].mean() for s in many if s.instances.max() == 1]
    assert np.mean(contrast) > 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patients": 0}, "patients must be at least 1"),
        ({"size": 32}, "size must be at least 64"),
        ({"normal_fraction": 1.5}, "normal_fraction must be from 0 to 1"),
    ],
)
def test_arguments_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        next(phantoms(**{"patients": 1, **wrong}))
