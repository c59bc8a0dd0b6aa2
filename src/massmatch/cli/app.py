"""The command `app`."""

from pathlib import Path
from typing import Annotated

import typer

from massmatch.cli.arguments import present
from massmatch.cli.screen import screen, told


def app(
    run: Annotated[
        Path | None, typer.Option(help="The folder of a run, whose network reads.", callback=present("run"))
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A weights file, whose network reads.", callback=present("weights"))
    ] = None,
    cohort: Annotated[
        Path | None,
        typer.Option(
            help="A prepared cohort, or a folder with images/ and masks/, whose images the loss bench shows.",
            callback=present("folder"),
        ),
    ] = None,
    modality: Annotated[
        str, typer.Option(help="Which a DICOM file must name; any takes digitised film too (RG, CR, DX, OT).")
    ] = "MG",
    port: Annotated[int, typer.Option(min=1024, max=65535, help="On which the pages are served.")] = 8017,
) -> None:
    """Serve pages to this machine: a loss bench, and the reading of mammograms.

    On the bench a prediction is painted over a truth, or taken from an image of --cohort: value, cells, weights and
    gradient of any loss of the catalogue. To read, a mammogram is dropped on the page: contours, findings at any
    threshold, files to keep; by default with the network in this package. Nothing is asked of or sent to another
    machine. Ctrl+C ends it.
    """
    with told():
        from massmatch.app.server import HOST, refuse_taken, serve
        from massmatch.cli.predicting import chosen_weights
        from massmatch.data import open_cohort

        refuse_taken(port)
        networks = chosen_weights(run, weights, [])
        opened = None if cohort is None else open_cohort(cohort)
        screen.print(f"http://{HOST}:{port}/ until Ctrl+C")
        serve(port, networks, modality, opened)
