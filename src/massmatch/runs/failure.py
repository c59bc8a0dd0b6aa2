"""How a run ended, and the file that says why one failed."""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from massmatch.errors import MassmatchError, RunError
from massmatch.losses.own import blamed
from massmatch.runs.atomic import write_atomic
from massmatch.runs.folder import FAILED


def reason_of(error: BaseException) -> str:
    """What went wrong in one line; with its kind where that is not for users, and where in a loss of one's own."""
    if not isinstance(error, MassmatchError) and (theirs := blamed(error)):
        return theirs
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, (MassmatchError, OSError)) else f"{type(error).__name__}: {text}"


@contextmanager
def failures_written(folder: Path) -> Iterator[None]:
    """Write down why the run in a folder failed, whatever it was but an interruption, and let the error pass."""
    try:
        yield
    except (Exception, SystemExit) as error:  # code of one's own may end the program
        write_failure(folder, reason_of(error), error)
        raise


class Outcome(NamedTuple):
    """How a run ended; `held` means that another process is writing it."""

    state: Literal["done", "failed", "interrupted", "held"]
    reason: str = ""


def write_failure(folder: Path, reason: str, error: BaseException | None = None) -> Outcome:
    """Write FAILED.json: why the run failed in one line, the traceback, and when.

    A folder that cannot be written is no reason to stop: then the outcome says so too.
    """
    trace = "" if error is None else "".join(traceback.format_exception(error))
    facts = {"reason": reason, "traceback": trace, "when": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / FAILED, json.dumps(facts, indent=1).encode())
    except (OSError, RunError) as second:  # RunError: of write_atomic
        reason = f"{reason} (and {FAILED} could not be written: {second})"
    return Outcome("failed", reason)
