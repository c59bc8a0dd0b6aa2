"""How a run ended, and why one failed: FAILED.json in its folder."""

import json
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from massmatch.runs.atomic import FAILED, write_atomic

LOG = "log.txt"


class Outcome(NamedTuple):
    """How a run ended. "held": another process is at it."""

    state: Literal["done", "failed", "interrupted", "held"]
    reason: str = ""


def write_failure(folder: Path, reason: str, error: BaseException | None = None) -> Outcome:
    """FAILED.json: why in one line, the traceback, when. A folder that cannot be written is no reason to stop."""
    trace = "" if error is None else "".join(traceback.format_exception(error))
    facts = {"reason": reason, "traceback": trace, "when": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / FAILED, json.dumps(facts, indent=1).encode())
    except OSError as second:
        reason = f"{reason} (and {FAILED} could not be written: {second})"
    return Outcome("failed", reason)


def failure(folder: Path) -> str | None:
    """The reason in FAILED.json, or None."""
    try:
        return str(json.loads((folder / FAILED).read_text())["reason"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return f"{FAILED} cannot be read"
