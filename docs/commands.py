"""Writes docs/cli.md, the page of all commands, from the program: `python docs/commands.py`."""

from collections.abc import Iterator
from enum import EnumType
from pathlib import Path
from typing import Any, get_args

from typer.main import get_command

from massmatch.cli import app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

Written by `python docs/commands.py` from the program itself; `massmatch COMMAND --help` says the same. Exit codes: 0
done, 1 failure, 2 usage, 3 the data are wrong or some files were left out, 4 some runs of a sweep failed, 130 and 143
interrupted, 141 the reader of the output has gone. Where an extra of the package is needed and missing, the command
names it.
"""


def text(value: Any) -> str:
    """One line that may stand in a cell of a table."""
    return " ".join(str("" if value is None else value).replace("|", "\\|").split())


def default(parameter: Any) -> str:
    """What is taken when the option is not given; nothing where it is a switch or has none."""
    value = parameter.default
    return "" if value is None or isinstance(value, bool) or callable(value) else f"`{text(value)}`"


def values(parameter: Any) -> str:
    """The words to choose from, or the kind of value; nothing for a switch."""
    kinds = [each for each in args(parameter) if each is not type(None)]
    if all(isinstance(each, type) for each in kinds):
        return {"bool": "", "str": "text", "int": "integer", "float": "number", "Path": "path"}.get(
            kinds[0].__name__, ""
        )
    return ", ".join(f"`{each}`" for each in kinds)


def args(parameter: Any) -> list[Any]:
    """What the type of a parameter is made of: the words of a choice, the members of an enumeration, or a type."""
    asked = [parameter.type_descriptor.annotation]
    while (inner := get_args(asked[0])) and asked[0] is not None:
        asked = list(inner)
    return [member.value for member in asked[0]] if isinstance(asked[0], EnumType) else asked


def rows(parameters: list[Any]) -> Iterator[str]:
    """A table of the arguments and options of a command."""
    yield from ("| argument or option | values | default | |", "| --- | --- | --- | --- |")
    for each in parameters:
        names = ", ".join(each.opts) if each.param_type_name == "option" else each.name.upper()
        yield f"| `{names}` | {values(each)} | {default(each)} | {text(each.help)} |"


def section(name: str, command: Any) -> Iterator[str]:
    """A command with its subcommands."""
    parameters = [each for each in command.params if "--help" not in each.opts and not getattr(each, "hidden", False)]
    yield from ("", f"## {name}", "", "\n\n".join(map(text, (command.help or "").split("\n\n"))))
    if parameters:
        yield from ("", *rows(parameters))
    for below, each in getattr(command, "commands", {}).items():
        yield from section(f"{name} {below}", each)


def page() -> str:
    """The whole page."""
    lines = [HEAD.rstrip()]
    for name, command in get_command(app).commands.items():
        lines += section(name, command)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
