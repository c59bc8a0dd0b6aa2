"""The command line. Each command imports what it needs when it runs, so that --help needs no torch."""

import typer

from massmatch.cli.compare import compare
from massmatch.cli.datasets import check, export_nnunet, prepare
from massmatch.cli.demo import demo, phantom
from massmatch.cli.evaluate import evaluate
from massmatch.cli.explain import explain
from massmatch.cli.losses import losses
from massmatch.cli.models import models
from massmatch.cli.nnunet import nnunet
from massmatch.cli.predict import predict
from massmatch.cli.report import report
from massmatch.cli.sweep import ManyValues, status, sweep
from massmatch.cli.train import train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Breast mass segmentation on whole mammograms, and a fair comparison of the losses. "
    "For research, not for diagnosis.",
)
app.add_typer(losses, name="losses")
app.add_typer(models, name="models")
app.add_typer(nnunet, name="nnunet")
app.command()(prepare)
app.command()(check)
app.command("export-nnunet")(export_nnunet)
app.command()(phantom)
app.command()(train)
app.command(cls=ManyValues)(sweep)
app.command()(status)
app.command()(evaluate)
app.command()(predict)
app.command()(compare)
app.command()(report)
app.command()(explain)
app.command()(demo)


def main() -> None:
    """The console script."""
    app(prog_name="massmatch")
