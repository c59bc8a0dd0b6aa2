"""The commands `sweep` and `status`."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from massmatch.cli.arguments import CohortArgument, Runs, StrictResume, Track, Workers, present
from massmatch.cli.options import given, options_of
from massmatch.cli.screen import told
from massmatch.errors import UsageError
from massmatch.runs.options import TrainingOptions
from massmatch.runs.recipes import Recipe

SWEPT = ("loss", "model", "folds", "seed")  # options of `train` of which a sweep has many
MANY = ("--losses", "--models", "--folds", "--seeds", "--ensemble")
RUNS_FAILED = 4


class ManyValues(TyperCommand):
    """A command whose options MANY take all that follows up to the next option: --losses bce dice --seeds 0 1."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Spread out, then as those of any command."""
        for option, following in pairwise([*args, "-"]):
            if option in MANY and following.startswith("-"):
                ctx.fail(f"Option {option!r} requires one or more values.")
        return super().parse_args(ctx, spread(args))


def spread(arguments: list[str]) -> list[str]:
    """Each value of one of MANY with the option's name before it, as click wants it."""
    result: list[str] = []
    option = ""
    for each in arguments:
        if each.startswith("-"):
            option = each if each in MANY else ""
            result += [] if option else [each]
        else:
            result += [option, each] if option else [each]
    return result


@options_of(TrainingOptions, leave_out=SWEPT, last=True)
def sweep(
    ctx: typer.Context,
    cohort: CohortArgument,
    plan: Annotated[
        Path | None,
        typer.Argument(help="YAML: table, figure or losses, models, folds, seeds, training.", callback=present("plan")),
    ] = None,
    table: Annotated[
        int | None, typer.Option(help="1, 2 or 3 of the paper; 1 and 3 with the plain cores and the hybrid loss.")
    ] = None,
    figure: Annotated[
        Literal["1", "2", "3a", "3b", "4"] | None,
        typer.Option(
            help="3a (cells by smallest or mean mass) or 3b (sigmoid or direct); 1 is drawn and measured without any "
            "training and needs no images; 2 and 4 name the commands that draw them."
        ),
    ] = None,
    protocol: Annotated[
        Literal["paper"] | None,
        typer.Option(
            help="paper: five folds of 80, 10 and 10 %, batches of 4, a constant learning rate of 1e-4, no "
            "augmentation (section 4.1)."
        ),
    ] = None,
    letter: Annotated[
        bool, typer.Option("--letter", help="The Spatial Matching losses as printed, without our readings.")
    ] = False,
    recipe: Annotated[
        Recipe,
        typer.Option(
            help="Defaults of the training: paper, those that stand here; strong, what the network in this package was "
            "trained with, its loss too where none is named. Options that are given win."
        ),
    ] = "paper",
    losses: Annotated[list[str] | None, typer.Option(help="One or more, with options as in train.")] = None,
    models: Annotated[list[str] | None, typer.Option(help="One or more networks; by default aunet.")] = None,
    folds: Annotated[list[int] | None, typer.Option(help="Which, from 0; by default all.")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="One or more; by default 0.")] = None,
    of: Annotated[int, typer.Option("--of", help="How many folds there are.", min=2)] = 5,
    jobs: Annotated[int, typer.Option(help="Runs at a time on this machine.", min=1)] = 1,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="ray: a Ray cluster.")] = "local",
    address: Annotated[str, typer.Option(help="ray: HOST:PORT, or auto: a cluster of this machine.")] = "auto",
    cpus_per_run: Annotated[int, typer.Option(help="ray: cores of each run, and its threads.", min=1)] = 1,
    gpus_per_run: Annotated[float, typer.Option(help="ray: GPUs of each run; 0.5: two share one.", min=0)] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the runs, and what they would take.")] = False,
    workers: Workers = 0,
    track: Track = None,
    strict_resume: StrictResume = False,
    out: Runs = Path("runs"),
    **training: Any,
) -> None:
    """Train and measure many runs: a table of the paper, a figure, or losses by networks by folds by seeds.

    The same command again goes on with what is not done. A run that fails stops no other; the exit code is 4 then.
    """
    with told("checkpoint of each run"):
        from massmatch.cli import figures, sweeping
        from massmatch.data import open_cohort
        from massmatch.sweeps.machines import Machines
        from massmatch.sweeps.plan import combined
        from massmatch.sweeps.sweep import Sweep

        if figure == "1":
            asked_besides = given(ctx, {name: None for name in ctx.params if name not in ("figure", "out", "cohort")})
            refuse(asked_besides, "--figure 1 is measured without cohort, training and runs")
            figures.show_figure_1(out)
            return
        of_ray = {"address": address, "cpus_per_run": cpus_per_run, "gpus_per_run": gpus_per_run}
        refuse(given(ctx, of_ray if engine == "local" else {"jobs": jobs}), f"--engine {engine} has no such choice")
        if figure in figures.ELSEWHERE:
            raise UsageError(figures.ELSEWHERE[figure])
        chosen: dict[str, Any] = {"table": table, "figure": figure, "losses": losses, "models": models}
        chosen |= {"folds": folds, "seeds": seeds, "protocol": protocol, "letter": letter, "recipe": recipe}
        fields = given(ctx, training) | ({"folds": of} if given(ctx, {"of": of}) else {})
        asked = combined(plan, given(ctx, chosen), fields)
        machines = Machines(engine, jobs, address, cpus_per_run, gpus_per_run)
        others = given(ctx, {"workers": workers, "track": track, "strict_resume": strict_resume})
        runs = Sweep.planned_on(open_cohort(cohort), asked, out, machines, others)
        threads_given = asked.training.get("threads") is not None
        failed = sweeping.show_sweep(runs, dry_run=dry_run, threads_given=threads_given)
    if failed:
        sys.exit(RUNS_FAILED)


def refuse(options: dict[str, Any], why: str) -> None:
    """Raise UsageError for the first of these options, which stands on the command line and changes nothing."""
    for name in options:
        raise UsageError(f"--{name.replace('_', '-')}: {why}: leave it out")


def status(
    runs: Annotated[Path, typer.Argument(help="A folder of runs.", callback=present("folder"))] = Path("runs"),
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds, on a terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """How far runs are: epochs, best validation DSC, time left. Any machine that sees the folders may ask."""
    with told():
        from massmatch.cli import sweeping

        if watch and as_json:
            raise UsageError("--watch: --json is printed once: give one of them")
        sweeping.status(runs, watch=watch, as_json=as_json)
