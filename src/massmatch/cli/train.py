"""The command `train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from massmatch.cli.arguments import CohortArgument, Runs
from massmatch.cli.screen import screen, show, told, watching
from massmatch.errors import UsageError, refusals_as_usage

if TYPE_CHECKING:
    from massmatch.runs.experiment import Experiment


def train(
    cohort: CohortArgument,
    loss: Annotated[
        str, typer.Option(help="A name of `massmatch losses`, options behind it as in name:a=1,b=2.")
    ] = "soft-sm:random_phase=true",
    model: Annotated[str, typer.Option(help="A name of `massmatch models`.")] = "aunet",
    width: Annotated[int, typer.Option(help="Channels of the first level; 64 is the paper's, 8 suits a CPU.")] = 64,
    fold: Annotated[int, typer.Option(help="Which fold, from 0.")] = 0,
    folds: Annotated[int, typer.Option(help="How many folds.")] = 5,
    scheme: Annotated[str, typer.Option(help="kfold, paper (80/10/10), split or official.")] = "kfold",
    epochs: Annotated[int, typer.Option(help="Rounds through the training images.")] = 50,
    seed: Annotated[int, typer.Option(help="Of folds, first weights and order.")] = 0,
    batch_size: Annotated[
        int,
        typer.Option(
            help="Images per step (the paper's 4), of all processes together: so --devices needs no other rate."
        ),
    ] = 4,
    optimizer: Annotated[str, typer.Option(help="adam or adamw.")] = "adam",
    schedule: Annotated[
        str, typer.Option(help="constant, or one-cycle, which learns far faster in a short run.")
    ] = "constant",
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak of one-cycle. By default 1e-4 (the paper's), 2e-3 with one-cycle."),
    ] = None,
    augment: Annotated[
        str, typer.Option(help="Of the training images: none, flips, or strong; `massmatch augment` draws them.")
    ] = "none",
    adversarial: Annotated[
        float, typer.Option(help="Weight of critics that learn to tell predictions from truth; 0: none.")
    ] = 0.0,
    precision: Annotated[
        str,
        typer.Option(
            help="float32, bfloat16, float16 (scaled), or auto: bfloat16 where the processor has it and it is faster."
        ),
    ] = "auto",
    memory: Annotated[str, typer.Option(help="contiguous, channels-last, or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    threshold: Annotated[
        str, typer.Option(help="A pixel above it is predicted mass; validation: the best on the validation part.")
    ] = "0.5",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that load images for each device. Changes no result.")
    ] = 0,
    devices: Annotated[
        int,
        typer.Option(
            min=1,
            help="GPUs (or processes, on a machine without) that share each batch: its images and its statistics in "
            "batch normalisation. Results change by rounding only.",
        ),
    ] = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Machines with so many devices each, started by torchrun or srun.")
    ] = 1,
    track: Annotated[
        list[str] | None, typer.Option(help="tensorboard or mlflow, besides history.csv; may be given twice.")
    ] = None,
    strict_resume: Annotated[
        bool, typer.Option("--strict-resume", help="Go on from a sound last.ckpt, or not at all.")
    ] = False,
    out: Runs = Path("runs"),
) -> None:
    """Train on one fold and measure it on its test part. The same command again goes on, or shows the result."""
    with told():
        from massmatch.data import open_cohort
        from massmatch.runs.experiment import PEAK
        from massmatch.training.distributed.launch import Processes
        from massmatch.training.run import run

        opened = open_cohort(cohort)
        experiment = resolved(
            cohort=opened.name,
            fingerprint=opened.fingerprint,
            loss=loss,
            model=model,
            width=width,
            scheme=scheme,
            folds=folds,
            seed=seed,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            schedule=schedule,
            learning_rate=learning_rate if learning_rate is not None else PEAK.get(schedule, 1e-4),
            augment=augment,
            adversarial=adversarial,
            precision=precision,
            memory=memory,
            threads=threads,
            threshold=threshold,
        )
        with watching(loss) as watch:
            folder = run(
                experiment,
                opened,
                fold,
                out,
                watch,
                devices=devices,
                nodes=nodes,
                workers=workers,
                track=tuple(track or ()),
                strict_resume=strict_resume,
            )
        if not Processes(devices, nodes).leads:
            return
        show([folder])
        screen.print(f"{folder}", soft_wrap=True)


def resolved(**fields: Any) -> "Experiment":
    """The experiment, with wrong values in one line each and names checked before anything runs."""
    from pydantic import ValidationError

    from massmatch.losses import make_loss
    from massmatch.runs.experiment import Experiment, make_model

    with refusals_as_usage():
        make_loss(fields["loss"])
        make_model(fields["model"], 1)
    try:
        return Experiment(**fields)
    except ValidationError as error:
        lines = [f"--{str(e['loc'][0]).replace('_', '-')}: {e['msg']}, but is {e['input']!r}" for e in error.errors()]
        raise UsageError("\n".join(lines)) from None
