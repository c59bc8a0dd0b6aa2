"""A trainer for nnU-Net v2 (2.8 or later) whose loss is the Spatial Matching loss, or its soft form, around any core.

nnU-Net finds trainers of others in the folders that the variable `nnUNet_extTrainer` lists, by the name of the class:

    massmatch nnunet install-trainer ~/trainers
    export nnUNet_extTrainer=~/trainers
    nnUNetv2_train 101 2d 0 -tr nnUNetTrainerSpatialMatching

The variable must be set for prediction too, since checkpoints hold the trainer's name. nnU-Net imports every trainer of
its own while it looks for one, so it needs a torchvision that works beside the installed torch.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from massmatch.errors import UsageError
from massmatch.losses import CORES, SoftMatchingLoss, SpatialMatchingLoss
from massmatch.losses.grid.loss import GridLoss
from massmatch.runs.atomic import write_atomic

TRAINER = '''"""Written by `massmatch nnunet install-trainer`; nnU-Net finds it through nnUNet_extTrainer."""

from massmatch.integrations.nnunet import {function}

Trainer = {function}({core!r}, {options!r})


class {name}(Trainer):
    """nnU-Net with the {loss}, core {core}, {options}."""
'''
NAME = "nnUNetTrainerSpatialMatching"


class NNUNetLoss(nn.Module):
    """The Spatial Matching loss on what nnU-Net hands over, a scale at a time.

    Labels background and mass: output (B, 2, H, W[, D]) of logits for a softmax and target (B, 1, ...) of labels; the
    difference of the logits is the logit of mass. Regions: output (B, R, ...) for sigmoids and target (B, R, ...) of 0
    and 1. The cells are sized after the masses of each scale's own target, as deep supervision hands it over.

    Args:
        loss: the Spatial Matching loss or the soft one, from logits.
        ignored: label (or, with regions, a last channel of the target) that does not count.
        regions: whether the target has regions.
    """

    def __init__(self, loss: GridLoss, *, ignored: int | None = None, regions: bool = False) -> None:
        super().__init__()
        self.loss, self.ignored, self.regions = loss, ignored, regions

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """A scalar. ValueError for more labels than background and mass."""
        if self.regions:
            mask = None if self.ignored is None else 1 - target[:, -1:].to(output.dtype)
            truth = target if self.ignored is None else target[:, :-1]
            return self.loss(output, truth.float(), mask=mask)
        if output.shape[1] != 2:
            raise UsageError(
                f"the Spatial Matching trainer takes the labels background and mass, but there are {output.shape[1]}: "
                "export one label, or use regions"
            )
        mask = None if self.ignored is None else (target != self.ignored).to(output.dtype)
        return self.loss(output[:, 1:2] - output[:, 0:1], (target == 1).float(), mask=mask)


def scale_weights(count: int, *, last: float = 0.0) -> np.ndarray:
    """Weights of nnU-Net's scales, fine to coarse: each half of the one before, `last` the coarsest; sum 1."""
    weights = np.array([1 / 2**n for n in range(count)])
    if count > 1:
        weights[-1] = last
    return weights / weights.sum()


def spatial_matching_trainer(
    core: str | Callable[..., Tensor] = "tversky", options: dict[str, Any] | None = None
) -> type:
    """A subclass of nnUNetTrainer with this core and these switches of the loss. ImportError without nnU-Net."""
    return _trainer(partial(SpatialMatchingLoss, core, **(options or {})))


def soft_matching_trainer(core: str | Callable[..., Tensor] = "hybrid", options: dict[str, Any] | None = None) -> type:
    """The same with `SoftMatchingLoss`."""
    return _trainer(partial(SoftMatchingLoss, core, **(options or {})))


def _trainer(make: Callable[[], GridLoss]) -> type:
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class SpatialMatchingTrainer(nnUNetTrainer):  # type: ignore[misc, unused-ignore]
        """nnU-Net's trainer with another loss."""

        def _build_loss(self) -> nn.Module:
            labels = self.label_manager
            loss: nn.Module = NNUNetLoss(make(), ignored=labels.ignore_label, regions=labels.has_regions)
            if self.enable_deep_supervision:
                # a parameter without gradient stops distributed training without a compiler: hence not quite 0
                last = 1e-6 if self.is_ddp and not self._do_i_compile() else 0.0
                weights = scale_weights(len(self._get_deep_supervision_scales()), last=last)
                loss = DeepSupervisionWrapper(loss, weights)
            return loss

    return SpatialMatchingTrainer


def install_trainer(
    folder: Path, core: str = "tversky", options: dict[str, Any] | None = None, name: str = NAME, *, soft: bool = False
) -> Path:
    """Write the file of a trainer of this name; the path.

    Options are those of SpatialMatchingLoss, or of SoftMatchingLoss with `soft`.

    Raises ValueError for a core, an option or a name that cannot be, FileExistsError for another file of that name.
    """
    if core not in CORES:
        raise UsageError(f"core must be one of {', '.join(CORES)}, but is {core!r}")
    if not name.isidentifier():
        raise UsageError(f"a trainer's name must be one of a Python class, but is {name!r}")
    loss, function = (
        (SoftMatchingLoss, soft_matching_trainer) if soft else (SpatialMatchingLoss, spatial_matching_trainer)
    )
    loss(core, **(options or {}))
    called = "soft Spatial Matching loss" if soft else "Spatial Matching loss"
    text = TRAINER.format(function=function.__name__, loss=called, core=core, options=options or {}, name=name)
    path = folder / f"{name}.py"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise UsageError(f"{path} is another trainer: remove it, or give --name")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
    return path
