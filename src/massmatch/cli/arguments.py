"""Arguments that several commands have in common."""

from pathlib import Path
from typing import Annotated

import typer

CohortArgument = Annotated[Path, typer.Argument(help="A prepared cohort, or a folder with images/ and masks/.")]
Runs = Annotated[Path, typer.Option("--out", help="Where the folders of runs are.")]
