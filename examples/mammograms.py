"""A PyTorch dataset of ten lines: image, mask and the loss's facts of the mask. The other examples use it."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from massmatch.data import Cohort
from massmatch.losses import ImageLoss


class Mammograms(Dataset[tuple[Tensor, Tensor, dict[str, Tensor]]]):
    """Image and mask of (1, H, W) with values from 0 to 1, and what the loss wants to know of the mask."""

    def __init__(self, cohort: Cohort, loss: ImageLoss) -> None:
        self.cohort, self.loss = cohort, loss

    def __len__(self) -> int:
        return len(self.cohort)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        sample = self.cohort.load(self.cohort.ids[index])
        image = torch.from_numpy(sample.image / 255.0).float()[None]
        mask = torch.from_numpy(sample.mask).float()[None]
        # Augment image and mask here, before the facts are made: facts of another mask are refused.
        (facts,) = self.loss.facts(mask[None])
        return image, mask, facts
