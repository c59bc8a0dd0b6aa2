"""One run: train on a fold, keep the weights that are best on its validation part, measure them on its test part."""

import csv
import io
import logging
import math
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from massmatch.data import Cohort, CohortError, Split
from massmatch.losses import ImageLoss
from massmatch.metrics import Counts
from massmatch.training.adversary import Adversary, make_adversary
from massmatch.training.batches import Batch, Samples, batch_sizes, shuffled
from massmatch.training.evaluate import evaluate_run, probabilities
from massmatch.training.experiment import Experiment, make_loss, make_model, parts_of
from massmatch.training.files import load_checkpoint, save_checkpoint, write_atomic
from massmatch.training.precision import FABRIC, LAYOUTS, Speed, arranged, fastest
from massmatch.training.progress import Progress, Watch
from massmatch.training.weights import save_weights

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the number format at every start


def run(experiment: Experiment, cohort: Cohort, fold: int, runs: Path, watch: Watch = lambda progress: None) -> Path:
    """Train and measure one fold; its folder. A run that is done is left alone, a cut-off one goes on.

    Raises ValueError for unknown names or an impossible fold, FloatingPointError (with the ids of the batch) when
    the loss is no longer a number; then `last.ckpt` still holds the end of the epoch before.
    """
    out = experiment.folder(runs, fold)
    if (out / "DONE").is_file():
        return out
    loss, model = make_loss(experiment.loss), seeded_model(experiment)
    parts = parts_of(experiment, cohort, fold)
    out.mkdir(parents=True, exist_ok=True)
    threads = experiment.threads or torch.get_num_threads()
    with deterministic(threads):
        fabric = Fabric(accelerator="auto", devices=1, precision="32-true")
        speed = recorded_speed(out, experiment, fold, parts, model, fabric.device, threads)
        fabric = Fabric(accelerator="auto", devices=1, precision=FABRIC[speed.precision])  # type: ignore[arg-type]
        _fit(fabric, experiment, model, loss, cohort, parts, out, speed, watch)
        evaluate_run(out, cohort, watch)
    (out / "DONE").touch()
    return out


def seeded_model(experiment: Experiment) -> nn.Module:
    """The network with the first weights of its seed; nothing else in a run draws random numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)
        return make_model(experiment.model, experiment.width)


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Threads are part of an experiment: they change the order in which floats are added."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def recorded_speed(
    out: Path,
    experiment: Experiment,
    fold: int,
    parts: Split,
    model: nn.Module,
    device: torch.device,
    threads: int,
) -> Speed:
    """The number format and memory layout of this run: timed once, then read from `experiment.yaml`."""
    path = out / "experiment.yaml"
    if path.is_file():
        found = yaml.safe_load(path.read_text())["resolved"]
        return Speed(found["precision"], found["memory"])
    speed = fastest(model, experiment.precision, experiment.memory, device)
    resolved = {
        **speed._asdict(),
        "threads": threads,
        "device": device.type,
        "images": {name: len(ids) for name, ids in parts._asdict().items()},
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {name: version(name) for name in ("massmatch", "torch", "lightning-fabric", "numpy")},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    facts = {**experiment.model_dump(), "fold": fold, "resolved": resolved}
    write_atomic(path, yaml.safe_dump(facts, sort_keys=False).encode())
    return speed


def make_optimizer(experiment: Experiment, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Adam, or AdamW with PyTorch's weight decay of 0.01."""
    kind = torch.optim.AdamW if experiment.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=experiment.learning_rate)


def make_schedule(experiment: Experiment, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler | None:
    """PyTorch's one-cycle (Smith and Topin 2018) over all steps of the training, or none."""
    if experiment.schedule == "constant":
        return None
    return OneCycleLR(optimizer, max_lr=experiment.learning_rate, total_steps=steps)


def _fit(
    fabric: Fabric,
    experiment: Experiment,
    model: nn.Module,
    loss: ImageLoss,
    cohort: Cohort,
    parts: Split,
    out: Path,
    speed: Speed,
    watch: Watch,
) -> None:
    """The epochs that are left: train, validate, keep the best, write the checkpoint."""
    train, validation = (Samples(cohort, ids, loss) for ids in (parts.train, parts.validation))
    if not any(sample.mask.any() for sample in train.samples):
        raise CohortError(f"masks/: none of the {len(train)} training images has a mass: look with massmatch check")
    layout, model = LAYOUTS[speed.memory], arranged(model, speed.memory)
    loss.fit((torch.from_numpy(s.mask)[None] for s in train.samples), [s.density for s in train.samples])
    learned = [p for p in loss.parameters() if p.requires_grad]
    optimizer = make_optimizer(experiment, [*model.parameters(), *learned])
    per_epoch = sum(1 for _ in batch_sizes(len(train), experiment.batch_size))
    schedule = make_schedule(experiment, optimizer, per_epoch * experiment.epochs)
    network, optimizer = fabric.setup(model, optimizer)
    loss.to(fabric.device)
    adversary = make_adversary(experiment, fabric.device)
    critics = (None, None) if adversary is None else (adversary.critics, adversary.optimizer)
    step = Step(fabric, network, loss, optimizer, schedule, adversary, layout)
    state = Progressed(model, loss, optimizer, schedule, *critics)
    history = state.resume(out / "last.ckpt")
    best = max((row["val_dsc_pooled"] for row in history), default=-math.inf)
    for epoch in range(len(history), experiment.epochs):
        start = time.perf_counter()
        network.train()
        loss.set_epoch(epoch, experiment.epochs)
        total, seen = 0.0, 0
        for number, batch in enumerate(shuffled(train, experiment.batch_size, experiment.seed, epoch), start=1):
            total += step(batch, epoch) * len(batch.ids)
            seen += len(batch.ids)
            dsc = history[-1]["val_dsc_pooled"] if history else math.nan
            done, steps = epoch * per_epoch + number, per_epoch * experiment.epochs
            watch(Progress("train", done, steps, epoch + 1, experiment.epochs, total / seen, dsc))
        counts = validated(network, validation, experiment.threshold)
        row = {
            "epoch": epoch + 1,
            "loss": total / seen,
            "val_dsc_pooled": counts.dice,
            "val_sen_pooled": counts.sensitivity,
            "val_predicted_px": counts.tp + counts.fp,
            "learning_rate": optimizer.param_groups[0]["lr"],
            "seconds": round(time.perf_counter() - start, 2),
        }
        history.append(row)
        if counts.dice >= best:  # a tie goes to the longer training: at first, every network predicts nothing
            best = counts.dice
            save_weights(out / "best.safetensors", model, experiment, train.samples[0].image.shape, cohort)
        state.save(out / "last.ckpt", history)
        write_history(out / "history.csv", history)


class Step(NamedTuple):
    """One step of the training: everything that moves."""

    fabric: Fabric
    network: nn.Module
    loss: ImageLoss
    optimizer: Any
    schedule: LRScheduler | None
    adversary: Adversary | None
    layout: torch.memory_format

    def __call__(self, batch: Batch, epoch: int) -> float:
        """Learn from a batch; the loss of it before. FloatingPointError names the images where it is not finite."""
        images = self.fabric.to_device(batch.images.to(memory_format=self.layout))
        target = self.fabric.to_device(batch.target)
        self.optimizer.zero_grad(set_to_none=True)
        outputs = self.network(images)
        value = over_outputs(self.loss, outputs, target, batch.facts)
        if self.adversary is not None:
            value = value + self.adversary.penalty(images, main_output(outputs))
        if not torch.isfinite(value):
            raise FloatingPointError(f"the loss is {value.item()} in epoch {epoch + 1} on the images {batch.ids}")
        self.fabric.backward(value)
        self.optimizer.step()
        if self.adversary is not None:
            self.adversary.learn(images, main_output(outputs), target)
        if self.schedule is not None:
            self.schedule.step()
        return float(value.item())


def main_output(outputs: Tensor | list[Tensor]) -> Tensor:
    """The first of several outputs is the main one."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def over_outputs(
    loss: ImageLoss, outputs: Tensor | list[Tensor], target: Tensor, facts: list[dict[str, Tensor]]
) -> Tensor:
    """The loss of a network's output, or its mean over the outputs of a network with deep supervision."""
    logits = [outputs] if isinstance(outputs, Tensor) else outputs
    return torch.stack([loss(each.contiguous(), target, facts=facts) for each in logits]).mean()


def validated(network: nn.Module, samples: Samples, threshold: float) -> Counts:
    """Pixels of all validation images added up. Pooled, so that images without mass reward no empty prediction."""
    network.eval()
    counts = [
        Counts.of(probabilities(network, s.image, samples.normalise) > threshold, s.mask) for s in samples.samples
    ]
    return Counts(*(sum(column) for column in zip(*counts, strict=True)))


class Progressed(NamedTuple):
    """Everything that a checkpoint holds."""

    model: nn.Module
    loss: nn.Module
    optimizer: Any
    schedule: LRScheduler | None
    critics: nn.Module | None = None
    critic_optimizer: torch.optim.Optimizer | None = None

    def save(self, path: Path, history: list[dict[str, Any]]) -> None:
        """After an epoch."""
        parts = {name: part.state_dict() for name, part in self._asdict().items() if part is not None}
        save_checkpoint(path, {**parts, "history": history, "rng": torch.get_rng_state()})

    def resume(self, path: Path) -> list[dict[str, Any]]:
        """Load the checkpoint, if there is one; the rows of the epochs that are done."""
        if not path.is_file():
            return []
        state = load_checkpoint(path)
        for name, part in self._asdict().items():
            if part is not None:
                part.load_state_dict(state[name])
        torch.set_rng_state(state["rng"])
        return state["history"]


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """history.csv, a row per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0])
    writer.writeheader()
    writer.writerows(history)
    write_atomic(path, text.getvalue().encode())
