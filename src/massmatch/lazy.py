"""Names of a package that are imported when they are first asked for, so that importing the package costs nothing."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def importer(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562) whose names live in other modules.

    Args:
        package: the `__name__` of the package.
        homes: the module that defines each name, relative to the package.

    Raises:
        AttributeError: when called with another name, as Python does.
    """

    def getter(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return getter
