"""How fast a training is, part by part, beside a plain PyTorch loop and MONAI's trainer."""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import torch
from ignite.engine import Events
from lightning_fabric import Fabric
from monai.engines import SupervisedTrainer
from torch.utils.data import DataLoader

from massmatch.data import Cohort, write_cohort
from massmatch.data.phantom import phantoms
from massmatch.losses import make_loss
from massmatch.runs.experiment import Experiment, make_model, parts_of
from massmatch.training import batches, loop, step
from massmatch.training.batches import normalised
from massmatch.training.run import run
from measuring import Goal, Section, medians, one_thread, table, take_turns

LOSS, WIDTH, SIDE, BATCH = "soft-sm:random_phase=true", 8, 128, 4
PLAIN, MONAI = "plain PyTorch loop, float32", "MONAI SupervisedTrainer, float32"
OURS, OURS_FLOAT32 = "massmatch", "massmatch, float32"


class Stopwatch:
    """Adds up the seconds within parts of a program; what one part does within another counts for the inner one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.inner: list[float] = []

    @contextlib.contextmanager
    def within(self, part: str) -> Iterator[None]:
        """Time of a block."""
        self.inner.append(0.0)
        start = time.perf_counter()
        yield
        took = time.perf_counter() - start
        self.seconds[part] = self.seconds.get(part, 0.0) + took - self.inner.pop()
        if self.inner:
            self.inner[-1] += took

    def around(self, part: str, function: Callable) -> Callable:
        """The function, timed."""

        def timed(*arguments, **options):
            with self.within(part):
                return function(*arguments, **options)

        return timed

    def waiting(self, function: Callable) -> Callable:
        """A generator function, timed while somebody waits for its next item."""

        def timed(*arguments, **options):
            items = function(*arguments, **options)
            while True:
                with self.within("wait for data"):
                    item = next(items, None)
                if item is None:
                    return
                yield item

        return timed


@contextlib.contextmanager
def watched() -> Iterator[Stopwatch]:
    """The parts of every training within the block. What a step does beside loss, backward and step is the network."""
    watch = Stopwatch()
    parts = (
        (loop, "validated", "validation"),
        (step.Step, "learn", "forward"),
        (step, "over_outputs", "loss"),
        (Fabric, "backward", "backward"),
        (step.Step, "move", "step"),
    )
    with contextlib.ExitStack() as stack:
        for owner, name, part in parts:
            stack.enter_context(patch.object(owner, name, watch.around(part, getattr(owner, name))))
        epoch = batches.Loader.epoch
        stack.enter_context(patch.object(batches.Loader, "epoch", watch.waiting(epoch)))
        yield watch


def ours(cohort: Cohort, epochs: int, out: Path, precision: str) -> dict[str, float]:
    """Seconds of each part of a whole run of ours."""
    experiment = Experiment(
        cohort=cohort.name,
        fingerprint=cohort.fingerprint,
        loss=LOSS,
        width=WIDTH,
        epochs=epochs,
        batch_size=BATCH,
        precision=precision,
    )
    with watched() as watch:
        run(experiment, cohort, 0, out)
    return watch.seconds


def images_of(cohort: Cohort) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The training part of the first fold, as tensors."""
    experiment = Experiment(cohort=cohort.name, fingerprint=cohort.fingerprint, loss=LOSS, width=WIDTH)
    samples = [cohort.load(id) for id in parts_of(experiment, cohort, 0).train]
    return [(normalised(s.image), torch.from_numpy(s.mask)[None].float()) for s in samples]


def plain(images: list[tuple[torch.Tensor, torch.Tensor]], epochs: int) -> float:
    """Seconds of a loop as everyone writes it: the loss measures the truth itself, in every step."""
    torch.manual_seed(0)
    network, loss = make_model("aunet", WIDTH), make_loss(LOSS)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    start = time.perf_counter()
    for _ in range(epochs):
        for x, y in DataLoader(images, BATCH, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            value = loss(network(x), y)
            value.backward()
            optimizer.step()
            value.item()
    return time.perf_counter() - start


def monai(images: list[tuple[torch.Tensor, torch.Tensor]], epochs: int) -> float:
    """Seconds of the same in MONAI's trainer."""
    torch.manual_seed(0)
    network = make_model("aunet", WIDTH)
    items = [{"image": x, "label": y} for x, y in images]
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(items, BATCH, shuffle=True, drop_last=True),
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-4),
        loss_function=make_loss(LOSS),
        decollate=False,
    )
    ends: list[float] = []
    for event in (Events.STARTED, Events.COMPLETED):
        trainer.add_event_handler(event, lambda: ends.append(time.perf_counter()))
    trainer.run()
    return ends[-1] - ends[0]


def compiled(images: list[tuple[torch.Tensor, torch.Tensor]], rounds: int) -> str:
    """What a sentence says of a network that is compiled: how long that takes, and what a step gains."""
    x, y = (torch.stack(each) for each in zip(*images[:BATCH], strict=True))
    network, loss = make_model("aunet", WIDTH), make_loss(LOSS)
    facts = loss.facts(y)

    def step(network: torch.nn.Module) -> None:
        network.zero_grad()
        loss(network(x), y, facts=facts).backward()

    with one_thread(), tempfile.TemporaryDirectory() as fresh, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=fresh):
        faster = torch.compile(network)
        start = time.perf_counter()
        step(faster)
        first = time.perf_counter() - start
        took = medians(take_turns({"eager": lambda: step(network), "compiled": lambda: step(faster)}, rounds, warm=1))
    gain = took["eager"] - took["compiled"]
    pays = f"pays after {first / gain:.0f} steps" if gain > 0 else "never pays"
    eager, compiled = (f"{1e3 * took[name]:.0f} ms" for name in ("eager", "compiled"))
    return (
        "With the network compiled (`torch.compile`, one thread) forward, loss and backward take "
        f"{compiled} instead of {eager}, and the first step {first:.0f} s: here it {pays}. "
        "`train` has no option for it."
    )


def section(*, quick: bool = False) -> Section:
    """The chapter on training."""
    epochs, turns = (1, 1) if quick else (2, 2)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made_up = phantoms(6 if quick else 20, seed=0, size=SIDE)
        cohort = write_cohort(made_up, root / "cohort", reader="phantom", options={}, licence="made up")
        images = images_of(cohort)
        seen = len(images) // BATCH * BATCH * epochs
        parts: list[dict[str, float]] = []
        rates: dict[str, list[float]] = {OURS: [], OURS_FLOAT32: [], PLAIN: [], MONAI: []}
        for turn in range(turns):
            for name, precision in ((OURS, "auto"), (OURS_FLOAT32, "float32")):
                took = ours(cohort, epochs, root / f"{name}{turn}", precision)
                rates[name].append(seen / (sum(took.values()) - took["validation"]))
                parts += [took] if name == OURS else []
            rates[PLAIN].append(seen / plain(images, epochs))
            rates[MONAI].append(seen / monai(images, epochs))
    over = {
        name: statistics.median(a / b for a, b in zip(rates[OURS], rates[name], strict=True)) for name in (PLAIN, MONAI)
    }
    total = sum(sum(took.values()) for took in parts)
    shares = {part: sum(took[part] for took in parts) / total for part in parts[0]}
    why = "most of a step is the network, whose convolutions are the same library's everywhere"
    goals = [Goal(f"images a second / {name}", 2, over[name], why=why, at_least=True) for name in over]
    goals.append(Goal("wait for data, of the time of a training", 3, 100 * shares["wait for data"], " %"))
    rows = [(name, f"{statistics.median(found):.1f}") for name, found in rates.items()]
    text = (
        f"AU-Net of width {WIDTH} with {LOSS}, batches of {BATCH} images of {SIDE} x {SIDE}, {torch.get_num_threads()} "
        f"threads, training without validation:\n\n{table(('program', 'images a second'), rows)}\n\n"
        "Where the time of a training goes:\n\n"
        f"{table(('part', 'share'), [(part, f'{100 * share:.1f} %') for part, share in shares.items()])}\n\n"
        "nnU-Net needs an environment of its own, and has a script of its own: `benchmarks/nnunet.py`."
        + ("" if quick else f" {compiled(images, 15)}")
    )
    return Section("Training", goals, text)
