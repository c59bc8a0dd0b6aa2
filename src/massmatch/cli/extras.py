"""What a command needs beyond a plain `pip install massmatch`, and one line that says how to get it."""

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

from massmatch.cli.screen import stop
from massmatch.errors import UsageError

P = ParamSpec("P")
T = TypeVar("T")

# The packages of an extra of pyproject.toml and of the extras that it includes, by the names under which they are
# imported.
DATA = ("PIL", "pydantic", "sklearn", "filelock", "python_calamine")
TRAIN = (*DATA, "lightning_fabric", "safetensors", "yaml", "contourpy")
PACKAGES = {
    "data": DATA,
    "train": TRAIN,
    "report": (*TRAIN, "matplotlib", "jinja2"),
    "app": (*TRAIN, "starlette", "uvicorn"),
}


def needs(extra: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator for a command: it ends with one line and a usage error where a package of the extra is missing.

    `--help` of the command works without them.
    """

    def decorated(command: Callable[P, T]) -> Callable[P, T]:
        @wraps(command)
        def checked(*arguments: P.args, **options: P.kwargs) -> T:
            if absent := [package for package in PACKAGES[extra] if find_spec(package) is None]:
                line = f"this command needs {absent[0]}, which is not installed: pip install 'massmatch[{extra}]'"
                stop(UsageError(line), UsageError.exit_code)
            return command(*arguments, **options)

        return checked

    return decorated
