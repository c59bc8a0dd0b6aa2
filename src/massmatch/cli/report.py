"""The command `report`."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from massmatch.cli.arguments import present
from massmatch.cli.screen import DATA, errors, screen, told

if TYPE_CHECKING:
    from massmatch.runs.collection import Collection


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
    """Write a page about runs, with statistics, charts and contours, and its tables as Markdown, LaTeX and CSV.

    Runs without a result are left out, and told; where one is damaged the exit code is 3.
    """
    with told():
        from massmatch.reports.page import report as write
        from massmatch.runs.collection import collect

        found = collect(*runs)
        page = write(found, cohort=cohort, out=out, title=title, baseline=baseline, pictures=pictures, draws=draws)
        tell_left_out(found)
        screen.print(f"{page}", soft_wrap=True)
        if any(each.state == "damaged" for each in found.unfinished):
            sys.exit(DATA)


def tell_left_out(found: "Collection") -> None:
    """Say which runs do not stand side by side on the page: those without a result, and those that are not alike."""
    if missing := found.unfinished:
        states = ", ".join(f"{n} {state}" for state, n in Counter(each.state for each in missing).items())
        first = f"{missing[0].folder}: {missing[0].state}{missing[0].reason and f', {missing[0].reason}'}"
        errors.print(f"warning: runs without a result are left out ({states}), such as {first}", style="yellow")
    if apart := sum(len(group.runs) for group in found.groups[1:]):
        errors.print(
            f"warning: {apart} of {len(found.finished)} finished runs cannot be compared with the others; the page "
            "shows them apart, and why",
            style="yellow",
        )
