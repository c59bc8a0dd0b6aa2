"""The command `evaluate`."""

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from massmatch.cli.arguments import present
from massmatch.cli.screen import screen, show, told, watching

if TYPE_CHECKING:
    import pandas as pd


class In(StrEnum):
    """The frame in which masks are compared."""

    PREPARED = "prepared"
    NATIVE = "native"


def evaluate(
    run: Annotated[
        Path, typer.Argument(help="The folder of a run; with --out also a weights file.", callback=present("folder"))
    ],
    cohort: Annotated[
        Path | None,
        typer.Argument(
            help="A prepared cohort, or a folder with images/ and masks/; by default that of the run.",
            callback=present("folder"),
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for rows.csv, candidates.csv and predictions of all images of another cohort."),
    ] = None,
    frame: Annotated[
        In,
        typer.Option(
            help="Compare masks as the cohort was prepared, or in the native frame: size, mirror and crop undone, mm "
            "from its spacing; this writes rows_native.csv and leaves rows.csv as it is."
        ),
    ] = In.PREPARED,
    own_network: Annotated[
        list[str] | None, typer.Option(help="A network of one's own, module:Class, that the weights may be of.")
    ] = None,
) -> None:
    """Measure a run's weights again on its test part, or, with --out, on every image of another cohort.

    On another cohort images are turned as the network has learnt them, and predictions turned back, as in `predict`.
    rows.csv gets a row of metrics per image; candidates.csv, for FROC curves, a row per piece that is left of the
    regions of the probability map above 0.1 when each is cut at half of its own maximum, with its highest probability
    as its score: the run's threshold plays no part in it.
    """
    with told():
        from massmatch.inference.evaluation import evaluate_weights

        native = frame is In.NATIVE
        with watching(run.parent.name if run.is_dir() else run.name) as watch:
            found = evaluate_weights(run, cohort, out, native=native, own=own_network or (), watch=watch)
        if native:
            show_native(found.rows, found.path)
        else:
            show([found.path.parent])


def in_mm(distance: float) -> str:
    """A distance, or the word for one that no image has."""
    return "undefined" if math.isnan(distance) else f"{distance:.2f} mm"


def show_native(rows: "pd.DataFrame", path: Path) -> None:
    """The table of rows in the native frame, and their distances in mm where spacings are known."""
    from massmatch.metrics import summary
    from massmatch.reports.tables import COUNTED, comparison, on_screen

    table = on_screen(comparison({"native frame": rows}), f"{len(rows)} test images")
    table.caption = (
        "Percent but for HAU (pixels of the native frame of each image). Misses are counted, as in rows.csv. " + COUNTED
    )
    screen.print(table)
    line = summary(rows)
    if known := int(line["hau_mm_n"]):
        hits = f"on the {line['hits_mm_n']} hits among them {in_mm(line['hau_mm_hits'])} and "
        hits = f"{hits}{in_mm(line['hau95_mm_hits'])}" if line["hits_mm_n"] else "none of them is a hit"
        over = f"over the {known} images with mass and a known spacing"
        screen.print(f"HAU {in_mm(line['hau_mm'])}, HAU95 {in_mm(line['hau95_mm'])} {over}; {hits}", soft_wrap=True)
    else:
        screen.print("no image with mass has a known spacing, so there are no distances in mm", soft_wrap=True)
    screen.print(f"rows in {path}", soft_wrap=True)
