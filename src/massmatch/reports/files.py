"""The tables of a report as files: Markdown and LaTeX as people read them, CSV with fractions for programs."""

from collections.abc import Sequence
from pathlib import Path

from massmatch.reports.blocks import Table
from massmatch.runs.atomic import write_atomic


def write_tables(folder: Path, tables: Sequence[Table]) -> None:
    """Write each table as <name>.md, <name>.tex and <name>.csv into a folder.

    Tables that an earlier report left there are removed first: they would pass for this report's, those of the same
    name, too, if this one is stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.tex"):
        trio = [old.with_suffix(ending) for ending in (".md", ".tex", ".csv")]
        if all(path.is_file() for path in trio):
            for path in trio:
                path.unlink()
    for each in tables:
        write_atomic(folder / f"{each.name}.md", each.table.markdown().encode())
        write_atomic(folder / f"{each.name}.tex", each.table.latex(f"tab:{each.name}").encode())
        write_atomic(folder / f"{each.name}.csv", each.table.csv().encode())
