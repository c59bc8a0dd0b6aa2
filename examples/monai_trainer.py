"""The loss in MONAI's SupervisedTrainer. Needs pytorch-ignite.

massmatch phantom cohort --patients 20 --size 64
python monai_trainer.py cohort
"""

import sys

import torch
from monai.data import DataLoader
from monai.engines import SupervisedTrainer
from monai.handlers import StatsHandler
from monai.networks.nets import BasicUNet

from mammograms import Mammograms
from massmatch.data import open_cohort
from massmatch.integrations.monai import SoftMatchingLoss
from massmatch.losses import LOSSES


def trainer(path: str, epochs: int = 2) -> SupervisedTrainer:
    """A trainer that is ready to run."""
    torch.manual_seed(0)
    # MONAI's trainer calls the loss with (prediction, label) alone: without facts the value is the same.
    loss = SoftMatchingLoss(sigmoid=True)
    network = BasicUNet(spatial_dims=2, out_channels=1, features=(4, 4, 8, 16, 32, 4))
    loader = DataLoader(Mammograms(open_cohort(path), LOSSES["bce"]()), batch_size=4, shuffle=True)
    return SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), 1e-3),
        loss_function=loss,
        prepare_batch=lambda batch, device, non_blocking, **_: (batch[0].to(device), batch[1].to(device)),
        train_handlers=[StatsHandler(output_transform=lambda output: output[0]["loss"])],
    )


if __name__ == "__main__":
    trainer(sys.argv[1]).run()
