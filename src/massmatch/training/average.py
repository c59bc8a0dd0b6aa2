"""The exponential moving average of a network's weights, which predicts better than the last weights do."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from massmatch.errors import UsageError
from massmatch.losses.own import in_one_line


def averaging(model: nn.Module, decay: float) -> AveragedModel | None:
    """An average that follows a network: `update_parameters(model)` after each step. None where the decay is 0.

    After step n it keeps min(decay, (1 + n) / (10 + n)) of itself, so that the first weights, which know nothing, are
    soon forgotten (the warm-up of TensorFlow's moving average). The statistics of batch normalisation are averaged as
    the weights are; counters are those of the network.

    Raises UsageError for a network that cannot be copied.

    >>> averaging(nn.Linear(1, 1), 0) is None
    True
    """
    if decay == 0:
        return None

    def mixed(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        if not (current.is_floating_point() or current.is_complex()):
            return current
        kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
        return torch.lerp(averaged, current.to(averaged), 1 - kept)

    try:
        return AveragedModel(model, avg_fn=mixed, use_buffers=True)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:  # a result of others has no copy, a lock or a generator neither
        raise UsageError(
            f"--ema: the network {type(model).__name__} cannot be copied ({in_one_line(error)}): leave --ema out, or "
            "take torch.nn.utils.parametrizations, not torch.nn.utils.weight_norm"
        ) from None
