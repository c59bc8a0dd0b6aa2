"""The commands `losses`, which lists them, `losses show`, which tells all of one, and `losses check`."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from massmatch.cli.screen import FAILURE, screen, told
from massmatch.errors import UsageError, refusals_as_usage

if TYPE_CHECKING:
    from rich.text import Text

    from massmatch.losses import Entry
    from massmatch.losses.conformance.check import Result

MEANS = {"a": "all cells", "nz": "the cells with predicted or true mass"}

losses = typer.Typer(invoke_without_command=True, help="List the losses, show one, or check any loss.")


@losses.callback()
def list_all(
    context: typer.Context,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of docs/systems.md instead.")] = False,
) -> None:
    """List the losses with what each is, and its options with their defaults."""
    if context.invoked_subcommand is not None:
        if markdown:
            raise typer.BadParameter("belongs to the list, not to one of it: leave it out", param_hint="--markdown")
        return
    from massmatch.losses import LOSSES, text_of

    if markdown:
        say("\n".join(catalogue(LOSSES)))
        return
    before = ""
    for name, entry in LOSSES.items():
        options = ", ".join(f"{option.name}={text_of(option.default)}" for option in entry.options())
        say(f"{name}: {entry.line}")
        if options and options != before:
            say(f"    {options}", "dim")
        elif options:
            say("    the same options", "dim")
        before = options


def catalogue(entries: "Mapping[str, Entry]") -> list[str]:
    """The Markdown table of the catalogue. The names of the paper's variants with one kind of mean share a row."""
    lines = dict.fromkeys(["| name | source | what it is | fidelity |", "|---|---|---|---|"])
    for name, entry in entries.items():
        shown, line = f"`{name}`", entry.line
        if entry.variant:
            mean = entry.variant.aggregation
            shown = f"`sm-<bce, tversky, dice>-<b, d, s, sd>-{mean}` (12)"
            line = f"Spatial Matching: a core of the image, plus its mean over {MEANS[mean]}"
        lines[f"| {shown} | {entry.source} | {line} | {entry.fidelity} |"] = None
    return list(lines)


@losses.command()
def show(name: Annotated[str, typer.Argument(help="A name of the list.")]) -> None:
    """Show all that is known of one loss: source, fidelity, formula, options with defaults and meaning."""
    with told():
        from massmatch.losses import LOSSES, text_of

        if ":" in name:
            raise UsageError(
                f"{name}: give a name of `massmatch losses` alone, without options; what a loss of one's own does, "
                "module:attribute, `massmatch losses check` finds out"
            )
        with refusals_as_usage():
            entry = LOSSES[name]
        lines = [f"{name}: {entry.line}", f"source     {entry.source}", f"fidelity   {entry.fidelity}"]
        lines += [f"cells      can be the core of the losses with a grid: core={name}"] if entry.is_core else []
        lines += ["docs       docs/systems.md", "", entry.description, ""]
        options = entry.options()
        lines += ["options, with their defaults:" if options else "no options"]
        lines += [f"  {option.name}={text_of(option.default)}: {option.meaning}" for option in options]
        say("\n".join(lines))


def say(text: str, style: str = "") -> None:
    """Print a text as it is, brackets and all."""
    screen.print(text, style=style, soft_wrap=True)


@losses.command()
def check(
    names: Annotated[
        list[str], typer.Argument(help="Losses with options as in name:a=1,b=2, others as module:Class:a=1, or all.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print every result for a program.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="A Markdown file to write, with a row per loss.")] = None,
) -> None:
    """Put losses through the probes of the conformance kit: empties, saturation, float16, compile, batches, and so on.

    Exits with 1 if a probe failed.
    """
    with told():
        from massmatch.losses import LOSSES
        from massmatch.losses.conformance.check import check as probe
        from massmatch.runs.atomic import write_atomic

        asked = list(dict.fromkeys(each for name in names for each in (LOSSES if name == "all" else [name])))
        found = {}
        for name, make in [(name, factory(name)) for name in asked]:
            found[name] = probe(make)
            if not as_json:
                screen.print(line(name, found[name]), soft_wrap=True)
        if len(asked) == 1 and not as_json:
            details(found[asked[0]])
        if as_json:
            print(json.dumps({name: [vars(r) for r in results] for name, results in found.items()}, indent=1))
        if markdown is not None:
            write_atomic(markdown, table(found).encode())
        if any(r.status == "fail" for results in found.values() for r in results):
            sys.exit(FAILURE)


def factory(name: str) -> Callable[..., Any]:
    """What builds the loss of a specification, of one's own with nothing around it that would mend its faults.

    ValueError for what is not known or cannot be built.
    """
    from massmatch.losses import LossSpec, own

    with refusals_as_usage():
        spec = LossSpec.parse(name)
        spec.make()
    if not spec.is_own:
        if "reduction" in spec.options:
            return lambda: spec.make()
        return lambda reduction="mean": spec.make(reduction=reduction)
    if "reduction" in spec.options or not own.takes(spec.name, "reduction"):
        return lambda: own.callable_loss(spec.name, {**spec.options})
    return lambda reduction="mean": own.callable_loss(spec.name, {**spec.options, "reduction": reduction})


def line(name: str, results: "list[Result]") -> "Text":
    """How many probes passed, and what the others found."""
    from rich.text import Text

    passed, failed = (sum(r.status == status for r in results) for status in ("pass", "fail"))
    rest = ", ".join(f"{r.probe} ({r.detail})" if r.detail else r.probe for r in results if r.status != "pass")
    return Text.assemble(
        f"{name:20} ", (f"{passed}/{len(results)}", "red" if failed else "green"), f"  {rest}".rstrip()
    )


def details(results: "list[Result]") -> None:
    """A line for each probe: whether the loss passed, and what was found."""
    from rich.text import Text

    from massmatch.losses.conformance.probes import PROBES

    colours = {"pass": "green", "fail": "red"}
    for r in results:
        what = (PROBES[r.probe].__doc__ or "").splitlines()[0]
        status = (f"{r.status:4}", colours[r.status])
        screen.print(Text.assemble("  ", status, f" {r.probe:14} {r.detail:16} ", (what, "dim")), soft_wrap=True)


def table(found: "dict[str, list[Result]]") -> str:
    """A Markdown table with a row for each loss."""
    rows = ["| loss | passed | time | memory | not passed |", "|---|---|---|---|---|"]
    for name, results in found.items():
        by_name = {r.probe: r for r in results}
        rest = "; ".join(f"{r.probe}: {r.detail}".rstrip(": ") for r in results if r.status != "pass")
        passed = sum(r.status == "pass" for r in results)
        cost = " | ".join(by_name[probe].detail for probe in ("time", "memory"))
        rows.append(f"| `{name}` | {passed}/{len(results)} | {cost} | {rest} |")
    return "\n".join(rows) + "\n"
