"""Augmentation: masks follow images, labels survive, a draw depends on nothing but its numbers."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from conftest import tiny
from interruption import CutOffError
from massmatch.cli import app
from massmatch.data.augmentation import LEVELS, Augmentation, draw_of
from massmatch.losses import make_loss
from massmatch.runs.checkpoint import load_checkpoint
from massmatch.training import run as fit
from massmatch.training.batches import Loader, Samples

STRONG = LEVELS["strong"]
MOVES = dataclasses.replace(STRONG, move=1.0, gamma_chance=0, contrast_chance=0, brightness_chance=0, noise_chance=0)


def discs(rows=96, cols=64):
    """(1, H, W) labels of two discs."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    labels = torch.zeros(1, rows, cols, dtype=torch.int64)
    for label, (row, col, radius) in enumerate([(30, 20, 9), (60, 45, 6)], start=1):
        labels[0, (y - row) ** 2 + (x - col) ** 2 <= radius**2] = label
    return labels


@pytest.mark.parametrize("seed", range(20))
def test_an_image_that_is_its_mask_stays_it_but_for_pixels_at_the_border(seed):
    labels = discs()
    image, moved = MOVES((labels > 0).float(), labels, draw_of(seed, 0, 0))
    assert moved.dtype == torch.int64
    assert set(moved.unique().tolist()) == {0, 1, 2}
    differing = (image > 0.5) != (moved > 0)
    assert differing.sum() <= 0.1 * (moved > 0).sum()  # nearest against linear, along the border only
    inside = torch.nn.functional.avg_pool2d((moved > 0).float(), 3, 1, 1)
    assert not (differing & ((inside == 0) | (inside == 1))).any()


def test_a_level_that_changes_nothing_gives_the_same_bits():
    labels, image = discs(), torch.rand(1, 96, 64, generator=torch.Generator().manual_seed(0))
    for level in (LEVELS["none"], Augmentation(mirror=0, move=1)):
        found, moved = level(image, labels, draw_of(0, 0, 0))
        torch.testing.assert_close(found, image, atol=1e-5, rtol=0)
        assert torch.equal(moved, labels)


def test_a_rotation_by_a_quarter_turns_a_square_image_as_rot90_does():
    image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))

    class Quarter:
        """Chance that always gives the highest of an interval."""

        def random(self):
            return 0.0

        def uniform(self, low, high, size=None):
            return high if size is None else np.zeros(size)

        def normal(self, mean, deviation, size):
            return np.zeros(size)

    turned, _ = Augmentation(move=1, rotation=90)(image, torch.ones_like(image).long(), Quarter())
    at = [torch.allclose(turned, torch.rot90(image, k, (1, 2)), atol=1e-4) for k in (1, 3)]
    assert sum(at) == 1


def test_a_rotation_keeps_a_disc_round_in_an_image_that_is_no_square():
    y, x = torch.meshgrid(torch.arange(64), torch.arange(160), indexing="ij")
    disc = (((y - 31.5) ** 2 + (x - 79.5) ** 2) <= 20**2)[None].long()
    _, moved = Augmentation(move=1, rotation=90)(disc.float(), disc, draw_of(3, 0, 0))
    rows, cols = (torch.where(moved.any(axis))[1] for axis in (2, 1))
    assert abs((rows.max() - rows.min()) - (cols.max() - cols.min())) <= 1
    assert abs(moved.sum() - disc.sum()) < 0.03 * disc.sum()


def test_a_move_that_would_lose_a_mass_is_not_done():
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    labels[0, 0, 0], labels[0, 30:40, 30:40] = 1, 2  # one pixel in the corner, which most moves push out
    image = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    kept = 0
    for seed in range(30):
        found, moved = dataclasses.replace(MOVES, mirror=0)(image, labels, draw_of(seed, 0, 0))
        assert set(moved.unique().tolist()) == {0, 1, 2}
        if torch.equal(moved, labels):
            kept += 1
            assert torch.equal(found, image)
    assert kept > 10


def test_what_comes_in_from_outside_is_as_dark_as_the_darkest_pixel():
    image = torch.full((1, 64, 64), -2.0)  # as z-scores have it
    image[0, 20:40, 20:40] = 3.0
    for seed in range(10):
        found, _ = dataclasses.replace(MOVES, scale=(0.5, 0.5))(image, (image > 0).long(), draw_of(seed, 0, 0))
        assert found.min() >= -2.0001
        assert found[0, [0, 0, -1, -1], [0, -1, 0, -1]].tolist() == pytest.approx([-2.0] * 4)


def test_half_of_the_images_are_mirrored():
    image = torch.arange(8.0).repeat(1, 8, 1)
    mirrored = [not torch.equal(LEVELS["flips"](image, image.long(), draw_of(0, 0, n))[0], image) for n in range(400)]
    assert 150 < sum(mirrored) < 250


def batches_of(samples, workers):
    loader = Loader(samples, 4, 0, workers=workers)
    return [batch for epoch in (0, 1) for batch in loader.epoch(epoch)]


def test_augmented_samples_are_the_same_for_any_number_of_workers_and_others_in_each_epoch(cohort):
    samples = Samples(cohort, cohort.ids[:8], make_loss("sm-tversky-sd-nz"), "strong", seed=3)
    one, other = batches_of(samples, 0), batches_of(samples, 2)
    for a, b in zip(one, other, strict=True):
        assert a.ids == b.ids
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.target, b.target)
        assert all(torch.equal(x[k], y[k]) for x, y in zip(a.facts, b.facts, strict=True) for k in x)
    first, second = (
        dict(zip([id for b in half for id in b.ids], torch.cat([b.images for b in half]), strict=True))
        for half in (one[:2], one[2:])
    )
    assert not any(torch.equal(first[id], second[id]) for id in first)


def test_facts_are_those_of_the_mask_that_the_network_learns_from(cohort):
    loss = make_loss("soft-sm")
    samples = Samples(cohort, cohort.ids[:8], loss, "strong", seed=1)
    for number in range(16):
        _, target, facts, _ = samples[number]
        (expected,) = loss.facts(target[None])
        assert torch.equal(facts["checksum"], expected["checksum"])


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 1])
def test_an_augmented_run_that_was_cut_off_ends_with_the_same_bits(cohort, tmp_path, workers):
    experiment = tiny(cohort, augment="strong")

    def cut(now):
        if now.phase == "train" and now.epoch == 2:
            raise CutOffError

    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, tmp_path / "cut", cut)
    ends = [
        load_checkpoint(fit.run(experiment, cohort, 0, tmp_path / name, workers=workers) / "last.ckpt")["model"]
        for name in ("cut", "whole")
    ]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_run_without_augmentation_keeps_its_name(cohort):
    assert tiny(cohort).digest == tiny(cohort, augment="none").digest != tiny(cohort, augment="flips").digest


def test_the_sheet_has_a_row_for_each_image(cohort, tmp_path):
    out = tmp_path / "sheet.png"
    done = CliRunner().invoke(app, ["augment", str(cohort.root), "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    picture = np.asarray(Image.open(out))
    assert picture.shape == (4 * 256, 7 * 256, 3)
    assert (picture[..., 1] > picture[..., 0].astype(int) + 60).any()  # the green of a contour
    assert CliRunner().invoke(app, ["augment", str(cohort.root), "--level", "weak"]).exit_code == 2
    other = tmp_path / "sheet.jpg"
    refused = CliRunner().invoke(app, ["augment", str(cohort.root), "--out", str(other)])
    assert (refused.exit_code, other.exists()) == (2, False)
    assert "--out: must end in .png" in refused.output
