"""One run: train on a fold, keep the weights that are best on its validation part, measure them on its test part."""

import os
import random
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from massmatch.data import Cohort, Split
from massmatch.errors import RunError, UsageError, refusals_as_usage
from massmatch.losses import make_loss
from massmatch.machine import require_processes
from massmatch.runs.atomic import need_space, remove_leftovers
from massmatch.runs.experiment import Experiment, own_code, parts_of
from massmatch.runs.failure import failures_written
from massmatch.runs.folder import CHECKPOINT, DONE, EXPERIMENT, FAILED, NATIVE_ROWS, PREDICTIONS, RunFolder
from massmatch.runs.lock import locked
from massmatch.runs.precision import Speed
from massmatch.runs.record import densities, recorded, refuse_another, refuse_other_parts
from massmatch.runs.weights import best_device
from massmatch.training.distributed.collectives import gathered
from massmatch.training.distributed.launch import Processes, launch, make_fabric
from massmatch.training.distributed.share import Share
from massmatch.training.distributed.signals import Stop
from massmatch.training.evaluate import Finished, Measured, evaluate, evaluate_run
from massmatch.training.loop import Job, seeded_model, train
from massmatch.training.progress import Progress, Watch
from massmatch.training.start import check_start
from massmatch.training.state import random_state, set_random_state
from massmatch.training.tracking import check_trackers

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PATIENCE = 600  # seconds for the first process to time the network


def run(
    experiment: Experiment,
    cohort: Cohort,
    fold: int,
    runs: Path,
    watch: Watch = lambda progress: None,
    *,
    devices: int = 1,
    nodes: int = 1,
    workers: int = 0,
    track: tuple[str, ...] = (),
    strict_resume: bool = False,
    speed: Speed | None = None,
) -> Path:
    """Train one fold and measure it; returns its folder. A run that is done is left alone, one that was interrupted
    goes on.

    `devices` and `nodes`: how many processes share each batch, on one machine and on how many machines, which see one
    file system. `workers`: processes that load images for each of them. `track`: names of TRACKERS. `strict_resume`:
    go on from a sound last.ckpt or not at all. `speed`: number format and memory layout for a run that has not begun,
    where its experiment leaves them open ("auto"), so that runs that are compared have the same; by default what is
    fastest here.

    Raises UsageError for unknown names, an impossible fold, other data than the experiment's, a speed that is not the
    experiment's, a folder of another run, or a table that divides the images otherwise than when the run began;
    HeldError for one in which another process writes; RunError (with the ids of the batch) when loss, gradient or
    weights are no longer numbers; RunError for a batch that is too large for the device; OSError when the disk is full;
    StoppedError after SIGTERM or Ctrl-C. After any of these `last.ckpt` holds the last finished epoch, if there is one,
    and the same call goes on from there; FAILED.json says why, except after StoppedError.

    A run that is done and whose tables are damaged is measured again with its weights, with a warning; RunError where
    its last.ckpt is gone.
    """
    out, processes, device = experiment.folder(runs, fold), Processes(devices, nodes), best_device()
    refuse_another(out, experiment, fold)
    if (out / DONE).is_file():
        if not (fault := RunFolder(out).fault()):
            refuse_other_parts(RunFolder(out), parts_of(experiment, cohort, fold), cohort)
            forget_failure(out)
            return out
        announce_mending(out, fault)
        strict_resume = True
    check(experiment, cohort, speed)
    check_start(experiment, fold)
    check_trackers(track)
    processes.check(experiment.batch_size, device)
    require_processes("--workers of all --devices", workers * devices, least=0)
    parts = parts_of(experiment, cohort, fold)
    if (out / EXPERIMENT).is_file():
        refuse_other_parts(RunFolder(out), parts, cohort)
    with prepared(out) if processes.leads else awaited(out):
        model = seeded_model(experiment)
        need_space(out, space(cohort, parts, model, averaged=experiment.ema > 0))
        used: dict[str, int | str] = {"workers": workers, "processes": processes.total}
        used["cohort_path"] = str(cohort.root.resolve())  # so that later commands need not be told
        if make_loss(experiment.loss).reads_densities:
            used["densities"] = densities(parts, cohort)
        decided = recorded(out, experiment, fold, parts, model, device, speed, **used)
        job = Job(experiment, cohort, fold, out, decided, workers, track, strict_resume)
        launch(make_fabric(decided.speed.precision, device, processes), processes, work, (job,), watch)
        if processes.leads:
            (out / "previous.ckpt").unlink(missing_ok=True)  # a run that is done needs no second one
            (out / DONE).touch()  # last: nothing looks at such a run again
    return out


def work(fabric: "Fabric", watch: Watch, stop: Stop, job: Job) -> None:
    """What every process of a run does: train, and measure its share of the test part."""
    with isolated(job.recorded.threads, job.experiment.seed):
        train(fabric, job, watch, stop)
        fabric.barrier()  # the best weights are on the disk now

        def watch_and_stop(now: Progress) -> None:
            watch(now)
            stop.raise_if_asked()

        measure_together(fabric, job, watch_and_stop)


def measure_together(fabric: "Fabric", job: Job, watch: Watch) -> None:
    """Measure as `evaluate_run` does, each process its share: every image once, rows in the order of the test part."""
    if fabric.world_size == 1:
        evaluate_run(job.out, job.cohort, watch)
        return
    share = Share(fabric.global_rank, fabric.world_size)
    finished = Finished.of(job.out, job.cohort)
    own = finished._replace(test=share.part(finished.test), model=finished.model.to(fabric.device))
    pictures, tick = job.out / PREDICTIONS, own.ticking(watch)
    found = evaluate(own.model, job.cohort, own.test, own.threshold, out=pictures, tick=tick)
    parts = gathered(fabric, found)
    if share.leads:
        Measured.joined(parts, finished.test).write(job.out)


def check(experiment: Experiment, cohort: Cohort, speed: Speed | None = None) -> None:
    """Raise UsageError for an unknown loss, data that have changed since the experiment was described, or a speed that
    is not among those which the experiment allows."""
    asked = Speed(experiment.precision, experiment.memory)
    if speed and any(want not in ("auto", given) for want, given in zip(asked, speed, strict=True)):
        raise UsageError(f"speed: must fit the experiment's ({asked}), but is ({speed})")
    with refusals_as_usage():
        make_loss(experiment.loss)
    if experiment.own_code != (found := own_code(experiment.loss, experiment.model)):
        raise UsageError(
            f"the code of {experiment.loss} or {experiment.model} has changed: it is {found}, but the experiment is "
            f"about {experiment.own_code}; an experiment with the new one makes a run of its own"
        )
    if cohort.fingerprint != experiment.fingerprint:
        raise UsageError(
            f"{cohort.root} has changed: its fingerprint is {cohort.fingerprint}, but the experiment is about "
            f"{experiment.fingerprint}; an experiment with the new one makes a run of its own"
        )


@contextmanager
def prepared(out: Path) -> Iterator[None]:
    """The folder of a run, writable and held by this process; OSError before anything is computed if it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".probe.{os.getpid()}.part"
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{out}: a file is in the way of this folder; give another --out") from None
    except OSError as error:
        raise RunError(f"cannot write in {out} ({error.strerror}): give another --out") from None
    with locked(out):
        remove_leftovers(out, out / PREDICTIONS)
        forget_failure(out)
        if not (out / DONE).is_file():
            (out / NATIVE_ROWS).unlink(missing_ok=True)  # measured with the weights that were best until now
        (out / DONE).unlink(missing_ok=True)  # of a run that is mended
        with failures_written(out):
            yield


def announce_mending(out: Path, fault: str) -> None:
    """Warn that the tables of a finished run are written again. Raises RunError where its checkpoint is gone."""
    if not (out / CHECKPOINT).is_file():
        raise RunError(
            f"{out} is done, but {fault}; without its {CHECKPOINT} it cannot be mended: remove the folder to start "
            "this run again"
        )
    warnings.warn(f"{out} is done, but {fault}: its tables are written again", stacklevel=3)


def forget_failure(out: Path) -> None:
    """Remove what an earlier start left that failed: the run goes on now, or is done."""
    (out / FAILED).unlink(missing_ok=True)


@contextmanager
def awaited(out: Path) -> Iterator[None]:
    """The folder of a run, once another process on the same file system has prepared it. Raises OSError after PATIENCE
    seconds.
    """
    end = time.monotonic() + PATIENCE
    while not (out / EXPERIMENT).is_file():
        if time.monotonic() > end:
            raise RunError(
                f"{out}: the first process has not prepared it for {PATIENCE} s; do all see one file system?"
            )
        time.sleep(0.1)
    yield


def space(cohort: Cohort, parts: Split, model: nn.Module, *, averaged: bool = False) -> int:
    """Bytes that a run fills at most: three checkpoints with Adam's two moments (and the average of the weights, where
    there is one), the weights twice, 16-bit pictures."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    image = cohort.load(parts.test[0]).image
    return weights * (3 * (3 + averaged) + 2) + len(parts.test) * image.size * 2


@contextmanager
def isolated(threads: int, seed: int) -> Iterator[None]:
    """Within this context a run has its own number of threads and its own random numbers; afterwards those of before
    are back.

    Threads are part of an experiment: they change the order in which floats are added.
    """
    before, state = torch.get_num_threads(), random_state()
    torch.set_num_threads(threads)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # for networks and losses that draw from it
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        set_random_state([state], 0)
