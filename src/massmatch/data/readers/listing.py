"""What a reader gives: the images of a dataset as it is on disk, listed before any pixel is read.

A reader is a function `reader(source, **options) -> Listing`. Listing is cheap and finds what is missing or does not
belong together; `Item.read` does the work for one image, in any process, in the frame of the stored pixels.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from massmatch.data.errors import DataError, DataWarning
from massmatch.data.sample import Sample

__all__ = ["DataError", "DataWarning", "Item", "Listing", "forward", "inside", "is_data", "named", "relative"]

NAMED = 20  # so many files are named in one message, the rest counted
NEVER_DATA = ("._", ".DS_Store", "Thumbs.db", "desktop.ini")  # what macOS and Windows leave in folders


@dataclass(frozen=True)
class Item:
    """One image of a dataset, with its files and facts, not read yet."""

    id: str
    patient: str
    files: tuple[str, ...]  # relative to the source, tables too: if size or time of one changes, it is read again
    read: Callable[[], Sample]  # can be pickled; raises DataError, warns DataWarning


@dataclass(frozen=True)
class Listing:
    """A dataset: its images, and all that is no image of it, by file relative to the source."""

    root: Path
    items: list[Item]
    licence: str
    faults: dict[str, str] = field(default_factory=dict)  # file: what is wrong and what to do; stops, or is skipped
    skipped: dict[str, str] = field(default_factory=dict)  # file: why its image is left out, whatever `on_error` says
    left_out: dict[str, str] = field(default_factory=dict)  # file: why it does not belong to the cohort, as published
    remarks: list[str] = field(default_factory=list)  # warnings about the whole
    summary: str = ""  # one line of counts
    names: frozenset[str] | None = None  # of patients, which cohort.json leaves out of paths; None: it keeps all paths


def inside(root: Path, path: Path | str, *, allow_outside: bool = False) -> Path:
    """`root / path`, where that file lies within root, also after its links are followed.

    Raises DataError that begins with the path for one that leads out of root (an absolute path, "..", a link).
    """
    full = root / path
    try:
        target = full.resolve(strict=full.is_symlink())
    except FileNotFoundError:
        raise DataError(f"{relative(root, full)}: is a link to nothing: restore its file, or remove it") from None
    except (OSError, RuntimeError):  # RuntimeError: Python before 3.13
        raise DataError(f"{relative(root, full)}: is a loop of links: remove it") from None
    if not allow_outside and not target.is_relative_to(root.resolve()):
        raise DataError(
            f"{relative(root, full)}: leads out of the source folder, and nothing outside is read: "
            "copy the file into it, or give --allow-outside-root"
        )
    return full


def forward(path: str) -> str:
    """A path as Windows writes it, images\\a.png, with the slashes that all systems read."""
    return path.replace("\\", "/")


def relative(root: Path, path: Path) -> str:
    """The path from root, with forward slashes, as messages show it and readers take it."""
    return Path(os.path.relpath(path, root)).as_posix()


def is_data(path: Path) -> bool:
    """Whether a file is more than what a file manager left behind."""
    return not path.name.startswith(NEVER_DATA)


def named(names: Collection[str]) -> str:
    """The first names in order, and how many more there are."""
    first = ", ".join(sorted(names)[:NAMED])
    return first if len(names) <= NAMED else f"{first} and {len(names) - NAMED} more ({len(names)} in all)"
