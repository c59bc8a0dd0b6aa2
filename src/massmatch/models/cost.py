"""What a network costs, counted without computing anything."""

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def cost(network: Callable[..., nn.Module], width: int, side: int = 256) -> tuple[int, int]:
    """Parameters, and floating point operations (two per multiplication with addition) for one grey image of `side`."""
    model = network(1, 1, width).eval().to("meta")
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 1, side, side, device="meta"))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops()
