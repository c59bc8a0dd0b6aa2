"""Training against critics (Chen et al. 2020), as an option of any run."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from massmatch.models.critics import MultiScaleCritics, adversarial_loss, critic_loss
from massmatch.runs.experiment import Experiment
from massmatch.training.distributed.collectives import averaged

if TYPE_CHECKING:
    from lightning_fabric import Fabric

RATE = 1e-4  # of the critics' Adam; ours, as its betas, which are those of Wasserstein critics (Gulrajani et al. 2017)
BETAS = (0.0, 0.9)


class Adversary(NamedTuple):
    """The critics of a run, their optimiser, and the weight of their penalty in the loss of the segmentation
    network.
    """

    critics: MultiScaleCritics
    optimizer: torch.optim.Optimizer
    weight: float

    def penalty(self, images: Tensor, logits: Tensor) -> Tensor:
        """The weighted adversarial loss of a prediction: high where the critics tell it from a true mask."""
        return self.weight * adversarial_loss(self.critics, images, logits.float().sigmoid())

    def learn(self, fabric: "Fabric", images: Tensor, logits: Tensor, target: Tensor, weight: float) -> None:
        """Let the critics take one step on a batch and its prediction. `weight` is the share of the whole batch that
        this process has.
        """
        self.optimizer.zero_grad(set_to_none=True)
        value = critic_loss(self.critics, images, logits.detach().float().sigmoid(), target.float())
        (value * weight).backward()
        averaged(fabric, self.critics.parameters())
        self.optimizer.step()


def make_adversary(experiment: Experiment, device: torch.device) -> Adversary | None:
    """The critics that an experiment asks for, with the first weights of its seed; None where it asks for none."""
    if experiment.adversarial == 0:
        return None
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)
        critics = MultiScaleCritics().to(device)
    return Adversary(critics, torch.optim.Adam(critics.parameters(), RATE, BETAS), experiment.adversarial)
