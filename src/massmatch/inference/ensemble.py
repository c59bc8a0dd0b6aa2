"""Several networks, or several views of one image, as one network: the mean of their log-odds.

Of the log-odds, not of the probabilities: networks that are trained with the soft loss have thresholds near 1, and
there the mean of probabilities asks all of them to agree. On validation parts it was worse than a single network
(docs/results.md, "The packaged network, and those before it").
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit, logit
from torch import Tensor, nn

from massmatch.errors import UsageError
from massmatch.inference.algorithm import Algorithm
from massmatch.inference.network import SIDES, load_network, refuse_unused
from massmatch.runs.weights import digest, halved
from massmatch.training.thresholds import THRESHOLDS

CERTAIN = float(logit(THRESHOLDS[-1]))  # log-odds beyond which no threshold tells two pixels apart
ALIKE = ("normalise", "preprocessing", "orientation", "size")  # what networks must share to see the same image


class Mean(nn.Module):
    """The mean log-odds of several networks.

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
    if facts.get("orientation") in SIDES and not facts.get("augmented", saw_mirrored_images(facts)):
        raise UsageError(
            f"--tta: the network has only seen images with the chest wall on the {facts['orientation']}, so a mirrored "
            "one tells it nothing: leave --tta out, or train with --augment flips"
        )
    return Mirrored(network).eval()


def saw_mirrored_images(facts: dict[str, Any]) -> bool:
    """Whether a network was trained with augmentation, of any kind: each mirrors."""
    return bool(facts.get("experiment", {}).get("augment", "none") != "none")


def mean_logit(logits: Sequence[Tensor]) -> Tensor:
    """The mean of log-odds, each no further from 0 than any threshold, so that none that is certain outvotes the rest.

    >>> mean_logit([torch.tensor([1.0, 100.0]), torch.tensor([3.0, -100.0])])
    tensor([2., 0.])
    """
    return torch.stack([each.float().clamp(-CERTAIN, CERTAIN) for each in logits]).mean(0)


def mean_threshold(thresholds: Sequence[float]) -> float:
    """The threshold whose log-odds are the mean of theirs: where each network stands at its own, the mean is at it.

    >>> round(mean_threshold([0.5, 0.9]), 3)
    0.75
    >>> mean_threshold([0.9])
    0.9
    """
    if len(thresholds) == 1:
        return thresholds[0]
    return float(expit(np.clip(logit(thresholds), -CERTAIN, CERTAIN).mean()))


def load_ensemble(paths: Sequence[Path], own: Collection[str] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """The networks of runs or weights files as one, and its facts: the threshold is `mean_threshold` of theirs, and it
    is "augmented" where all are. In which order they are given makes no difference.

    Raises UsageError for one that is given twice (in another file, too, or in float16), where they do not see images
    alike (size, preparation, chest wall), for a network in `own` that none of them is of, and as `load_network` does.
    """
    loaded = [load_network(path, own) for path in paths]
    refuse_unused(own, [facts["model"] for _, facts in loaded])
    known = [_rounded(network) for network, _ in loaded] if len(loaded) > 1 else []
    for number, each in enumerate(known):
        if (before := known.index(each)) < number:
            same = f"{paths[before]} and {paths[number]}"
            raise UsageError(f"--ensemble: {same} are the same network, which would count twice: give it once")
    (_, first), *others = loaded
    for path, (_, facts) in zip(paths[1:], others, strict=True):
        for name in ALIKE:
            if facts.get(name) != first.get(name):
                raise UsageError(
                    f"--ensemble: {path} has {name} {facts.get(name)}, but {paths[0]} has {first.get(name)}: networks "
                    "of one ensemble must be trained on images that were prepared alike"
                )
    algorithm = Algorithm(tuple(each for _, facts in loaded for each in facts["algorithm"].weights))
    loaded.sort(key=lambda each: each[1]["algorithm"].weights[0].sha256)  # sums are rounded as their order wants it
    threshold = mean_threshold([facts["threshold"] for _, facts in loaded])
    network = loaded[0][0] if len(loaded) == 1 else Mean([network for network, _ in loaded]).eval()
    augmented = all(saw_mirrored_images(facts) for _, facts in loaded)
    return network, {**first, "threshold": threshold, "algorithm": algorithm, "augmented": augmented}


def _rounded(network: nn.Module) -> str:
    """SHA-256 of the weights in float16, which is the same in every file that holds them, whatever its facts are."""
    return digest(halved({name: value.detach().cpu() for name, value in network.state_dict().items()}))
