"""The epochs of one run: train, validate, keep the best, write the checkpoint."""

import math
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from massmatch.data import Cohort, DataError
from massmatch.errors import RunError
from massmatch.losses import ImageLoss, LossSpec, make_loss
from massmatch.runs.checkpoint import first_unfinite
from massmatch.runs.experiment import Experiment, parts_of
from massmatch.runs.folder import CHECKPOINT, WEIGHTS
from massmatch.runs.history import Row, best_so_far, epochs_since_best, write_history
from massmatch.runs.network import make_model, refuse_lost_state
from massmatch.runs.precision import LAYOUTS, arranged
from massmatch.runs.record import Recorded
from massmatch.runs.weights import save_weights
from massmatch.training.adversary import make_adversary
from massmatch.training.average import averaging
from massmatch.training.batches import Loader, Samples, normalised, workers_that_fit
from massmatch.training.distributed.collectives import share_statistics, summed
from massmatch.training.distributed.share import Share
from massmatch.training.distributed.signals import Stop, StoppedError
from massmatch.training.evaluate import probabilities
from massmatch.training.own_state import Kept
from massmatch.training.progress import Progress, Watch
from massmatch.training.start import started
from massmatch.training.state import Progressed
from massmatch.training.step import Step
from massmatch.training.thresholds import THRESHOLDS, at_end, best_threshold
from massmatch.training.tracking import Trackers

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Job(NamedTuple):
    """What every process of a run is handed: the experiment, its cohort and fold, the run's folder, and options of the
    machine.
    """

    experiment: Experiment
    cohort: Cohort
    fold: int
    out: Path
    recorded: Recorded
    workers: int
    track: tuple[str, ...]
    strict_resume: bool


def seeded_model(experiment: Experiment) -> nn.Module:
    """A new network, whose first weights follow from the seed and `start`. RunError if it does not fit into memory."""
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)
        try:
            return started(make_model(experiment.model, experiment.width), experiment)
        except RuntimeError as error:  # PyTorch has no kind of its own for it
            if "can't allocate memory" not in str(error):
                raise
            raise RunError(
                f"{experiment.model} of width {experiment.width} does not fit into memory: take a smaller --width"
            ) from None


def train(fabric: "Fabric", job: Job, watch: Watch, stop: Stop) -> None:
    """Train the epochs that are left, on every process of a run; the first one writes and reports progress.

    Raises DataError for a training or validation part without a mass, RunError as `Step` does, StoppedError after the
    step in which a signal came; the checkpoint of the epoch before is there then.
    """
    experiment, out, share = job.experiment, job.out, Share(fabric.global_rank, fabric.world_size)
    parts = parts_of(experiment, job.cohort, job.fold)
    loss = make_loss(experiment.loss)
    train = Samples(job.cohort, parts.train, loss, experiment.augment, experiment.seed)
    validation = Samples(job.cohort, share.part(parts.validation), loss)
    workers = workers_that_fit(train, experiment.batch_size, job.workers)
    loader = Loader(train, experiment.batch_size, experiment.seed, share=share, workers=workers)
    step, state = moving(fabric, job, loss, train, steps=len(loader.order) * experiment.epochs)
    if not job.cohort.mass_fraction[parts.validation].any():
        raise DataError(
            f"masks/: none of the {len(parts.validation)} validation images has a mass, so no epoch is better than one "
            "that predicts nothing: take another fold or --scheme"
        )
    if len(parts.validation) < fabric.world_size:
        raise DataError(
            f"samples.csv: the validation part has {len(parts.validation)} images, fewer than the {fabric.world_size} "
            "processes that share it: take fewer --devices"
        )
    history = state.resume(out / CHECKPOINT, strict=job.strict_resume)
    best = best_so_far(history)
    curves = Trackers(job.track if share.leads else (), experiment, out)
    with closing(loader), worker_deaths(loader, stop), curves as trackers:
        for epoch in range(len(history), experiment.epochs):
            if 0 < experiment.patience <= epochs_since_best(history):
                break
            row = one_epoch(step, loader, epoch, history, job, watch, stop)
            shown = step.network if state.average is None else state.kept
            row |= validated(fabric, shown, validation, experiment.threshold)
            if LossSpec.parse(experiment.model).is_own:
                first = normalised(train.samples[0].image, train.normalise)[None].to(fabric.device)
                refuse_lost_state(experiment.model, experiment.width, state.model, first, job.recorded.speed.memory)
            row |= {"learning_rate": step.optimizer.param_groups[0]["lr"], "skipped_steps": step.skipped}
            row["seconds"] = round(time.perf_counter() - row.pop("start"), 2)
            history.append(row)
            if row["val_dsc_pooled"] >= best:  # a tie goes to the longer training: at first, all predict nothing
                best = row["val_dsc_pooled"]
                if share.leads:
                    size = train.samples[0].image.shape
                    threshold = row["val_threshold"]
                    save_weights(out / WEIGHTS, state.kept, experiment, threshold, size, job.cohort, job.fold)
            state.save(out / CHECKPOINT, history)
            if share.leads:
                write_history(out, history)
                trackers.log(history)
        if share.leads:
            write_history(out, history)  # a kill may have come between the last checkpoint and its row
            trackers.log(history)
    if math.isinf(best):
        raise RunError(f"no epoch of {out} gave numbers on the validation part: there are no weights to keep")
    if share.leads and isinstance(experiment.threshold, str):
        warn_of_end(out, next(row["val_threshold"] for row in reversed(history) if row["val_dsc_pooled"] == best))


def moving(fabric: "Fabric", job: Job, loss: ImageLoss, train: Samples, steps: int) -> tuple[Step, Progressed]:
    """The step of a training, and the parts of it that a checkpoint holds."""
    experiment = job.experiment
    if not any(sample.mask.any() for sample in train.samples):
        raise DataError(f"masks/: none of the {len(train)} training images has a mass: look with massmatch check")
    loss.fit((torch.from_numpy(s.mask)[None] for s in train.samples), [s.density for s in train.samples])
    model = seeded_model(experiment)
    if fabric.world_size > 1:
        model = share_statistics(model)
    model = arranged(model, job.recorded.speed.memory)
    learned = [p for p in loss.parameters() if p.requires_grad]
    optimizer = make_optimizer(experiment, [*model.parameters(), *learned])
    schedule = make_schedule(experiment, optimizer, steps)
    network, optimizer = fabric.setup(model, optimizer)
    loss.to(fabric.device)
    adversary = make_adversary(experiment, fabric.device)
    critics, critic_optimizer = (None, None) if adversary is None else (adversary.critics, adversary.optimizer)
    average = averaging(model, experiment.ema)
    layout = LAYOUTS[job.recorded.speed.memory]
    step = Step(fabric, network, loss, optimizer, schedule, adversary, layout, average, experiment.clip)
    moved = (model, loss, optimizer, schedule, critics, critic_optimizer, average)
    return step, Progressed(fabric, what(job), *moved)


def what(job: Job) -> dict[str, Any]:
    """The facts that tie a checkpoint to its run, and the versions that wrote it."""
    of = {name: getattr(job.experiment, name) for name in ("model", "width", "loss", "seed", "cohort", "fingerprint")}
    return {**of, "fold": job.fold, "versions": {name: version(name) for name in ("massmatch", "torch")}}


def one_epoch(
    step: Step, loader: Loader, epoch: int, history: list[Row], job: Job, watch: Watch, stop: Stop
) -> dict[str, Any]:
    """Learn from every batch of an epoch. Returns the epoch's number, its mean loss, and when it began."""
    start, per_epoch, epochs = time.perf_counter(), len(loader.order), job.experiment.epochs
    step.network.train()
    step.loss.set_epoch(epoch, epochs)
    learners = {job.experiment.loss: step.loss, job.experiment.model: step.network.module}
    kept = [Kept(text, each) for text, each in learners.items() if LossSpec.parse(text).is_own]
    step.skipped = 0
    total, seen = 0.0, 0.0
    best = best_so_far(history)
    dsc = best if math.isfinite(best) else math.nan
    for number, batch in enumerate(loader.epoch(epoch), start=1):
        own = len(batch.ids) if batch.weight else 0
        value, images, signum = summed(step.fabric, (step(batch, epoch) * own, own, stop.signum))
        total, seen = total + value, seen + images
        if signum:
            raise StoppedError(stop.signum or signal.SIGTERM, resumes=bool(history))
        done = epoch * per_epoch + number
        watch(Progress("train", done, per_epoch * epochs, epoch + 1, epochs, total / seen, dsc))
    if not step.moved:
        raise RunError(
            f"every gradient by the network's weights was 0 in all of epoch {epoch + 1}, so nothing is learned: "
            f"{job.experiment.loss} may be the same whatever the network says, as a softmax over one channel is"
        )
    for each in kept:
        each.compare()
    if (name := first_unfinite(step.network.module.state_dict())) is not None:
        raise RunError(f"{name} is no longer finite after the last step in epoch {epoch + 1} on the images {batch.ids}")
    return {"epoch": epoch + 1, "loss": total / seen, "start": start}


@contextmanager
def worker_deaths(loader: Loader, stop: Stop) -> Iterator[None]:
    """Put the death of a worker, which PyTorch raises wherever the training happens to be, in words that help."""
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        if not loader.lost:
            raise
        stop.raise_if_asked()  # whoever ended the run may have ended the workers first
        raise RunError(
            f"one of the {loader.loader.num_workers} workers that load images died in epoch {loader.order.epoch + 1} "
            f"({str(error).splitlines()[0]}): perhaps memory or /dev/shm ran out; the same command with --workers 0 "
            "goes on from the last finished epoch"
        ) from None


def validated(fabric: "Fabric", network: Any, samples: Samples, threshold: float | str) -> dict[str, Any]:
    """Pixels of all validation images added up, at the given threshold or at that of THRESHOLDS with the best DSC.

    Pooled, so that images without mass reward no empty prediction; of equally good thresholds the one nearest to 0.5.
    NaN, with a warning that names the images, where the network gave no numbers.
    """
    network.eval()
    tried = THRESHOLDS if isinstance(threshold, str) else np.array([threshold])
    (mass, rest), bad = np.zeros((2, len(tried) + 1), int), []  # pixels by how many of the thresholds they exceed
    for sample in samples.samples:
        found = probabilities(network, sample.image, samples.normalise)
        exceeded = np.searchsorted(tried, found, side="left")
        mass += np.bincount(exceeded[sample.mask], minlength=len(tried) + 1)
        rest += np.bincount(exceeded[~sample.mask], minlength=len(tried) + 1)
        bad += [sample.id] if not np.isfinite(found).all() else []
    if bad:
        warnings.warn(f"no numbers on the validation images {bad[:5]}: this epoch is never the best", stacklevel=2)
    *pixels, lost = summed(fabric, (*mass.tolist(), *rest.tolist(), len(bad)))
    counts, at = best_threshold(tried, *np.array(pixels, int).reshape(2, -1))
    return {
        "val_dsc_pooled": math.nan if lost else counts.dice,
        "val_sen_pooled": math.nan if lost else counts.sensitivity,
        "val_predicted_px": counts.tp + counts.fp,
        "val_threshold": at,
    }


def warn_of_end(out: Path, threshold: float) -> None:
    """Warn where the search for a threshold stopped at an end of its range."""
    if at_end(threshold):
        which = "lowest" if threshold < 0.5 else "highest"
        warnings.warn(
            f"{out}: the threshold of the best epoch, {threshold:.8g}, is the {which} that was tried: a better one may "
            "lie beyond it, so take differences to other runs with care",
            stacklevel=2,
        )


def make_optimizer(experiment: Experiment, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Adam, or AdamW with PyTorch's weight decay of 0.01."""
    kind = torch.optim.AdamW if experiment.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=experiment.learning_rate)


def make_schedule(experiment: Experiment, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler | None:
    """PyTorch's one-cycle (Smith and Topin 2018) over all steps of the training, or none."""
    if experiment.schedule == "constant":
        return None
    return OneCycleLR(optimizer, max_lr=experiment.learning_rate, total_steps=steps)
