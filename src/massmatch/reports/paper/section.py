"""The paper's tables in a report: ours beside what it prints, and why the two are not comparable."""

from typing import Literal

from massmatch.data.open import read_json
from massmatch.reports.blocks import Block, Lines, Table, Words
from massmatch.reports.paper.published import incomparable, published
from massmatch.reports.paper.tables import paper_table
from massmatch.reports.subject import Subject, listed
from massmatch.runs.collection import changed_code

NUMBERS: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)


def paper_tables(of: Subject, draws: int) -> list[Block]:
    """Those of the paper's Tables 1 to 3 of which at least one line was run here, below all that forbids a
    comparison.
    """
    networks: dict[str, set[str]] = {}
    for run in of.runs:
        networks.setdefault(run.model, set()).add(run.network)
    if several := sorted(set().union(*(names for names in networks.values() if len(names) > 1))):
        return [Words(f"Not here: {listed(several)} were run, and the paper's tables have one width and one start.")]
    if changed := changed_code(of.runs).keys() & set(networks):
        return [Words(f"Not here: {listed(sorted(changed))} was changed between the runs, and the tables have one.")]
    numbers = [number for number in NUMBERS if any(_was_run(of, number))]
    if not numbers:
        return [
            Words("None of the losses in the paper's tables was run. `massmatch sweep COHORT --table 1` runs them.")
        ]
    reasons = ["The paper's numbers stand here for orientation. They are not comparable with ours:"]
    return [
        Lines([*reasons, *incomparable(of.runs, reader=_reader(of))], kind="warning"),
        *(_table(of, number, draws) for number in numbers),
    ]


def _table(of: Subject, number: Literal[1, 2, 3], draws: int) -> Table:
    """Folded where most of its lines are empty."""
    lines = _was_run(of, number)
    return Table(f"paper_table_{number}", paper_table(number, of.rows, draws=draws), folded=2 * sum(lines) < len(lines))


def _was_run(of: Subject, number: int) -> list[bool]:
    """Whether each line of the table was run here, but for the baseline's, which is in all of them."""
    printed = published()
    lines = printed[printed["table"] == number]
    ours = set(zip(of.rows["loss"], of.rows["model"], strict=True))
    return [pair in ours for pair in zip(lines["loss"], lines["model"], strict=True) if pair != ("hybrid", "aunet")]


def _reader(of: Subject) -> str | None:
    """How the cohort was made, where it says so."""
    if of.cohort is None or not (of.cohort.root / "cohort.json").is_file():
        return None
    return str(read_json(of.cohort.root)["reader"])
