"""The command `train`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from massmatch.cli.arguments import CohortArgument, Runs, StrictResume, Track, Workers
from massmatch.cli.options import given, options_of
from massmatch.cli.screen import errors, screen, show, told, watching
from massmatch.runs.options import TrainingOptions
from massmatch.runs.recipes import Recipe, with_recipe


@options_of(TrainingOptions)
def train(
    context: typer.Context,
    cohort: CohortArgument,
    fold: Annotated[int, typer.Option(help="Which fold, from 0.")] = 0,
    recipe: Annotated[
        Recipe,
        typer.Option(
            help="Defaults of the options: paper, those that stand here; strong, what the network in this package was "
            "trained with. Options that are given win."
        ),
    ] = "paper",
    workers: Workers = 0,
    devices: Annotated[
        int,
        typer.Option(
            min=1,
            help="GPUs (or processes, on a machine without) that share each batch: its images and its statistics in "
            "batch normalisation. Results change by rounding only, but with a loss of your own that is no mean over "
            "images.",
        ),
    ] = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Machines with so many devices each, started by torchrun or srun.")
    ] = 1,
    track: Track = None,
    strict_resume: StrictResume = False,
    out: Runs = Path("runs"),
    **options: Any,
) -> None:
    """Train on one fold and measure it on its test part. The same command again goes on, or shows the result."""
    with told("finished epoch"):
        from massmatch.data import open_cohort
        from massmatch.runs.experiment import experiment_on
        from massmatch.runs.record import relatives
        from massmatch.training import entry
        from massmatch.training.distributed.launch import Processes

        opened, chosen = open_cohort(cohort), with_recipe(recipe, given(context, options))
        experiment = experiment_on(opened, **chosen)
        if not experiment.folder(out, fold).exists():
            for folder, differs in relatives(experiment, out, fold).items():
                errors.print(f"begins anew, in a folder of its own: {folder} has {differs}", style="yellow")
        with watching(experiment.loss) as watch:
            run = entry.train(
                opened,
                fold=fold,
                out=out,
                devices=devices,
                nodes=nodes,
                workers=workers,
                track=track or (),
                strict_resume=strict_resume,
                watch=watch,
                **chosen,
            )
        if not Processes(devices, nodes).leads:
            return
        show([run.path])
        screen.print(f"{run.path}", soft_wrap=True)
