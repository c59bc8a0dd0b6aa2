"""Critics at several scales that learn to tell true masks from predicted ones (Chen et al. 2020): a reconstruction.

Known: an improved U-Net, three critics at different scales, weighted cross-entropy and an Earth-Mover (Wasserstein)
term, spectral normalisation. Ours: any network and loss of the catalogue in place of theirs, the critics' layers, and
scales of 1, 1/2 and 1/4. A training loop alternates:

    loss(logits, target) + weight * adversarial_loss(critics, images, p)   for the segmenter
    critic_loss(critics, images, p.detach(), target)                       for the critics
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SCALES = (1, 2, 4)  # the images are averaged over so many pixels a side
LAYERS = 4


class Critic(nn.Module):
    """Image and mask to one number, higher for what looks true; spectral normalisation bounds its slope."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        widths = [in_channels, *(width * 2 ** min(n, 3) for n in range(LAYERS))]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers)
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 1))

    def forward(self, x: Float[Tensor, "B c H W"]) -> Float[Tensor, " B"]:
        """The mean over the places of the last map."""
        return self.score(self.features(x)).mean((-3, -2, -1))


class MultiScaleCritics(nn.Module):
    """A critic for each scale. (B, c, H, W) images and (B, m, H, W) masks or probabilities to (3, B) scores."""

    def __init__(self, image_channels: int = 1, mask_channels: int = 1, width: int = 16) -> None:
        super().__init__()
        self.critics = nn.ModuleList(Critic(image_channels + mask_channels, width) for _ in SCALES)

    def forward(self, images: Float[Tensor, "B c H W"], masks: Float[Tensor, "B m H W"]) -> Float[Tensor, "s B"]:
        """ValueError for images below 64 pixels, of which nothing is left at the coarsest scale."""
        if min(images.shape[-2:]) < SCALES[-1] * 2**LAYERS:
            raise ValueError(
                f"critics need images of at least {SCALES[-1] * 2**LAYERS} pixels, not {images.shape[-2:]}"
            )
        joint = torch.cat([images, masks], 1)
        return torch.stack([critic(F.avg_pool2d(joint, s)) for s, critic in zip(SCALES, self.critics, strict=True)])


def critic_loss(critics: MultiScaleCritics, images: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
    """What the critics minimise: their mean score of predictions minus that of the truth (Earth Mover)."""
    return critics(images, probabilities).mean() - critics(images, target).mean()


def adversarial_loss(critics: MultiScaleCritics, images: Tensor, probabilities: Tensor) -> Tensor:
    """What the segmenter minimises beside its loss: minus the critics' mean score of its predictions."""
    return -critics(images, probabilities).mean()
