"""What this machine can do at once: its cores, and how many processes are not too many for it."""

import os

from massmatch.errors import UsageError

PER_CORE = 4  # more processes than that only wait for each other, and hundreds of them take all memory


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_processes(option: str, count: int, least: int = 1) -> None:
    """Raise UsageError for a number of processes that is too small, or that this machine cannot bear."""
    most = PER_CORE * cores()
    if not least <= count <= most:
        raise UsageError(
            f"{option}: must be from {least} to {most} here ({PER_CORE} processes per core, of which there are "
            f"{cores()}), but is {count}"
        )
