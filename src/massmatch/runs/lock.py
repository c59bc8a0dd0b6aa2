"""One process at a time writes a run's folder."""

import json
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from massmatch.errors import RunError
from massmatch.runs.atomic import write_atomic

BEAT = 10.0  # seconds between two signs of life
BEATS = 3  # without one for so many, a holder on another machine is taken for dead


class HeldError(RunError):
    """Another process writes this run's folder; the message names the process and its machine."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder. The operating system ends the hold with the process, however it dies.

    Raises HeldError with process and machine of whoever holds it, RunError where the disk is full.

    Some network file systems lock for each machine apart: so a holder also writes who it is into LOCK and touches that
    file while it lives, and a LOCK of another machine is watched before it is taken over.
    """
    who = folder / "LOCK"
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise _held(folder, holder(who)) from None
    try:
        _take_over(folder, who)
        me = os.getpid()
        facts = {"pid": me, "began": began(me), "host": socket.gethostname(), "since": time.ctime()}
        write_atomic(who, json.dumps(facts).encode())
        try:
            with _alive(who):
                yield
        finally:
            who.unlink(missing_ok=True)
    finally:
        lock.release()


def holder(who: Path) -> dict[str, object]:
    """What LOCK says; empty if there is none, or it was cut off."""
    try:
        facts = json.loads(who.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def is_held(folder: Path) -> bool:
    """Whether a living process holds the run. On another machine, one that has just shown a sign of life."""
    facts = holder(folder / "LOCK")
    if not facts:
        return False
    if facts.get("host") == socket.gethostname():
        return lives(facts.get("pid"), facts.get("began"))
    return age(folder / "LOCK") < BEAT * BEATS


def lives(pid: object, since: object = None) -> bool:
    """Whether there is such a process here that is not merely waiting to be buried.

    `since`: what `began` said of it. Numbers of dead processes are given to new ones, which began at another time.
    """
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = _status(pid)
    return not state or (state[0] != "Z" and since in (None, began(pid)))


def began(pid: int) -> str | None:
    """When a process of this machine began, as a text that no other of the same number has; None if nobody can say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    state = _status(pid)
    return f"{boot} {state[19]}" if state else None  # ticks since the machine was started: field 22 of proc(5)


def _status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name of the program; empty on a system without such files."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def age(path: Path) -> float:
    """Seconds since a file was written; infinite if it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _take_over(folder: Path, who: Path) -> None:
    """Go past the LOCK of a dead process, and say so; HeldError if it lives on another machine."""
    if not (facts := holder(who)):
        return
    if facts.get("host") != socket.gethostname() and _beats(who):
        raise _held(folder, facts)
    warnings.warn(
        f"{folder}: process {facts.get('pid')} on {facts.get('host')} left its LOCK and is no longer running; going on",
        stacklevel=4,
    )


def _beats(who: Path) -> bool:
    """Whether the file is touched while one watches: needs no clocks that agree."""
    first = who.stat().st_mtime_ns
    for _ in range(BEATS * 2):
        time.sleep(BEAT / 2)
        try:
            if who.stat().st_mtime_ns != first:
                return True
        except FileNotFoundError:  # it has just ended
            return False
    return False


@contextmanager
def _alive(who: Path) -> Iterator[None]:
    """Touch the file in the background."""
    end = threading.Event()

    def touch() -> None:
        while not end.wait(BEAT):
            if who.exists():
                who.touch()

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _held(folder: Path, facts: dict[str, object]) -> HeldError:
    return HeldError(
        f"{folder} is in use: process {facts.get('pid', '?')} on {facts.get('host', '?')} has written it since "
        f"{facts.get('since', '?')}; wait for it or stop it"
    )
