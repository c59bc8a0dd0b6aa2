"""A table as numbers, and as text for Markdown, LaTeX, CSV and web pages."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import pandas as pd

Kind = Literal["run", "baseline", "published", "difference"]
TEX = {"Δ": r"$\Delta$", "±": r"$\pm$", "−": "$-$", "–": "--", "≥": r"$\geq$", "σ": r"$\sigma$"}
TEX |= {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
TEX |= {"^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"}

WIDE = 7  # columns that a page of text holds


class Line(NamedTuple):
    """One line of a table as people read it: its name and its cells as text."""

    name: str
    cells: tuple[str, ...]
    kind: Kind = "run"
    strong: tuple[int, ...] = ()  # cells that stand out; the note says why


class Table(NamedTuple):
    """A table: the text that people read, and the numbers behind it."""

    title: str
    headings: tuple[str, ...]  # the first stands above the names
    lines: tuple[Line, ...]
    note: str  # units, what a mark means, what is missing
    values: pd.DataFrame  # full precision, fractions as fractions; written as CSV

    def markdown(self) -> str:
        """The table in Markdown, with its title and note."""
        return f"**{_md(self.title)}**\n\n{rows_markdown(self.headings, self.lines)}\n{_md(self.note)}\n"

    def latex(self, label: str = "") -> str:
        """The table as a LaTeX environment, which needs the packages booktabs and graphicx. `label`: for \ref.

        More than WIDE columns are shrunk to the width of the text.
        """
        body = [_tex_row(line) for line in self.lines]
        marks = f"\\label{{{label}}}" if label else ""
        wide = len(self.headings) > WIDE
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{tex(self.title)}. {tex(self.note)}}}{marks}",
                *([r"\resizebox{\textwidth}{!}{%"] if wide else []),
                rf"\begin{{tabular}}{{l{'r' * (len(self.headings) - 1)}}}",
                r"\toprule",
                " & ".join(map(tex, self.headings)) + r" \\",
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}" + ("}" if wide else ""),
                r"\end{table}",
                "",
            ]
        )

    def csv(self) -> str:
        """The numbers behind the table as csv, in full precision."""
        return self.values.to_csv(index=False)


def rows_markdown(headings: Sequence[str], lines: Sequence[Line]) -> str:
    """The lines of a table in Markdown without its title, numbers to the right."""
    head = [[_md(h) for h in headings], ["---", *["---:"] * (len(headings) - 1)]]
    body = [[_md(line.name), *(_bold(c, i in line.strong) for i, c in enumerate(line.cells))] for line in lines]
    return "".join("| " + " | ".join(row) + " |\n" for row in [*head, *body])


def tex(text: str) -> str:
    """The text with LaTeX's special characters escaped."""
    return "".join(TEX.get(character, character) for character in text)


def _tex_row(line: Line) -> str:
    cells = [rf"\textbf{{{tex(c)}}}" if i in line.strong else tex(c) for i, c in enumerate(line.cells)]
    return " & ".join([tex(line.name), *cells]) + r" \\"


def _md(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")


def _bold(text: str, strong: bool) -> str:
    return f"**{_md(text)}**" if strong and text else _md(text)
