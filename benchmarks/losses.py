"""How long forward and backward of each loss take, side by side with MONAI's DiceCELoss and a loop over cells.

    python benchmarks/losses.py [--rounds N] [--device cuda]

One CPU thread or a GPU, float32, `facts` given; each round times every loss once, so that whatever else the machine
does hits all of them alike. Printed are the medians over the rounds and the medians of the ratios within a round.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from monai.losses import DiceCELoss
from torch import Tensor

from massmatch.losses import BCE, LOSSES, AdaptiveSampleLoss, Tversky, make_loss

CELL = 8
DENSITY = (1, 2, 3, 4)  # ACR category of each image, which density-asp weighs by
OPTIONS = ("soft-sm:random_phase=true", "soft-sm:levels=3")  # beside every loss as it is


def mammograms(side: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Four images with one mass each, of four sizes, and logits as of a network half-way through its training."""
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(4, 1, side, side)
    for image, (height, width) in zip(target, ((12, 17), (30, 20), (8, 9), (17, 16)), strict=True):
        image[0, side // 3 : side // 3 + height, side // 4 : side // 4 + width] = 1
    logits = torch.randn(4, 1, side, side, generator=generator) + 6 * target - 5
    return logits.to(device).requires_grad_(), target.to(device)


def seconds(step: Callable[[], Tensor], logits: Tensor) -> float:
    """One forward and backward pass."""
    logits.grad = None
    start = time.perf_counter()
    step().backward()
    if logits.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def loop_over_cells(core: BCE | Tversky, logits: Tensor, target: Tensor) -> Tensor:
    """SM-B / G-A as Algorithm 1 has it: one call of the core per cell."""
    total = torch.zeros(())
    side = logits.shape[-1]
    corners = [(row, col) for row in range(0, side, CELL) for col in range(0, side, CELL)]
    for x, y in zip(logits[:, 0], target[:, 0], strict=True):
        grid = torch.zeros(())
        for row, col in corners:
            cell = (slice(row, row + CELL), slice(col, col + CELL))
            grid = grid + core(x[cell], y[cell], axes=(-2, -1))
        total = total + core(x, y, axes=(-2, -1)) + grid / len(corners)
    return total / len(logits)


def compare(side: int, rounds: int, device: str) -> None:
    """Print the table for 4 x 1 x side x side."""
    logits, target = mammograms(side, device)
    steps: dict[str, Callable[[], Tensor]] = {}
    reference = DiceCELoss(sigmoid=True)
    steps["monai DiceCELoss"] = lambda: reference(logits, target)
    for name in (*LOSSES, *OPTIONS):
        loss = make_loss(name)
        if isinstance(loss, AdaptiveSampleLoss):
            loss.fit(target.cpu(), DENSITY)
        facts = loss.facts(target.cpu(), density=DENSITY)  # as a training makes them, beside the device
        steps[name] = partial(loss.to(device), logits, target, facts=facts)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round in range(rounds + 2):
        for name, step in steps.items():
            took = seconds(step, logits)
            if round >= 2:  # the first two warm up
                times[name].append(took)
    where = torch.cuda.get_device_name() if device == "cuda" else "one thread"
    print(f"\n4 x 1 x {side} x {side}, forward and backward, median of {rounds} rounds, {where}")
    print(f"{'loss':28}{'ms':>9}{'/ DiceCELoss':>14}")
    base = times["monai DiceCELoss"]
    for name, took in times.items():
        ratio = statistics.median(t / b for t, b in zip(took, base, strict=True))
        print(f"{name:28}{1e3 * statistics.median(took):9.2f}{ratio:14.2f}")


def compare_with_loop(rounds: int) -> None:
    """Print how much faster the cells are at once than one by one, cells of 8 x 8 at 256 x 256."""
    logits, target = mammograms(256)
    print(f"\n4 x 1 x 256 x 256, cells of {CELL} x {CELL}: a loop over the cells, median of {rounds} rounds")
    for core, name in ((BCE(), "sm-bce-b-a"), (Tversky(), "sm-tversky-b-a")):
        loss = LOSSES[name](cell_size=(CELL, CELL))
        facts = loss.facts(target)
        torch.testing.assert_close(loss(logits, target), loop_over_cells(core, logits, target))
        ratios, slow = [], []
        for _ in range(rounds):
            slow.append(seconds(lambda core=core: loop_over_cells(core, logits, target), logits))
            at_once = [
                seconds(lambda loss=loss, facts=facts: loss(logits, target, facts=facts), logits) for _ in range(5)
            ]
            ratios.append(slow[-1] / statistics.median(at_once))
        print(
            f"{name:20}{1e3 * statistics.median(slow):9.0f} ms{statistics.median(ratios):9.0f} times as long as at once"
        )


def main() -> None:
    """All three tables; on a GPU, the two that compare losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    compare(256, asked.rounds, asked.device)
    compare(1024, max(asked.rounds // 3, 5), asked.device)
    if asked.device == "cpu":
        compare_with_loop(max(asked.rounds // 6, 3))


if __name__ == "__main__":
    main()
