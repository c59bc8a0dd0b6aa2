"""Several networks, or several views of one image, as one network: the mean of their probabilities."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from massmatch.errors import UsageError
from massmatch.inference.algorithm import Algorithm
from massmatch.inference.network import SIDES, load_network, refuse_unused

ALIKE = ("normalise", "preprocessing", "orientation", "size")  # what networks must share to see the same image


class Mean(nn.Module):
    """The logit of the mean probability of several networks.

    >>> image = torch.rand(1, 1, 8, 8)
    >>> torch.allclose(Mean([nn.Identity()])(image), image, atol=1e-6)
    True
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) images to logits."""
        return mean_logit([network(images) for network in self.networks])


class Mirrored(nn.Module):
    """Test-time augmentation: the mean over an image and its mirror image, which is mirrored back."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) images to logits; a mirrored image gives the mirrored logits."""
        return mean_logit([self.network(images), self.network(images.flip(-1)).flip(-1)])


def mirrored(network: nn.Module, facts: dict[str, Any]) -> nn.Module:
    """The network with test-time augmentation.

    Raises UsageError for one that was trained without augmentation on images whose chest wall always lies on one side:
    it has never seen a mirrored one, and answers it badly.
    """
    augmented = facts.get("experiment", {}).get("augment", "none") != "none"
    if facts.get("orientation") in SIDES and not augmented:
        raise UsageError(
            f"--tta: the network has only seen images with the chest wall on the {facts['orientation']}, so a mirrored "
            "one tells it nothing: leave --tta out, or train with --augment flips"
        )
    return Mirrored(network).eval()


def mean_logit(logits: Sequence[Tensor]) -> Tensor:
    """The logit of the mean of the probabilities; finite, and to the last digits right, where those are near 0 or 1."""
    stacked = torch.stack([each.float() for each in logits])
    return torch.logsumexp(F.logsigmoid(stacked), 0) - torch.logsumexp(F.logsigmoid(-stacked), 0)


def load_ensemble(paths: Sequence[Path], own: Collection[str] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """The networks of runs or weights files as one, and its facts: the threshold is the mean of theirs.

    Raises UsageError where they do not see images alike (size, preparation, chest wall), for a network in `own` that
    none of them is of, and as `load_network` does.
    """
    loaded = [load_network(path, own) for path in paths]
    refuse_unused(own, [facts["model"] for _, facts in loaded])
    (_, first), *others = loaded
    for path, (_, facts) in zip(paths[1:], others, strict=True):
        for name in ALIKE:
            if facts.get(name) != first.get(name):
                raise UsageError(
                    f"--ensemble: {path} has {name} {facts.get(name)}, but {paths[0]} has {first.get(name)}: networks "
                    "of one ensemble must be trained on images that were prepared alike"
                )
    threshold = sum(facts["threshold"] for _, facts in loaded) / len(loaded)
    network = loaded[0][0] if len(loaded) == 1 else Mean([network for network, _ in loaded]).eval()
    algorithm = Algorithm(tuple(each for _, facts in loaded for each in facts["algorithm"].weights))
    return network, {**first, "threshold": threshold, "algorithm": algorithm}
