"""The program as a group of commands, which answers a wrong command line as any other mistake: in one line."""

import re
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from massmatch.cli.screen import USAGE, stop

Mistake: Any = typer.BadParameter.__base__  # the UsageError of the click that typer brings


class Program(TyperGroup):
    """The group itself; typer would draw a box around a mistake."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command that the arguments name, and end with its exit code."""
        if not extra.get("standalone_mode", True):
            return super().main(*args, **extra)
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except Mistake as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # no mistake: it shows what there is
                error.show()
                sys.exit(error.exit_code)
            stop(in_one_line(error), USAGE)
        except typer.Abort:
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)


def in_one_line(error: Any) -> str:
    """What is wrong with a command line, and where its options are listed."""
    text = re.sub(r"^Invalid value for '?([^':]+)'?: ", r"\1: ", " ".join(error.format_message().split()))
    text = text.replace(": Input should be ", ": must be ").replace(": Value error, ", ": ")  # pydantic's words
    return f"{text.removesuffix('.')}; see {error.ctx.command_path if error.ctx else 'massmatch'} --help"
