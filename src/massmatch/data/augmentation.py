"""Augmentation: training images moved, bent and exposed differently, each by its own draw, together with their masses.

The levels of `LEVELS` are what `train --augment` takes. A draw follows from (seed, epoch, number of the image) alone,
so that a resumed run, and one with other workers, sees the same images to the bit.

Rotation, scale, shift and bending are one grid and one look-up: 4 ms for 256 x 256 on one core. The chain of MONAI's
transforms with the same effects took 40 ms there, as long as the network's own step.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Level = Literal["none", "flips", "strong"]
Interval = tuple[float, float]
CONTROL = 8  # points a side of the coarse grid that bends an image; between them it is interpolated


@dataclass(frozen=True)
class Augmentation:
    """How much a level changes. A chance is that of one image; "ours" was chosen by looking at the samples."""

    mirror: float = 0.0  # chance to exchange left and right; up and down would give breasts that there are not
    move: float = 0.0  # chance to rotate, scale, shift and bend, all at once
    rotation: float = 0.0  # most degrees, either way
    scale: Interval = (1.0, 1.0)
    shift: float = 0.0  # most of a side, either way
    bend: float = 0.0  # standard deviation of a control point's shift, in sides
    gamma_chance: float = 0.0
    gamma: Interval = (1.0, 1.0)  # exponent of the grey levels between the darkest and the brightest
    contrast_chance: float = 0.0
    contrast: Interval = (1.0, 1.0)  # factor of the distance to the mean, cut off at the darkest and the brightest
    brightness_chance: float = 0.0
    brightness: Interval = (1.0, 1.0)  # factor of the distance to the darkest
    noise_chance: float = 0.0
    noise: float = 0.0  # most of a standard deviation, in ranges from the darkest to the brightest

    def __call__(self, image: Tensor, instances: Tensor, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
        """An image and its masses, changed in the same way.

        Args:
            image: (1, H, W) float32, normalised.
            instances: (1, H, W) int64; 0 is background, other numbers are masses. All of them are in the result, though
                parts may be cut off: a move that would lose one is not done. What comes in from outside is
                background, as dark as the darkest pixel.
            draw: where chance comes from.

        >>> image, masses = torch.eye(8)[None], torch.eye(8)[None].long()
        >>> mirrored, _ = Augmentation(mirror=1.0)(image, masses, np.random.default_rng(0))
        >>> torch.equal(mirrored, image.flip(-1))
        True
        """
        if draw.random() < self.mirror:
            image, instances = image.flip(-1), instances.flip(-1)
        if draw.random() < self.move:
            image, instances = self.moved(image, instances, draw)
        return self.exposed(image, draw), instances

    def moved(self, image: Tensor, instances: Tensor, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Rotated, scaled, shifted and bent; as they were where a mass would be lost."""
        grid, dark = self.grid(image.shape[-2:], draw), image.amin()
        labels = looked_up(instances.float(), grid, "nearest").long()
        if not torch.equal(labels.unique(), instances.unique()):
            return image, instances
        return looked_up(image - dark, grid, "bilinear") + dark, labels

    def grid(self, shape: torch.Size, draw: np.random.Generator) -> Tensor:
        """(1, H, W, 2): where each pixel of the result comes from, in PyTorch's coordinates from -1 to 1 (x, y)."""
        rows, cols = shape
        angle = math.radians(draw.uniform(-self.rotation, self.rotation))
        scale = math.exp(draw.uniform(*np.log(self.scale)))  # twice and half are drawn equally often
        right, down = draw.uniform(-2 * self.shift, 2 * self.shift, 2)
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        affine = torch.tensor([[cos, -sin * rows / cols, right], [sin * cols / rows, cos, down]], dtype=torch.float32)
        bent = torch.from_numpy(draw.normal(0, 2 * self.bend, (1, 2, CONTROL, CONTROL)).astype(np.float32))
        bent = F.interpolate(bent, (rows, cols), mode="bicubic", align_corners=True)
        return F.affine_grid(affine[None], [1, 1, rows, cols], align_corners=False) + bent.permute(0, 2, 3, 1)

    def exposed(self, image: Tensor, draw: np.random.Generator) -> Tensor:
        """With other grey levels: gamma, contrast, brightness and noise, each by its own chance."""
        dark, bright = image.aminmax()
        span = bright - dark
        if draw.random() < self.gamma_chance and span > 0:
            image = dark + span * ((image - dark) / span) ** draw.uniform(*self.gamma)
        if draw.random() < self.contrast_chance:
            mean = image.mean()
            image = (mean + draw.uniform(*self.contrast) * (image - mean)).clamp(dark, bright)
        if draw.random() < self.brightness_chance:
            image = dark + draw.uniform(*self.brightness) * (image - dark)
        if draw.random() < self.noise_chance:
            grain = torch.from_numpy(draw.standard_normal(image.shape, np.float32))
            image = image + draw.uniform(0, self.noise) * span * grain
        return image


def looked_up(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    """(1, H, W) at the places of a grid; 0 outside."""
    return F.grid_sample(image[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0]


# Gamma, contrast and brightness, with their chances, are those of nnU-Net (Isensee et al. 2021, supplement 4), as is
# the range of scale but for its rarer ends (0.7 to 1.4); it rotates by up to 180 degrees in 2-D, but mammograms are
# hung upright: 15 degrees, shift and bending are ours. Its noise has up to 0.3 of an image's standard deviation, ours
# up to 0.03 of its range, as grain of film that was scanned and made smaller.
LEVELS: dict[Level, Augmentation] = {
    "none": Augmentation(),  # section 4.1 of the paper names no augmentation
    "flips": Augmentation(mirror=0.5),
    "strong": Augmentation(
        mirror=0.5,
        move=0.7,
        rotation=15,
        scale=(0.8, 1.25),
        shift=0.06,
        bend=0.008,
        gamma_chance=0.3,
        gamma=(0.7, 1.5),
        contrast_chance=0.15,
        contrast=(0.75, 1.25),
        brightness_chance=0.15,
        brightness=(0.75, 1.25),
        noise_chance=0.1,
        noise=0.03,
    ),
}


def draw_of(seed: int, epoch: int, number: int) -> np.random.Generator:
    """Chance for one image in one epoch of one run."""
    return np.random.default_rng([seed, epoch, number])
