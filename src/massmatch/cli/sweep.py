"""The commands `sweep` and `status`."""

import inspect
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from massmatch.cli.arguments import CohortArgument, Runs, present
from massmatch.cli.screen import told
from massmatch.cli.train import train
from massmatch.errors import UsageError

SWEPT = {"cohort", "loss", "model", "fold", "folds", "seed", "out", "devices", "nodes"}  # of train: asked otherwise
MANY = ("--losses", "--models", "--folds", "--seeds")
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


def trained_as_in_train(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `train` behind its own, but for those of which a sweep has many."""
    own = [each for each in inspect.signature(command, eval_str=True).parameters.values() if each.name != "training"]
    options = inspect.signature(train, eval_str=True).parameters.values()
    taken = [each for each in options if each.name not in SWEPT | {each.name for each in own}]
    more = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in taken]
    command.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
    return command


@trained_as_in_train
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
        str | None,
        typer.Option(
            help="3a (cells by smallest or mean mass) or 3b (sigmoid or direct); 1 is drawn and measured without any "
            "training and needs no images."
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="paper: five folds of 80, 10 and 10 %, batches of 4, a constant learning rate of 1e-4 (section 4.1)."
        ),
    ] = None,
    letter: Annotated[
        bool, typer.Option("--letter", help="The Spatial Matching losses as printed, without our readings.")
    ] = False,
    losses: Annotated[list[str] | None, typer.Option(help="One or more, with options as in train.")] = None,
    models: Annotated[list[str] | None, typer.Option(help="One or more networks; by default aunet.")] = None,
    folds: Annotated[list[int] | None, typer.Option(help="Which, from 0; by default all.")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="One or more; by default 0.")] = None,
    of: Annotated[int, typer.Option("--of", help="How many folds there are.")] = 5,
    jobs: Annotated[int, typer.Option(help="Runs at a time on this machine.", min=1)] = 1,
    engine: Annotated[str, typer.Option(help="local, or ray: a Ray cluster.")] = "local",
    address: Annotated[str, typer.Option(help="ray: HOST:PORT, or auto: a cluster of this machine.")] = "auto",
    cpus_per_run: Annotated[int, typer.Option(help="ray: cores of each run, and its threads.", min=1)] = 1,
    gpus_per_run: Annotated[float, typer.Option(help="ray: GPUs of each run; 0.5: two share one.", min=0)] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the runs, and what they would take.")] = False,
    out: Runs = Path("runs"),
    **training: Any,
) -> None:
    """Train and measure many runs: a table of the paper, a figure, or losses by networks by folds by seeds.

    The same command again goes on with what is not done. A run that fails stops no other; the exit code is 4 then.
    """
    with told("checkpoint of each run"):
        from massmatch.cli import figures, sweeping
        from massmatch.runs.experiment import Experiment
        from massmatch.sweeps.engines.local import cores

        if figure == "1":
            figures.show_figure_1(out)
            return
        if figure in figures.ELSEWHERE:
            raise UsageError(figures.ELSEWHERE[figure])
        asked = {name for name in ctx.params if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")}
        given = {name: value for name, value in training.items() if name in asked}
        fields = {name: value for name, value in given.items() if name in Experiment.model_fields}
        chosen = {"table": table, "figure": figure, "losses": losses, "models": models, "folds": folds, "seeds": seeds}
        chosen |= {"protocol": protocol, "letter": letter}
        content = {name: value for name, value in chosen.items() if name in asked}
        if "of" in asked:
            fields["folds"] = of
        where = sweeping.Where(engine, jobs, address, cpus_per_run, gpus_per_run, cores())
        others = {name: value for name, value in given.items() if name not in fields}
        failed = sweeping.sweep(cohort, plan, content, fields, where, others, out, dry_run=dry_run)
    if failed:
        sys.exit(RUNS_FAILED)


def status(
    runs: Annotated[Path, typer.Argument(help="A folder of runs.", callback=present("folder"))] = Path("runs"),
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds, on a terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """How far runs are: epochs, best validation DSC, time left. Any machine that sees the folders may ask."""
    with told():
        from massmatch.cli import sweeping

        sweeping.status(runs, watch=watch, as_json=as_json)
