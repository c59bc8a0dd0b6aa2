"""Critics learn to tell truth from prediction, and push a wrong prediction towards the truth."""

import pandas as pd
import pytest
import torch

from conftest import tiny
from massmatch.models.critics import MultiScaleCritics, adversarial_loss, critic_loss
from massmatch.runs.experiment import Experiment
from massmatch.training.run import run


def example():
    torch.manual_seed(0)
    target = torch.zeros(6, 1, 64, 64)
    for n in range(6):
        target[n, 0, 10 + 4 * n : 26 + 4 * n, 20:40] = 1
    images = target + 0.2 * torch.randn(target.shape)
    wrong = 0.3 * torch.rand(target.shape)
    return images, target, wrong


def trained():
    images, target, wrong = example()
    critics = MultiScaleCritics(width=8)
    optimizer = torch.optim.Adam(critics.parameters(), 1e-3, (0.0, 0.9))
    before = critic_loss(critics, images, wrong, target).item()
    for _ in range(40):
        optimizer.zero_grad()
        critic_loss(critics, images, wrong, target).backward()
        optimizer.step()
    return critics, before


def test_they_learn_to_tell_truth_from_prediction():
    images, target, wrong = example()
    critics, before = trained()
    after = critic_loss(critics, images, wrong, target).item()
    assert after < min(before, 0)
    assert (critics(images, target) > critics(images, wrong)).float().mean() > 0.9


def test_their_gradient_pushes_a_wrong_prediction_towards_the_truth():
    images, target, wrong = example()
    critics, _ = trained()
    p = wrong.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(adversarial_loss(critics, images, p), p)
    assert -gradient[target > 0].mean() > -gradient[target == 0].mean()


def test_shapes_and_gradients():
    images, target, _ = example()
    critics = MultiScaleCritics(width=4)
    assert critics(images, target).shape == (3, 6)
    critic_loss(critics, images, target * 0.5, target).backward()
    assert [name for name, p in critics.named_parameters() if p.grad is None] == []
    with pytest.raises(ValueError, match="at least 64 pixels"):
        critics(images[..., :32], target[..., :32])


def test_slopes_are_bounded():
    images, target, _ = example()
    critics = MultiScaleCritics(width=8)
    for _ in range(20):  # the spectral norm is found by power iteration
        critics(images, target)
    near = target + 1e-3 * torch.randn(target.shape)
    change = (critics(images, near) - critics(images, target)).abs().amax()
    assert change < (near - target).flatten(1).norm(dim=1).max()


def test_a_run_against_critics_learns_something_else(cohort, trained, tmp_path):
    """That it goes on to the bit is row 11, in test_resume.py."""
    against = run(tiny(cohort, adversarial=0.1), cohort, 0, tmp_path)
    histories = [pd.read_csv(folder / "history.csv")["loss"].tolist() for folder in (against, trained)]
    assert histories[0] != histories[1]


def test_runs_without_critics_keep_their_names(cohort):
    experiment = tiny(cohort)
    assert "adversarial" in Experiment.model_fields
    assert experiment.digest == tiny(cohort, adversarial=0).digest != tiny(cohort, adversarial=0.1).digest
