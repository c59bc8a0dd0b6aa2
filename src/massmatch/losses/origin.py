"""Where the code of a loss or network of one's own comes from, and whether it is still the same.

Its own file alone would not tell: what it imports from other files of one's own computes, too.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, resolve_name
from pathlib import Path

from .own import imported, source_file

NOT_OWN = sys.stdlib_module_names | {"massmatch"}  # whose version tells enough
INSTALLED = {"site-packages", "dist-packages"}  # folders of packages, whose version tells enough
SHOWN = 3  # file names in one origin


def origin(name: str) -> str:
    """Where a loss or network named module:attribute comes from: the version of its package and a digest of its source.

    Further files of one's own that its module imports, directly or not, have a digest together.

        origin("monai.losses:DiceLoss")  # "monai 1.6.0, dice.py sha256 0123456789abcdef"
        origin("mine:Loss")  # "mine without version, mine.py sha256 0123456789abcdef, part.py sha256 fedcba9876543210"

    Raises ValueError for what cannot be imported.
    """
    found = imported(name)
    thing = found if inspect.isclass(found) or inspect.isroutine(found) else type(found)
    package = thing.__module__.partition(".")[0]
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        version = str(getattr(sys.modules.get(package), "__version__", "without version"))
    source = source_file(thing)
    written = digest([source]) if source is not None and source.is_file() else "without source"
    others = own_files(name.partition(":")[0], thing.__module__) - {source}
    return ", ".join([f"{package} {version}", written] + [digest(sorted(others, key=_by_content))] * bool(others))


def _by_content(file: Path) -> tuple[str, bytes]:
    """An order that is the same on every machine, wherever the files lie there."""
    return file.name, file.read_bytes()


def digest(files: list[Path]) -> str:
    """The names of some files, and 16 hex digits over what is in them."""
    over = sha256(
        files[0].read_bytes() if len(files) == 1 else b"".join(sha256(f.read_bytes()).digest() for f in files)
    )
    names = [each.name for each in files[:SHOWN]] + [f"{len(files) - SHOWN} more"] * (len(files) > SHOWN)
    return f"{' and '.join(names)} sha256 {over.hexdigest()[:16]}"


def own_files(*modules: str) -> set[Path]:
    """The files of these modules, and of all that they import, as far as they belong to no installed package.

    The files are read, not run: what a function imports when it is called counts, too.
    """
    found: dict[str, Path | None] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        spec = own_spec(name)
        found[name] = None if spec is None or not spec.has_location else Path(str(spec.origin))
        waiting += [] if spec is None else [name.rpartition(".")[0] or name, *imports(spec)]
    return {path for path in found.values() if path is not None and path.is_file()}


def own_spec(name: str) -> ModuleSpec | None:
    """Where a module is, without importing it; None for one of an installed package, and for what is no module."""
    top, *inner = name.split(".")
    try:
        spec = None if top in NOT_OWN else find_spec(top)
    except ValueError:  # of a module that somebody made by hand
        return None
    for part in inner:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    return None if spec is None or INSTALLED & {*Path(spec.origin or "").parts} else spec


def imports(spec: ModuleSpec) -> Iterator[str]:
    """The names that stand behind `import` and `from` in a module, absolute; some are no modules."""
    if not str(spec.origin).endswith(".py"):
        return
    try:
        tree = ast.parse(Path(str(spec.origin)).read_bytes())
    except (OSError, SyntaxError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            with suppress(ImportError):  # of too many dots
                base = resolve_name("." * node.level + (node.module or ""), spec.parent)
                yield from (base, *(f"{base}.{alias.name}" for alias in node.names))
