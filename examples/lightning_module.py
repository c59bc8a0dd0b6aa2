"""The loss in a Lightning module, with the command line of LightningCLI. Needs pytorch-lightning and jsonargparse.

massmatch phantom cohort --patients 20 --size 64
python lightning_module.py fit --data.path cohort --model.loss sm-tversky-s-a --trainer.max_epochs 2
"""

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.cli import LightningCLI
from torch import Tensor
from torch.utils.data import DataLoader

from mammograms import Mammograms
from massmatch.data import open_cohort
from massmatch.losses import make_loss
from massmatch.models import AUNet


class Segmenter(LightningModule):
    """A network and any loss of the catalogue, by its name: `soft-sm:random_phase=true`."""

    def __init__(self, loss: str = "soft-sm:random_phase=true", width: int = 4, rate: float = 1e-3) -> None:
        super().__init__()
        self.loss, self.network, self.rate = make_loss(loss), AUNet(1, 1, width), rate

    def training_step(self, batch: tuple[Tensor, Tensor, dict[str, Tensor]], _: int) -> Tensor:
        images, masks, facts = batch
        value = self.loss(self.network(images), masks, facts=facts)
        self.log("loss", value, prog_bar=True)
        return value

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), self.rate)


class Data(LightningDataModule):
    """The images of a cohort, with facts for the module's loss."""

    def __init__(self, path: str, batch_size: int = 4) -> None:
        super().__init__()
        self.path, self.batch_size = path, batch_size

    def train_dataloader(self) -> DataLoader:
        samples = Mammograms(open_cohort(self.path), self.trainer.lightning_module.loss)
        return DataLoader(samples, self.batch_size, shuffle=True)


if __name__ == "__main__":
    LightningCLI(Segmenter, Data)
