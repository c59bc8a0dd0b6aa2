"""The adaptive losses that the paper compares: ASP, weighted by the size of the mass, and Density-ASP, by the breast.

Aliniya et al. 2023 (ICANN; ISVC) give no constants in what could be read of them, so both are reconstructions.
Known: a weighted sum of cross-entropy and Dice (ASP) or of a pixel and a region term (Density-ASP), whose weights
follow, image by image, the share of mass pixels by quantiles, by clusters, or learned (ASP), or the ACR density, with
more weight on the region term for denser breasts (Density-ASP). Ours: everything else, and said where it stands.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import scipy  # loads its parts when they are used
import torch
from torch import Tensor, nn

from ..base import ImageLoss
from ..call import Facts
from ..checks import check_truth, one_of, require_tensor, require_whole
from ..cores.base import BCE, Dice
from .region import pixel_entropy, probabilities, refuse_mask, structural_loss, structure_of, structures

STRATEGIES = ("quantile", "cluster", "learned")


class AdaptiveSampleLoss(ImageLoss):
    """w(r) Dice + (1 - w(r)) BCE, r the share of mass pixels of the image (ASP-Q, ASP-C); ASP-L learns the weights.

    Ours: small masses get more of Dice, which does not see how much background there is: w falls in equal steps from
    0.75 for the group of the smallest masses to 0.25 for the largest. `groups` = 4 quantiles of the training part, or
    clusters of it (k-means on the logarithm of r, seeded). "learned" follows Kendall et al. 2018 instead,
    exp(-s) L + s for each term with s linear in log r, since weights that only add up to 1 would all go to the smaller
    term; its value may be negative.

    Args:
        strategy: how the weights follow the size: quantile, cluster or learned.
        groups: into how many groups of sizes the training part is divided; "learned" has none.

    Call `fit` with the training part first, except with "learned"; RuntimeError otherwise.
    """

    edges: Tensor  # between the groups, ascending; NaN before `fit`

    def __init__(
        self, strategy: str = "quantile", *, groups: int = 4, reduction: str = "mean", from_logits: bool = True
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        self.strategy = one_of("strategy", strategy, STRATEGIES)
        self.groups = require_whole("groups", groups, 2)
        if strategy == "learned":
            self.scale = nn.Parameter(torch.zeros(2))  # s of Dice and of BCE for a mass of 0.3 % of the image
            self.slope = nn.Parameter(torch.zeros(2))  # per factor of ten in size
        else:
            self.register_buffer("edges", torch.full((groups - 1,), float("nan")))

    def fit(self, targets: Iterable[Tensor], densities: Sequence[int | None]) -> None:
        """Learn the limits of the groups from the masses of the training part.

        ValueError for masks outside [0, 1], and for fewer sizes of masses than groups.
        """
        if self.strategy == "learned":
            return
        targets = list(targets)
        for target in targets:
            require_tensor("targets", target)
            check_truth(target)
        shares = np.array([float(target.double().mean()) for target in targets])
        shares = np.log10(shares[shares > 0])
        if len(np.unique(shares)) < self.groups:
            raise ValueError(
                f"{self.groups} groups need as many sizes of masses, but there are {len(np.unique(shares))}"
            )
        if self.strategy == "quantile":
            edges = np.quantile(shares, np.arange(1, self.groups) / self.groups)
        else:
            start = np.quantile(shares, (np.arange(self.groups) + 0.5) / self.groups)
            centres = np.sort(scipy.cluster.vq.kmeans2(shares, start, minit="matrix")[0])
            edges = (centres[:-1] + centres[1:]) / 2
        self.edges.copy_(torch.from_numpy(edges))

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """The loss of each image and channel, (B, C)."""
        axes = tuple(range(2 - logits.ndim, 0))
        dice, bce = (
            core(logits, target, axes=axes, valid=valid, from_logits=self.from_logits) for core in (Dice(), BCE())
        )
        pixels = target[0, 0].numel() if valid is None else valid.sum(axes).clamp(min=1)  # that count
        size = (target.sum(axes) / pixels).clamp(min=1e-6).log10()  # an image without mass counts as the smallest
        if self.strategy == "learned":
            s = self.scale.to(dice) + self.slope.to(dice) * (size[..., None] + 2.5)
            terms = torch.stack([dice, bce], -1)
            return ((-s).exp() * terms + s).sum(-1)
        weight = self.weight(size).to(dice)
        return weight * dice + (1 - weight) * bce

    def weight(self, size: Tensor) -> Tensor:
        """Of Dice, for masses of 10^size of the image."""
        if not torch.compiler.is_compiling() and bool(self.edges.isnan().any()):
            raise RuntimeError("call fit(targets, densities) with the training part before the first step")
        group = (size[..., None] > self.edges.to(size)).sum(-1)
        return 0.75 - 0.5 * group / (self.groups - 1)


class DensityASP(ImageLoss):
    """w(d) SSL + (1 - w(d)) BCE, d the ACR density of the breast.

    Ours: w = 0.2, 0.4, 0.6, 0.8 for d = 1 to 4, and SSL as the region term (the paper lists it beside RMI and describes
    it first). Densities come with the facts: `facts(target, density=[2, 3, ...])`.
    """

    reads_densities = True

    def make_facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """Each image's density and standardised truth. ValueError for a density missing, or outside of 1 to 4."""
        if density is None or len(density) != len(target):
            raise ValueError(
                "density-asp weighs images by their ACR density, 1 to 4: give every image one in the column `density`, "
                "or take another loss"
            )
        for number, value in enumerate(density):
            if value not in (1, 2, 3, 4):
                raise ValueError(f"density must be 1, 2, 3 or 4, but is {value!r} for image {number} of the batch")
        pairs = zip(torch.as_tensor(density), structures(target), strict=True)
        return [{"density": value, "structure": structure} for value, structure in pairs]

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C). ValueError for a mask, and without facts."""
        refuse_mask("density-asp", valid)
        if facts is None or any("density" not in fact for fact in facts):
            raise ValueError(
                "density-asp needs the densities: loss(logits, target, facts=loss.facts(target, density=...))"
            )
        weight = torch.stack([fact["density"] for fact in facts]).to(logits)[:, None] / 5
        entropy = pixel_entropy(logits, target, self.from_logits)
        region = structural_loss(probabilities(logits, self.from_logits), structure_of(target, facts), entropy)
        return weight * region + (1 - weight) * entropy.flatten(2).mean(-1)
