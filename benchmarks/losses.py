"""How long forward and backward of each loss take, side by side with MONAI's DiceCELoss.

    python benchmarks/losses.py [--quick]

One CPU thread, float32, `facts` given. `gpu.py` has the same on a GPU.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from monai.losses import DiceCELoss
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from massmatch.losses import CORES, LOSSES, make_loss
from measuring import Goal, Section, medians, one_thread, ratios, table, take_turns

BASE = "DiceCELoss"
VARIANTS = [name for name, entry in LOSSES.items() if getattr(entry, "variant", None)]
SOFT, PHASE = "soft-sm", "soft-sm:random_phase=true"
DENSITY = (1, 2, 3, 4)  # ACR category of each image, which density-asp weighs by
MASSES = ((12, 17), (30, 20), (8, 9), (17, 16))  # height and width, in turn
PLOT = Path(__file__).parents[1] / "docs/images/benchmark.png"


def mammograms(images: int, side: int, masses: int = 1) -> tuple[Tensor, Tensor]:
    """Images with so many masses each, of four sizes, and logits as of a network half-way through its training."""
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(images, 1, side, side)
    per_row = max(1, side // 48)
    for n, image in enumerate(target):
        for k in range(masses):
            height, width = MASSES[(n + k) % len(MASSES)]
            row, col = (side // 3, side // 4) if masses == 1 else (48 * (k // per_row), 48 * (k % per_row))
            image[0, row : row + height, col : col + width] = 1
    logits = torch.randn(target.shape, generator=generator) + 6 * target - 5
    return logits.requires_grad_(), target


def step_of(name: str, logits: Tensor, target: Tensor) -> Callable[[], object]:
    """One forward and backward pass of a loss by its name, with facts."""
    if name == BASE:
        loss, facts = DiceCELoss(sigmoid=True), None
    else:
        loss = make_loss(name)
        densities = [DENSITY[n % len(DENSITY)] for n in range(len(target))]
        loss.fit(target, densities)
        facts = loss.facts(target, density=densities)
    call = partial(loss, logits, target) if facts is None else partial(loss, logits, target, facts=facts)

    def step() -> None:
        logits.grad = None
        call().backward()

    return step


def compare(names: list[str], images: int, side: int, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median milliseconds of the losses and DiceCELoss, and their ratios to it."""
    logits, target = mammograms(images, side)
    times = take_turns({name: step_of(name, logits, target) for name in (BASE, *names)}, rounds, warm=2)
    return {name: 1e3 * took for name, took in medians(times).items()}, ratios(times, BASE)


class Operations(TorchDispatchMode):
    """Counts the operations that PyTorch carries out, without those that only look at a tensor in another way."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += not operation.is_view
        return operation(*args, **(kwargs or {}))


def operations(name: str, images: int) -> int:
    """Of one forward and backward pass."""
    step = step_of(name, *mammograms(images, 64))
    step()  # the first one makes what later ones keep
    with Operations() as seen:
        step()
    return seen.count


def bytes_kept(name: str) -> float:
    """Bytes a pixel that are kept for the gradient in maps of all pixels."""
    logits, target = mammograms(4, 256)
    loss = make_loss(name)
    facts, kept = loss.facts(target), {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(logits, target, facts=facts)
    return sum(size for size in kept.values() if size >= 4 * logits.numel()) / logits.numel()


def plot(rounds: int, path: Path) -> None:
    """Time against pixels, cells, masses and images."""
    from matplotlib.figure import Figure

    names = (BASE, "sm-tversky-sd-nz", SOFT, PHASE)
    panels = {
        "pixels of an image": [(side**2, (1, side), "") for side in (128, 256, 384, 512, 768, 1024)],
        "cells of an image of 256 x 256": [((256 // c) ** 2, (4, 256), f"cell_size={c}") for c in (4, 8, 16, 32, 64)],
        "masses of an image of 256 x 256": [(n, (4, 256, n), "") for n in (1, 4, 9, 16, 25)],
        "images of a batch, 256 x 256": [(n, (n, 256), "") for n in (1, 2, 4, 8, 16)],
    }
    figure = Figure(figsize=(11, 6), layout="constrained")
    for axes, (title, points) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        found: dict[str, list[float]] = {name: [] for name in names}
        for _, shape, option in points:
            pair = mammograms(*shape)
            specs = {n: n if n == BASE or not option else f"{n}{',' if ':' in n else ':'}{option}" for n in names}
            took = medians(take_turns({n: step_of(spec, *pair) for n, spec in specs.items()}, rounds, warm=2))
            for name in names:
                found[name].append(1e3 * took[name])
        for name in names:
            axes.plot([x for x, *_ in points], found[name], "o-", markersize=3, label=name)
        axes.set(xlabel=title, ylabel="ms", ylim=(0, None), xlim=(0, None))
    figure.axes[0].legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


SIZES = ((4, 256, 31), (16, 256, 15), (4, 1024, 9))  # images, side, rounds
SMALL = (
    "the logarithm of the cross-entropy alone takes a quarter of DiceCELoss's time, the passes over pixels half of it; "
    "what is left are small operations, some µs each whatever their size, and in larger batches images that no longer "
    "fit into the processor's cache"
)
LOOK = "its cells need the overlap and the cross-entropy, so that images are passed over more often than in DiceCELoss"
MOVED = f"{LOOK}; where the grid begins anywhere, images are copied and distances are measured in every step"


def section(*, quick: bool = False) -> Section:
    """The chapter on the losses."""
    goals, rows, all_ratios = [], [], {}
    with one_thread():
        for images, side, rounds in SIZES[: 1 if quick else None]:
            ms, found = compare([*VARIANTS, "hybrid", SOFT, PHASE], images, side, 7 if quick else rounds)
            of = f"{images} x 1 x {side}²"
            worst, best = (pick(VARIANTS, key=found.__getitem__) for pick in (max, min))
            rows += [
                (of, label, ms[name], found[name])
                for label, name in (
                    (BASE, BASE),
                    (f"fastest of the 24, {best}", best),
                    (f"slowest of the 24, {worst}", worst),
                    ("hybrid, without cells", "hybrid"),
                    (SOFT, SOFT),
                    ("soft-sm, random phase", PHASE),
                )
            ]
            goals += [
                Goal(f"slowest of the 24 variants / DiceCELoss, {of}", 0.8, found[worst], why=SMALL),
                Goal(f"soft-sm / DiceCELoss, {of}", 1.2, found[SOFT], why=LOOK),
                Goal(f"soft-sm with random phase / DiceCELoss, {of}", 1.5, found[PHASE], why=MOVED),
            ]
            all_ratios[of] = found
        batches = (1, 4, 16) if quick else (1, 4, 16, 64)
        most = max(operations(name, n) for name in VARIANTS for n in batches)
        phase = max(operations(PHASE, n) for n in batches)
        goals += [
            Goal("operations of a step, most of the 24 variants at batches of 1 to 64", 100, most),
            Goal("operations of a step, soft-sm with random phase", 140, phase),
            Goal("memory for the gradient, most of the 24", 8, max(map(bytes_kept, VARIANTS)), " bytes a pixel"),
            Goal("memory for the gradient, soft-sm", 8, bytes_kept(SOFT), " bytes a pixel", "BCE and overlap: both"),
        ]
        if not quick:
            plot(7, PLOT)
    each = [(name, *(f"{found[name]:.2f}" for found in all_ratios.values())) for name in VARIANTS]
    text = "\n\n".join(
        [
            "Forward and backward on one thread, float32, facts given; ratios are medians within rounds in which every "
            "loss had one turn.",
            table(("batch", "loss", "ms", "/ DiceCELoss"), rows),
            "Time of a step against what an image holds:\n\n![Time against pixels, cells, masses and batch]"
            f"({PLOT.relative_to(PLOT.parents[1])})",
            "All 24, divided by DiceCELoss:",
            table(("loss", *all_ratios), each),
        ]
    )
    return Section("The losses", goals, text)


BY_MASS = "the pixels of the masses are looked for and added up mass by mass in every step"


def rivals(*, quick: bool = False) -> Section:
    """The chapter on the losses that are not ours."""
    names = [name for name in LOSSES if name not in VARIANTS and name not in CORES and name != SOFT]
    with one_thread():
        ms, found = compare(names, 4, 256, 3 if quick else 15)
    why = dict.fromkeys(("blob", "cc-dice-bce"), f"{BY_MASS}, and the entropy of each pixel by PyTorch's own function")
    why["catmil"] = f"{BY_MASS}, and the largest value of each"
    why["ssl"] = "it normalises each image by its neighbourhoods"
    by_truth = ("blob", "cc-dice-bce", "catmil", "boundary", "density-asp", "generalised-surface", "ssl")  # truth only
    goals = [Goal(f"{name} / DiceCELoss, 4 x 1 x 256²", 3, found[name], why=why.get(name, "")) for name in by_truth]
    rows = [(name, ms[name], found[name]) for name in sorted(names, key=found.__getitem__)]
    text = (
        f"{table(('loss', 'ms', '/ DiceCELoss'), rows)}\n\n`instance` and `hausdorff-dt` label and measure what the "
        "network predicts, in every step and on the CPU; `ssim` and `rmi` look at the neighbours of each pixel. Maps "
        "of distances and labels of the truth come with the facts."
    )
    return Section("The losses of others", goals, text)
