"""The claims of Figure 1 at random places: the pairs are what the figure says, and the shares are Algorithm 1's."""

import pytest
import torch
from scipy import ndimage
from typer.testing import CliRunner

from algorithm_1 import VARIANTS, algorithm_1_of_batch
from massmatch.cli import app
from massmatch.explanations import placements
from massmatch.explanations.placements import CLAIMS, holds, random_pairs, share_of
from massmatch.losses import BCE, LOSSES


@pytest.fixture(scope="module")
def pairs():
    return random_pairs(30)


def pieces(mask):
    return ndimage.label(mask[0].numpy(), torch.ones(3, 3).numpy())


def test_plain_bce_cannot_tell_any_pair_apart(pairs):
    for pair in pairs.values():
        left, right = (BCE()(8 * (2 * p - 1), y, axes=(-2, -1)) for p, y in pair)
        assert torch.allclose(left, right, rtol=1e-5)
    assert not share_of(["bce"], pairs).to_numpy().any()


def test_in_a_four_masses_stand_against_one_of_their_area_and_none_touches_the_truth(pairs):
    (four, truth), (one, same) = pairs["a"]
    assert torch.equal(truth, same)
    assert torch.equal(four.sum((1, 2, 3)), one.sum((1, 2, 3)))
    for number, prediction in ((4, four), (1, one)):
        for p, y in zip(prediction, truth, strict=True):
            assert pieces(p)[1] == number
            assert pieces(p + y)[1] == number + 1


def test_in_a_all_predicted_masses_are_as_far_from_the_true_one(pairs):
    (four, truth), (one, _) = pairs["a"]
    for p, q, y in zip(four, one, truth, strict=True):
        centre = torch.tensor(ndimage.center_of_mass(y[0].numpy()))
        labels, _ = pieces(p)
        centres = [*ndimage.center_of_mass(p[0].numpy(), labels, range(1, 5)), ndimage.center_of_mass(q[0].numpy())]
        distances = (torch.tensor(centres) - centre).norm(dim=1)
        assert distances.max() - distances.min() < 3  # whole pixels, and halves of them


def test_in_b_one_prediction_is_beside_the_mass_and_the_other_far_away(pairs):
    (far, truth), (near, same) = pairs["b"]
    assert torch.equal(truth, same)
    for p, q, y in zip(far, near, truth, strict=True):
        away = ndimage.distance_transform_edt(1 - y[0].numpy())
        assert away[p[0].numpy() > 0].min() > away[q[0].numpy() > 0].min() > 1


def test_in_c_prediction_and_truth_change_places_and_one_lies_within_the_other(pairs):
    (small, large), (other_large, other_small) = pairs["c"]
    assert torch.equal(small, other_small)
    assert torch.equal(large, other_large)
    assert torch.equal(large * small, small)
    assert torch.equal(large.sum((1, 2, 3)), 4 * small.sum((1, 2, 3)))


@pytest.mark.parametrize("name", ["sm-bce-s-a", "sm-tversky-sd-nz", "sm-dice-d-a"])
def test_a_claim_holds_where_algorithm_1_says_so(name):
    few = random_pairs(3, side=32, seed=1)
    for claim in CLAIMS:
        found = holds(claim, LOSSES[name](reduction="none"), few[claim[0]])
        slow = holds(claim, lambda x, y: torch.as_tensor(algorithm_1_of_batch(x, y, **VARIANTS[name])), few[claim[0]])
        assert torch.equal(found, slow), claim


def test_the_answers_of_one_drawing_do_not_hold_at_every_place(pairs):
    """What docs/figure_1.md is about: the number of predicted masses is told by Tversky with S and kept cells."""
    shares = share_of(["sm-tversky-s-nz", "sm-bce-b-a"], pairs)
    assert shares.loc["sm-tversky-s-nz", "a"] > 0.9
    assert shares.loc["sm-bce-b-a"].max() == 0


def test_the_command_prints_the_shares_and_writes_figure_and_table(tmp_path, monkeypatch):
    monkeypatch.setattr("massmatch.explanations.placements.PLACEMENTS", 2)
    monkeypatch.setattr(placements, "random_pairs", lambda: random_pairs(2, side=32))
    result = CliRunner().invoke(app, ["sweep", str(tmp_path), "--figure", "1", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "sm-dice-sd-nz" in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["figure_1.csv", "figure_1.png"]


def test_a_figure_that_the_paper_lacks_is_told_all_that_there_are(tmp_path):
    result = CliRunner().invoke(app, ["sweep", str(tmp_path), "--figure", "5"])
    assert result.exit_code == 2
    assert all(f"'{figure}'" in result.output for figure in ("1", "2", "3a", "3b", "4"))


@pytest.mark.parametrize(("figure", "command"), [("2", "massmatch explain"), ("4", "massmatch report")])
def test_figures_that_other_commands_draw_name_the_command(tmp_path, figure, command):
    result = CliRunner().invoke(app, ["sweep", str(tmp_path), "--figure", figure])
    assert result.exit_code == 2
    assert command in result.output
