"""What a sweep will take, from runs that are done or begun, or else from one timed step of each network."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from massmatch.data import Cohort
from massmatch.losses import LOSSES
from massmatch.runs.experiment import Experiment, parts_of
from massmatch.runs.folder import RunFolder, run_folders
from massmatch.runs.network import make_model
from massmatch.runs.precision import LAYOUTS, Speed, arranged, fastest, on_threads, shortest
from massmatch.runs.weights import best_device
from massmatch.sweeps.speeds import Family, settled
from massmatch.sweeps.status import Status, experiment_of, history_of
from massmatch.sweeps.tables import Planned
from massmatch.training.batches import normalised
from massmatch.training.step import main_output

WORK = ("fingerprint", "model", "width", "batch_size", "scheme", "folds", "adversarial")  # decide how much there is
SPEED = ("threads", "precision", "memory")  # and how fast it goes
MOST = 2 * 128 * 128  # pixels of the batch that is timed on a CPU: a step on more takes minutes and says little more


class Cost(NamedTuple):
    """Seconds of an epoch of each run, and where they come from."""

    epochs: list[float]
    source: str

    def corrected(self, planned: Sequence[Planned], states: Sequence[Status]) -> list[float]:
        """The same, with the median of what the epochs of like runs have taken by now in the place of an estimate."""
        found: dict[tuple[object, ...], list[float]] = {}
        keys = [what_decides(run.experiment.model_dump()) for run in planned]
        for key, status in zip(keys, states, strict=True):
            if status.epoch_seconds is not None:
                found.setdefault(key, []).append(status.epoch_seconds)
        return [
            statistics.median(found[key]) if key in found else seconds
            for key, seconds in zip(keys, self.epochs, strict=True)
        ]


def cost_of(
    planned: Sequence[Planned],
    states: Sequence[Status],
    runs: Path,
    cohort: Cohort,
    per_gpu: float = 1.0,
    speeds: Mapping[Family, Speed] = {},
) -> Cost:
    """What an epoch of each planned run takes; NaN for those that are done.

    `per_gpu`: how many runs share a GPU. A step is timed alone; shared, it takes about so many times as long. `speeds`:
    what the sweep has decided; a network whose way of computing is still open is timed in the one that is fastest here.
    """
    past = epochs_so_far(runs)
    timed: dict[tuple[object, ...], float] = {}
    epochs, sources = [], set()
    for run, status in zip(planned, states, strict=True):
        if status.state == "done":
            epochs.append(math.nan)
            continue
        key = what_decides(run.experiment.model_dump())
        if key not in past and key not in timed:
            timed[key] = per_gpu * timed_epoch(settled(run.experiment, speeds), cohort, run.fold)
        epochs.append(past[key] if key in past else timed[key])
        sources.add("the epochs of runs in this folder" if key in past else "one timed step of each network")
    return Cost(epochs, " and ".join(sorted(sources, reverse=True)))


def what_decides(facts: dict[str, object]) -> tuple[object, ...]:
    """The fields of an experiment that its time depends on most; the loss counts little beside a network."""
    return tuple(facts.get(name, Experiment.model_fields[name].default) for name in WORK + SPEED)


def epochs_so_far(runs: Path) -> dict[tuple[object, ...], float]:
    """Median seconds of an epoch, for each kind of run that the folder holds."""
    found: dict[tuple[object, ...], list[float]] = {}
    for run in map(RunFolder, run_folders(runs) if runs.is_dir() else ()):
        facts, history = experiment_of(run), history_of(run)
        if facts and not history.empty:
            found.setdefault(what_decides(facts), []).extend(history["seconds"])
    return {key: statistics.median(times) for key, times in found.items()}


def timed_epoch(experiment: Experiment, cohort: Cohort, fold: int) -> float:
    """Seconds of an epoch: one step of the network with the hybrid loss times the number of steps, and validation.

    On a CPU, where a step takes as long as it has pixels, it is timed on a batch of at most MOST of them.
    """
    parts = parts_of(experiment, cohort, fold)
    image = normalised(cohort.load(parts.train[0]).image, cohort.normalise)
    batch, more = image.expand(experiment.batch_size, -1, -1, -1), 1.0
    if best_device().type == "cpu":
        batch, more = smaller(batch, MOST)
    with on_threads(experiment.threads):
        step, look = time_of_a_step(experiment, batch.contiguous())
    each, at_a_time = more / experiment.batch_size, len(batch)  # how much an image is of what was timed
    return each * (step * len(parts.train) + look * at_a_time * len(parts.validation))


def smaller(batch: torch.Tensor, most: int) -> tuple[torch.Tensor, float]:
    """A part of (B, 1, H, W) with about so many pixels, of at least two images, and how many times as many there were.

    Sides are halved, so that they stay multiples of what the networks need, and not below 64.
    """
    pixels = batch.numel()
    batch = batch[:2]
    while batch.numel() > most and min(batch.shape[-2:]) >= 128:
        batch = batch[..., : batch.shape[-2] // 2, : batch.shape[-1] // 2]
    return batch, pixels / batch.numel()


def time_of_a_step(experiment: Experiment, batch: torch.Tensor) -> tuple[float, float]:
    """Seconds of a training step on the batch and of a prediction of its first image."""
    device = best_device()
    model, loss = make_model(experiment.model, experiment.width), LOSSES["hybrid"]()
    speed = fastest(model, experiment.precision, experiment.memory, device, at_once=True)
    arranged(model.to(device), speed.memory)
    optimizer = torch.optim.Adam(model.parameters())
    batch = batch.to(device, memory_format=LAYOUTS[speed.memory])
    target = (batch > 0.5).float()

    def step() -> None:
        value = loss(main_output(model(batch)).float(), target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        value.item()  # waits for a GPU

    def look() -> None:
        with torch.inference_mode():
            model.eval()(batch[:1]).max().item()

    with torch.autocast(device.type, torch.bfloat16, enabled=speed.precision == "bfloat16"):
        return shortest(step), shortest(look)
