"""The command `compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from massmatch.cli.arguments import CohortArgument, present
from massmatch.cli.screen import errors, screen, show, tested_images, told

if TYPE_CHECKING:
    from massmatch.runs.collection import Run


def other_settings(runs: "Sequence[Run]") -> list[str]:
    """A sentence for each way in which finished runs differ in more than loss, network, seed and fold, or may by the
    search for their thresholds.
    """
    from massmatch.reports.summary import computed_apart, searches_apart
    from massmatch.runs.collection import changed_code, comparable_groups, differing

    told = computed_apart(runs)
    for name, sources in changed_code(runs).items():
        told.append(f"{name} is not the same in all these runs ({'; '.join(sources)})")
    groups = comparable_groups(runs)
    for other in groups[1:]:
        apart = differing(groups[0], other)
        what = ", ".join(f"{name} ({one} and {two})" for name, (one, two) in apart.items())
        told.append(
            f"{groups[0].runs[0].folder} and {other.runs[0].folder} were not trained and measured alike: they differ "
            f"in {what}, so that this is no comparison of losses"
        )
    return told + searches_apart(runs)


def refuse_unfinished(folders: Sequence[Path]) -> None:
    """Raise RunError for the first run without a result: what it has measured so far is no comparison of losses."""
    from massmatch.errors import RunError
    from massmatch.runs.folder import RunFolder

    for folder in folders:
        state, reason = RunFolder(folder).state_and_reason()
        if state != "done":
            why = f"{state} ({reason})" if reason else state
            raise RunError(f"{folder} has no result, but is {why}: leave it out, or finish it with its command")


def compare(
    cohort: CohortArgument,
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of runs on this cohort, or folders that hold them, such as runs.", callback=present("folder")
        ),
    ],
    page: Annotated[Path | None, typer.Option(help="An HTML file to write: the report on these runs.")] = None,
    table: Annotated[Path | None, typer.Option(help="A Markdown file to write, with the table.")] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Show runs side by side although they tested other images.")
    ] = False,
) -> None:
    """Put finished runs side by side: a table on the screen, in a file, and a page."""
    with told():
        from massmatch.data import open_cohort
        from massmatch.errors import DataError, UsageError
        from massmatch.reports.page import write_report
        from massmatch.reports.tables import COUNTED, NOTE, comparison, markdown
        from massmatch.runs.atomic import write_atomic
        from massmatch.runs.collection import collect, systems
        from massmatch.runs.folder import EXPERIMENT, RunFolder, run_folders

        if (cohort / EXPERIMENT).is_file():
            raise UsageError(f"{cohort} is a run, but the first argument is the cohort: give COHORT before the runs")
        # Each run once, in the order given; `find` says what a folder without a run holds.
        held = (folder for run in runs for folder in run_folders(run) or [RunFolder.find(run).path])
        folders = list({folder.resolve(): folder for folder in held}.values())
        refuse_unfinished(folders)
        opened, of = open_cohort(cohort), {folder: RunFolder(folder).experiment()["fingerprint"] for folder in folders}
        if opened.fingerprint not in of.values():
            raise DataError(
                f"{opened.root}: its fingerprint is {opened.fingerprint}, but the runs were trained on "
                f"{', '.join(sorted(set(of.values())))}: give the cohort of the runs"
            )
        strange = [folder for folder in folders if of[folder] != opened.fingerprint]
        if strange and not unpaired:  # its images may have the same names
            raise UsageError(
                f"{strange[0]} was trained on another cohort ({of[strange[0]]}) than {opened.root} "
                f"({opened.fingerprint}): leave it out, or give --unpaired to see both side by side all the same"
            )
        finished = [run for folder in folders for run in collect(folder).finished]
        named = show(folders, systems(finished), unpaired=unpaired)
        warned = [f"warning: {said}" for said in other_settings(finished)]
        for warning in warned:
            errors.print(warning, style="yellow")
        if table is not None:
            rows = {name: RunFolder(folder).rows() for name, folder in named.items()}
            heading = "\n\n".join([tested_images(rows, unpaired=unpaired), *warned])
            write_atomic(table, f"{heading}\n\n{markdown(comparison(rows))}\n{NOTE} {COUNTED}\n".encode())
        if page is not None:
            write_report(page, collect(*runs), opened, title="Losses side by side")
            screen.print(f"{page}", soft_wrap=True)
