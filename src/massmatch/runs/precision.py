"""Which number format and memory layout a network is trained with."""

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn


class Speed(NamedTuple):
    """A number format and a memory layout in which a network runs."""

    precision: str
    memory: str

    def __str__(self) -> str:
        """As people read it: float32, contiguous."""
        return ", ".join(self)


LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
FABRIC = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
ADVANTAGE = 1.1  # timings of one step on a shared machine differ by some percent without any reason
ROUNDS = 5  # the fewest of which a median says something
AT_LEAST = 1.0  # seconds of timing: small networks need more than ROUNDS, and have the time for it


def fastest(
    model: nn.Module, precision: str, memory: str, device: torch.device, side: int = 64, *, at_once: bool = False
) -> Speed:
    """What is asked for; where it is "auto", the `preferred` way by the time of a step on four small images.

    bfloat16 is a choice of "auto" only where the processor computes with it (`has_bfloat16`). `at_once` takes one turn
    of each way instead of a median: enough for an estimate, and not for a decision.
    """
    ways = allowed(precision, memory, device)
    if len(ways) == 1:
        return ways[0]
    state = {name: value.clone() for name, value in model.state_dict().items()}  # batch norm must not move
    best = preferred(seconds_of(ways, model.to(device), device, side, at_once=at_once))
    model.load_state_dict(state)
    arranged(model, "contiguous")
    return best


def allowed(precision: str, memory: str, device: torch.device) -> list[Speed]:
    """All ways of computing that fit what is asked for; the one that changes results least comes first."""
    auto = ["float32", "bfloat16"] if has_bfloat16(device) else ["float32"]
    precisions = auto if precision == "auto" else [precision]
    return [Speed(p, m) for p in precisions for m in (LAYOUTS if memory == "auto" else [memory])]


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor has instructions for bfloat16; without, PyTorch imitates it, up to ten times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    if platform.machine().lower() in ("x86_64", "amd64"):  # where oneDNN says yes to any AVX-512, and then imitates
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def preferred(seconds: Mapping[Speed, float]) -> Speed:
    """The first way, unless a later one is faster by ADVANTAGE than all that are preferred to it.

    A gain that is hardly more than the noise of a timing is not worth other numbers: the layout changes their rounding,
    and bfloat16 changes a result as another seed would.
    """
    best, *others = seconds
    for way in others:
        if seconds[way] * ADVANTAGE <= seconds[best]:
            best = way
    return best


def seconds_of(
    ways: Sequence[Speed], model: nn.Module, device: torch.device, side: int, *, at_once: bool = False
) -> dict[Speed, float]:
    """The median time of a step in each way: in turns, so that what else the machine does slows all of them alike."""
    images = torch.zeros(4, 1, side, side, device=device)
    times: dict[Speed, list[float]] = {way: [] for way in ways}
    for way in ways:
        _step(model, way, images)  # to warm up
    rounds, at_least = (1, 0.0) if at_once else (ROUNDS, AT_LEAST)
    while len(times[ways[0]]) < rounds or sum(map(sum, times.values())) < at_least:
        for way in ways:
            times[way].append(_step(model, way, images))
    return {way: statistics.median(found) for way, found in times.items()}


def _step(model: nn.Module, way: Speed, images: torch.Tensor) -> float:
    """Seconds of forward and backward."""
    arranged(model, way.memory)
    model.zero_grad(set_to_none=True)  # gradients keep the layout that they were first computed in
    images = images.to(memory_format=LAYOUTS[way.memory])
    _wait(images.device)
    start = time.perf_counter()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=way.precision == "bfloat16"):
        outputs = model(images)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    torch.stack([each.float().mean() for each in outputs]).sum().backward()
    _wait(images.device)
    seconds = time.perf_counter() - start
    model.zero_grad(set_to_none=True)
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def shortest(action: Callable[[], None]) -> float:
    """Seconds of the shortest call within a quarter of a second, after one to warm up: others may want the machine."""
    action()
    times: list[float] = []
    while not times or sum(times) < 0.25:
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


@contextmanager
def on_threads(threads: int | None) -> Iterator[None]:
    """So many CPU threads, or PyTorch's choice; afterwards, those of before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def arranged(model: nn.Module, memory: str) -> nn.Module:
    """The same network with its weights in one of LAYOUTS."""
    return model.to(memory_format=LAYOUTS[memory])  # type: ignore[call-overload]
