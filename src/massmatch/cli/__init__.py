"""The command line. Each command imports what it needs when it runs, so that --help needs no torch."""

from typing import Annotated

import typer

from massmatch import __version__
from massmatch.cli.app import app as pages
from massmatch.cli.augment import augment
from massmatch.cli.compare import compare
from massmatch.cli.datasets import check, export_nnunet, prepare
from massmatch.cli.demo import demo, phantom
from massmatch.cli.evaluate import evaluate
from massmatch.cli.explain import explain
from massmatch.cli.export import export
from massmatch.cli.extras import needs
from massmatch.cli.losses import losses
from massmatch.cli.models import models
from massmatch.cli.nnunet import nnunet
from massmatch.cli.predict import predict
from massmatch.cli.program import Program
from massmatch.cli.report import report
from massmatch.cli.screen import DEBUG, screen
from massmatch.cli.sweep import ManyValues, status, sweep
from massmatch.cli.train import train

app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Breast mass segmentation on whole mammograms, and a fair comparison of the losses. "
    "For research, not for diagnosis.",
)


def show_version(asked: bool) -> None:
    """Print the version and end the program."""
    if asked:
        screen.print(f"massmatch {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=show_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
) -> None:
    """Take what is asked of the program itself and not of a command."""
    (DEBUG.set if debug else DEBUG.clear)()


app.add_typer(losses, name="losses")
app.add_typer(models, name="models")
app.add_typer(nnunet, name="nnunet")
app.command()(needs("data")(prepare))
app.command()(needs("data")(check))
app.command()(needs("train")(augment))
app.command("export-nnunet")(needs("data")(export_nnunet))
app.command()(needs("data")(phantom))
app.command()(needs("train")(train))
app.command(cls=ManyValues)(needs("train")(sweep))
app.command()(needs("train")(status))
app.command()(needs("train")(evaluate))
app.command(cls=ManyValues)(needs("train")(predict))
app.command()(needs("train")(export))
app.command("app")(needs("app")(pages))
app.command()(needs("report")(compare))
app.command()(needs("report")(report))
app.command()(needs("report")(explain))
app.command()(needs("report")(demo))


def main() -> None:
    """The console script: run the command that was given."""
    app(prog_name="massmatch")
