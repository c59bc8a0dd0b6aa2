"""Which number format and memory layout are fastest on this machine."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn


class Speed(NamedTuple):
    """One way to run a network."""

    precision: str
    memory: str


LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
FABRIC = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


def fastest(model: nn.Module, precision: str, memory: str, device: torch.device, side: int = 64) -> Speed:
    """The fastest allowed combination: forward and backward of four small images, a quarter of a second for each."""
    precisions = ["float32", "bfloat16"] if precision == "auto" else [precision]
    memories = list(LAYOUTS) if memory == "auto" else [memory]
    ways = [Speed(p, m) for p in precisions for m in memories]
    if len(ways) == 1:
        return ways[0]
    state = {name: value.clone() for name, value in model.state_dict().items()}  # batch norm must not move
    best = min(ways, key=lambda way: _seconds(model.to(device), way, device, side))
    model.load_state_dict(state)
    arranged(model, "contiguous")
    model.zero_grad(set_to_none=True)
    return best


def _seconds(model: nn.Module, way: Speed, device: torch.device, side: int) -> float:
    """The shortest step."""
    arranged(model, way.memory)
    images = torch.zeros(4, 1, side, side, device=device).to(memory_format=LAYOUTS[way.memory])

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=way.precision == "bfloat16"):
            outputs = model(images)
            outputs = outputs if isinstance(outputs, list) else [outputs]
        loss = torch.stack([each.float().mean() for each in outputs]).sum()
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return shortest(step)


def shortest(action: Callable[[], None]) -> float:
    """Seconds of the shortest call within a quarter of a second, after one to warm up: others may want the machine."""
    action()
    times: list[float] = []
    while not times or sum(times) < 0.25:
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def arranged(model: nn.Module, memory: str) -> nn.Module:
    """The same network with its weights in one of LAYOUTS."""
    return model.to(memory_format=LAYOUTS[memory])  # type: ignore[call-overload]
