"""The report of `massmatch check`, for a person and for a program."""

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from massmatch.cli.screen import DATA, screen
from massmatch.wording import count

if TYPE_CHECKING:
    from massmatch.data.checks.report import Report

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
SHOWN = 5  # ids of each finding


def exit_code(report: "Report") -> int:
    """3 where there is an error, otherwise 0."""
    return DATA if any(finding.severity == "error" for finding in report.findings) else 0


def as_json(report: "Report") -> str:
    """The whole report as JSON, with the ids of all images that it names."""
    findings = [{**asdict(finding), "count": finding.count} for finding in report.findings]
    return json.dumps({"facts": report.facts, "findings": findings}, indent=1, allow_nan=False)


def show_report(report: "Report", name: str) -> None:
    """Counts, then findings, errors first."""
    from rich.table import Table
    from rich.text import Text

    facts = report.facts
    numbers = (
        f": {count(facts['images'], 'image')} of {count(facts['patients'], 'patient')}, "
        f"{count(facts['masses'], 'mass', 'masses')}, {count(facts['without_mass'], 'image')} without one"
    )
    screen.print(Text.assemble((name, "bold"), numbers))  # a Text is never markup: names come from outside
    counts = Table(box=None, show_header=False, pad_edge=False)
    for key in ("sizes", "bits", "side", "view", "density", "split", "spacing_source"):
        if facts[key]:
            values = ", ".join(f"{value}: {n}" for value, n in facts[key].items())
            counts.add_row(key.replace("_", " "), Text(values))
    screen.print(counts)
    sizes = Table("masses", "min", "5 %", "median", "95 %", "max", box=None, pad_edge=False)
    for key, title in (
        ("mass_px", "area, pixels"),
        ("mass_percent_of_image", "area, % of the image"),
        ("mass_mm2", "area, mm2"),
        ("smallest_side_px", "smaller side, pixels"),
    ):
        if facts[key]:
            sizes.add_row(title, *(f"{value:g}" for value in facts[key].values()))
    screen.print(sizes)
    screen.print()
    for finding in report.findings:
        ids = ", ".join(finding.ids[:SHOWN])
        more = f" and {finding.count - SHOWN} more" if finding.count > SHOWN else ""
        head = (f"{finding.severity:8}", COLOURS[finding.severity])
        screen.print(Text.assemble(head, f"{finding.name} ({finding.count}): {finding.text}"), soft_wrap=True)
        if finding.count < facts["images"]:
            screen.print(Text(f"        {ids}{more}", "dim"), soft_wrap=True)
    severities = Counter(finding.severity for finding in report.findings)
    total = ", ".join(count(severities[severity], severity) for severity in COLOURS)
    screen.print(f"\n{total}; --json lists every image")
