"""The command `report`."""

from pathlib import Path
from typing import Annotated

import typer

from massmatch.cli.arguments import present
from massmatch.cli.screen import screen, told


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of runs, or folders that hold such folders.", callback=present("folder")),
    ],
    cohort: Annotated[
        Path | None,
        typer.Option(help="The cohort of the runs; without it the report has no pictures.", callback=present("folder")),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html and tables/.")] = Path("report"),
    title: Annotated[str, typer.Option(help="Above the page; by default after the cohort.")] = "",
    baseline: Annotated[
        str | None, typer.Option(help="The loss that all are compared with; by default hybrid, or a plain one.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Images of each kind: best, median, worst, ...")] = 2,
    draws: Annotated[int, typer.Option(min=100, max=1_000_000, help="Of the bootstrap over patients.")] = 10_000,
) -> None:
    """Write a page about runs, with statistics, charts and contours, and its tables as Markdown, LaTeX and CSV."""
    with told():
        from massmatch.reports.page import report as write

        page = write(runs, cohort=cohort, out=out, title=title, baseline=baseline, pictures=pictures, draws=draws)
        screen.print(f"{page}", soft_wrap=True)
