"""Writes the tables of docs/systems.md from the catalogues of losses and networks: `python docs/tables.py`."""

from pathlib import Path

from typer.testing import CliRunner

from massmatch.cli import app

PAGE = Path(__file__).with_name("systems.md")


def page(text: str) -> str:
    """The page with each table that begins as a catalogue's does replaced by the catalogue's own."""
    lines = text.splitlines()
    for command in ("losses", "models"):
        table = CliRunner().invoke(app, [command, "--markdown"]).output.splitlines()
        start = lines.index(table[0])
        end = next((n for n in range(start, len(lines)) if not lines[n].startswith("|")), len(lines))
        lines[start:end] = table
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
