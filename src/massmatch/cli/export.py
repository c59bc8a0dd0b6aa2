"""The command `export`."""

from pathlib import Path
from typing import Annotated

import typer

from massmatch.cli.arguments import present
from massmatch.cli.screen import screen, told


def export(
    to: Annotated[str, typer.Option(help="onnx, for onnxruntime and others; or torch, for torch.export.load.")],
    run: Annotated[
        Path | None,
        typer.Argument(
            help="The folder of a run, or a weights file; by default the network in this package.",
            callback=present("run or weights"),
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file; by default beside the weights, or here, ending in .onnx or .pt2.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Images, or folders of them, to check it on, such as COHORT/images; by default made-up ones."
        ),
    ] = None,
    own_network: Annotated[
        list[str] | None, typer.Option(help="A network of one's own, module:Class, that the weights may be of.")
    ] = None,
) -> None:
    """Write a network as a file that runs without massmatch, and check that it answers as the network does.

    Its input is grey levels of a prepared image, its output probabilities; preparation, threshold and orientation
    stand in its metadata. A file that differs by more than 0.0001 of a probability is not written.
    """
    with told():
        from massmatch.inference.export.file import TOLERANCE, export
        from massmatch.inference.packaged import PACKAGED

        if run is None:  # its folder is that of the installed package
            run, out = PACKAGED, out or Path(f"{PACKAGED.stem}{'.onnx' if to == 'onnx' else '.pt2'}")
        done = export(run, to, out=out, images=images or (), own=own_network or ())
        text = (
            f"{done.path}: on {done.images} images no probability differs by more than {done.difference:.1e} "
            f"({TOLERANCE:.0e} is allowed), and {done.differing} pixels cross the threshold"
        )
        screen.print(text, soft_wrap=True)
