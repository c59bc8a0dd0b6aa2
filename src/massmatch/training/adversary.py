"""Training against critics (Chen et al. 2020), as an option of any run."""

from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor

from massmatch.models.critics import MultiScaleCritics, adversarial_loss, critic_loss
from massmatch.runs.experiment import Experiment
from massmatch.training.distributed.collectives import averaged

RATE = 1e-4  # of the critics' Adam; ours, as its betas, which are those of Wasserstein critics (Gulrajani et al. 2017)
BETAS = (0.0, 0.9)


class Adversary(NamedTuple):
    """Critics, how they learn, and how much they weigh."""

    critics: MultiScaleCritics
    optimizer: torch.optim.Optimizer
    weight: float

    def penalty(self, images: Tensor, logits: Tensor) -> Tensor:
        """What a prediction costs that the critics see through."""
        return self.weight * adversarial_loss(self.critics, images, logits.float().sigmoid())

    def learn(self, fabric: Fabric, images: Tensor, logits: Tensor, target: Tensor, weight: float) -> None:
        """One step of the critics on a batch (of which this process has a part of that weight) and its prediction."""
        self.optimizer.zero_grad(set_to_none=True)
        value = critic_loss(self.critics, images, logits.detach().float().sigmoid(), target.float())
        (value * weight).backward()
        averaged(fabric, self.critics.parameters())
        self.optimizer.step()


def make_adversary(experiment: Experiment, device: torch.device) -> Adversary | None:
    """The critics of an experiment, with the first weights of its seed; None without any."""
    if experiment.adversarial == 0:
        return None
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)
        critics = MultiScaleCritics().to(device)
    return Adversary(critics, torch.optim.Adam(critics.parameters(), RATE, BETAS), experiment.adversarial)
