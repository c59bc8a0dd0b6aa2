"""The loss in a plain PyTorch loop, with its facts made by the loader.

massmatch phantom cohort --patients 20 --size 64
python plain_loop.py cohort
"""

import sys

import torch
from torch.utils.data import DataLoader

from mammograms import Mammograms
from massmatch.data import open_cohort
from massmatch.losses import SoftMatchingLoss
from massmatch.models import AUNet


def train(path: str, epochs: int = 2) -> list[float]:
    """The mean loss of each epoch."""
    torch.manual_seed(0)
    loss = SoftMatchingLoss(random_phase=True)
    # Facts of images of one size have one shape, so that PyTorch's own collate function puts them together.
    loader = DataLoader(Mammograms(open_cohort(path), loss), batch_size=4, shuffle=True)
    network = AUNet(1, 1, 4)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    means = []
    for epoch in range(epochs):
        values = []
        for images, masks, facts in loader:
            value = loss(network(images), masks, facts=facts)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            values.append(value.item())
        means.append(sum(values) / len(values))
        print(f"epoch {epoch + 1}: mean loss {means[-1]:.3f}")
    return means


if __name__ == "__main__":
    train(sys.argv[1])
