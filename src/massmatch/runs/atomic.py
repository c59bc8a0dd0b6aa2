"""Writing files so that a crash leaves the old one or the new one, never half of one."""

import errno
import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massmatch.errors import RunError

if TYPE_CHECKING:
    from PIL.Image import Image

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Piece = bytes | memoryview


def write_atomic(path: Path, *pieces: Piece, keep: Path | None = None) -> None:
    """Write beside `path`, force it to the disk, then take its name; the file that had it may `keep` on under another.

    Raises RunError; where the disk is full, with what is needed and what is there.
    """
    part = part_of(path)
    try:
        try:
            _write(part, pieces)
            if keep is not None and path.is_file():
                path.replace(keep)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise _explained(error, path, sum(len(piece) for piece in pieces)) from error


def write_picture(path: Path, picture: "Image", **options: Any) -> None:
    """Write a picture as PNG, as `write_atomic` does and raises. `options`: of Pillow, such as compress_level."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    write_atomic(path, buffer.getbuffer())


def part_of(path: Path) -> Path:
    """Where a process writes what is to become `path`: in the same folder, since only there a rename is atomic."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def remove_leftovers(*folders: Path) -> list[Path]:
    """Delete what killed writers left in folders in which no one else is writing; what was deleted."""
    parts = sorted(part for folder in folders for part in folder.glob(".*.[0-9]*.part"))
    for part in parts:
        part.unlink(missing_ok=True)
    return parts


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk: without it, a rename may be undone by a power cut."""
    if os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def need_space(folder: Path, needed: int) -> None:
    """Raise RunError where a folder that is to hold `needed` bytes in all cannot."""
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if needed - there > free:
        raise RunError(
            f"disk full: training needs about {megabytes(needed - there)} in {folder}, has {megabytes(free)}: "
            "make room, or give another --out"
        )


def megabytes(size: int) -> str:
    """A size in bytes as messages write it, such as 1.5 MB; a small one in kB or bytes."""
    if size < 1e3:
        return f"{size} bytes"
    return f"{size / 1e3:.1f} kB" if size < 1e5 else f"{size / 1e6:.1f} MB"


def _write(part: Path, pieces: tuple[Piece, ...]) -> None:
    with part.open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _explained(error: OSError, path: Path, size: int) -> RunError:
    """The same error in words that say what to do."""
    if error.errno not in FULL:
        return RunError(f"cannot write {path}: {error.strerror or error}")
    free = shutil.disk_usage(path.parent).free
    return RunError(
        f"disk full: {path} needs {megabytes(size)}, has {megabytes(free)} ({error.strerror}); files written before "
        "are whole: make room, and the same command goes on"
    )
