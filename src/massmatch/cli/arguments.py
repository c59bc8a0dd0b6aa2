"""Arguments that several commands have in common, and the first look at paths."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from massmatch.cli.screen import told
from massmatch.errors import UsageError
from massmatch.machine import require_processes

Given = TypeVar("Given", Path, list[Path], Path | None)


def present(what: str) -> Callable[[Given], Given]:
    """A callback for an argument: a path that does not exist is told at once, before torch and all else are loaded.

    `what` names what it should be, such as "folder".
    """

    def checked(given: Given) -> Given:
        with told():
            for path in given if isinstance(given, list) else [given]:
                if path is not None and not path.exists():
                    raise UsageError(f"no such {what}: {path}")
        return given

    return checked


def few_enough(workers: int | None) -> int | None:
    """A callback for a number of processes: more than this machine can bear are refused before anything is loaded."""
    with told():
        if workers is not None:
            require_processes("--workers", workers, least=0)
    return workers


CohortArgument = Annotated[
    Path,
    typer.Argument(help="A prepared cohort, or a folder with images/ and masks/.", callback=present("folder")),
]
Runs = Annotated[Path, typer.Option("--out", help="Where the folders of runs are.")]
Workers = Annotated[
    int,
    typer.Option(min=0, help="Processes that load images for each device. Changes no result.", callback=few_enough),
]
Track = Annotated[
    list[str] | None, typer.Option(help="tensorboard or mlflow, besides history.csv; may be given twice.")
]
StrictResume = Annotated[bool, typer.Option("--strict-resume", help="Go on from a sound last.ckpt, or not at all.")]
