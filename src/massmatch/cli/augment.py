"""The command `augment`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from massmatch.cli.arguments import CohortArgument
from massmatch.cli.screen import screen, told
from massmatch.errors import UsageError

ROWS, DRAWS = 4, 6  # of the sheet: images, and how often each is augmented


def augment(
    cohort: CohortArgument,
    level: Annotated[Literal["flips", "strong"], typer.Option(help="As --augment of train.")] = "strong",
    seed: Annotated[int, typer.Option(help="Of the draws, as --seed of train.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="The picture, a PNG.")] = Path("augmented.png"),
) -> None:
    """Draw a sheet of augmented training images: each row an image as it is, then as some epochs would show it."""
    with told():
        from massmatch.data import open_cohort
        from massmatch.runs.atomic import write_picture
        from massmatch.training.augmented import augmented_sheet

        if out.suffix.lower() != ".png":
            raise UsageError(f"--out: must end in .png, since the picture is a PNG, but is {out}")
        write_picture(out, augmented_sheet(open_cohort(cohort), level, seed=seed, rows=ROWS, draws=DRAWS))
        screen.print(f"{out}", soft_wrap=True)
