"""The loss in three dimensions: cells are cuboids, sized after the masses' depth, height and width."""

import torch

from massmatch.losses import SpatialMatchingLoss

target = torch.zeros(1, 1, 16, 32, 32)
target[..., 4:8, 8:16, 8:16] = 1  # a mass of 4 x 8 x 8 voxels
logits = (8 * target - 4).requires_grad_()

loss = SpatialMatchingLoss(core="tversky", scale=True, min_cell=2)
value = loss(logits, target)
value.backward()
terms = loss.explain(logits.detach(), target)
print(f"loss {value.item():.4f}, cells of {terms.cell_size} voxels, {int(terms.true.sum())} of them with true mass")
