"""The command `predict`."""

from pathlib import Path
from typing import Annotated

import typer

from massmatch.cli.screen import told


def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or a weights file.")],
    images: Annotated[
        list[Path], typer.Argument(help="Mammograms in DICOM, or grey PNG, TIFF or JPEG; or folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for <name>_mask.png, <name>_contour.png, <name>_contours.json.")],
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Name results of DICOM after the file, not after a hash of its UID.")
    ] = False,
    allow_for_processing: Annotated[
        bool, typer.Option("--allow-for-processing", help="Take raw detector data (DICOM FOR PROCESSING).")
    ] = False,
    own_network: Annotated[
        list[str] | None, typer.Option(help="A network of one's own, module:Class, that the weights may be of.")
    ] = None,
) -> None:
    """Segment mammograms: a mask (0 and 255), a picture with contours, and the contours' points, in the stored pixels.

    A file that cannot be segmented is named at the end, the others are done, and the exit code is 3.
    """
    with told():
        from massmatch.cli.predicting import predict_all

        own = own_network or ()
        predict_all(run, images, out, keep_names=keep_names, allow_for_processing=allow_for_processing, own=own)
