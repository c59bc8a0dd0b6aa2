"""Images with many objects, some of which touch: an instance map keeps them apart, and the metrics count them."""

import numpy as np
import torch

from massmatch.losses import LOSSES
from massmatch.metrics import image_metrics

instances = np.zeros((64, 64), np.uint8)
for number, (row, column, side) in enumerate([(4, 4, 6), (4, 10, 6), (30, 30, 12), (48, 8, 12)], start=1):
    instances[row : row + side, column : column + side] = number  # the first two touch
prediction = np.isin(instances, (1, 2, 3))  # the fourth is missed

target = torch.from_numpy(instances > 0).float()[None, None]
logits = torch.from_numpy(prediction).float()[None, None] * 8 - 4
labels = torch.from_numpy(instances.astype(np.int64))[None, None]
for name in ("sm-tversky-sd-nz", "soft-sm", "cc-dice-bce"):
    loss = LOSSES[name]()
    apart, merged = loss(logits, target, instances=labels), loss(logits, target)
    print(f"{name}: {apart:.4f} with the instance map, {merged:.4f} with touching objects taken as one")
print({key: value for key, value in image_metrics(prediction, instances > 0).items() if key in ("dsc", "sen")})
