"""What one process at a time may write, for no longer than a command takes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from massmatch.errors import UsageError


@contextmanager
def held(folder: Path, lock: Path) -> Iterator[None]:
    """Hold a folder by the file `lock`, whose own folder must be there; the file is gone afterwards.

    Raises UsageError, which names the folder, where another process holds it. An OSError from within that names no
    file, such as that of a full disk, names the folder.

    Example:
        with held(Path("results"), Path("results/.lock")):
            write_results()
    """
    hold = FileLock(lock)
    try:
        hold.acquire(blocking=False)
    except Timeout:
        raise UsageError(f"{folder} is being written by another process: wait for it, or stop it") from None
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(folder)
        raise
    finally:
        with suppress(PermissionError):  # Windows removes no file that is open: there it stays, and does no harm
            lock.unlink(missing_ok=True)  # while it is held: after that it may be another's, and a third would make one
        hold.release()
