"""Training in one call, from Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from massmatch.data import Cohort, open_cohort
from massmatch.runs.experiment import experiment_on
from massmatch.runs.folder import RunFolder
from massmatch.runs.recipes import Recipe, with_recipe
from massmatch.training.progress import Watch
from massmatch.training.run import run


def train(
    cohort: Cohort | Path | str,
    *,
    fold: int = 0,
    recipe: Recipe = "paper",
    out: Path | str = "runs",
    devices: int = 1,
    nodes: int = 1,
    workers: int = 0,
    track: Sequence[str] = (),
    strict_resume: bool = False,
    watch: Watch = lambda progress: None,
    **options: Any,
) -> RunFolder:
    """Train a network on one fold of a cohort and measure it on the fold's test part.

    The same call again goes on after an interruption, or does nothing where the run is done.

    Args:
        cohort: a cohort, or its folder.
        fold: which fold, from 0.
        recipe: defaults of the options: "paper", or "strong", what the network in this package was trained with.
        out: where the folders of runs are.
        devices: GPUs (or processes, on a machine without) that share each batch.
        nodes: machines with so many devices each, started by torchrun or srun.
        workers: processes that load images for each device; they change no result.
        track: "tensorboard" or "mlflow", besides history.csv.
        strict_resume: go on from a sound last.ckpt, or not at all.
        watch: called with the progress again and again.
        options: fields of `TrainingOptions`, such as loss, model, width, epochs and seed.

    Returns:
        The run, whose `path` is its folder; `rows()` has the metrics of each test image, `history()` a row per epoch.

    Raises:
        UsageError: for an unknown recipe, option, loss, network or fold, or a value that cannot be.
        DataError: for a cohort that is not as it must be.
        RunError: for a training that cannot be finished, such as one whose loss is no longer a number.

    Example:
        run = massmatch.train("cohort", loss="soft-sm:random_phase=true", width=8, epochs=12)
        run.rows()["dsc"].mean()
    """
    opened = open_cohort(cohort)
    folder = run(
        experiment_on(opened, **with_recipe(recipe, options)),
        opened,
        fold,
        Path(out),
        watch,
        devices=devices,
        nodes=nodes,
        workers=workers,
        track=tuple(track),
        strict_resume=strict_resume,
    )
    return RunFolder(folder)
