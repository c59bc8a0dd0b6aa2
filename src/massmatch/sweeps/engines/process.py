"""Start a run's process, stop it, and tell how it ended. Used on this machine and on those of a cluster."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

from massmatch.runs.failure import Outcome, write_failure
from massmatch.runs.folder import DONE, LOG, RunFolder
from massmatch.sweeps.engines.worker import FAILURE, HELD, INTERRUPTED
from massmatch.sweeps.job import Job

GRACE = 30.0  # seconds that a run has to stop: a training step of a large network on a CPU takes some of them
OUT_OF_MEMORY = (
    "was killed (SIGKILL), most likely by the system for lack of memory: run the same sweep again with fewer --jobs, "
    "or give a smaller --batch-size or --width; it goes on from its last checkpoint"
)


def start(job: Job, environment: Mapping[str, str] = {}) -> "subprocess.Popen[str]":
    """A process that does the job; it writes log.txt, and stops when its stdin is closed or this process dies.

    It is in a session of its own: Ctrl-C reaches the sweep alone, which then stops its runs. It finds the modules that
    are found here, those beside a script that calls `sweep`, too.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "massmatch.sweeps.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_search_path()), **environment},
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died already; its exit code tells
        process.stdin.write(job.to_json() + "\n")
        process.stdin.flush()
    return process


def _search_path() -> list[str]:
    """Where modules are found; Python looks at texts alone, whatever else a script puts there."""
    return [path for path in sys.path if isinstance(path, str) and path]


def let_go(process: "subprocess.Popen[str]") -> None:
    """Ask the process of a run to stop: its input is closed."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()


def stop(processes: "list[subprocess.Popen[str]]", grace: float = GRACE) -> None:
    """Ask all to stop, and kill those that do not within `grace` seconds, or at a second Ctrl-C."""
    for process in processes:
        let_go(process)
    end = time.monotonic() + grace
    try:
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
    finally:
        for process in processes:
            process.kill()
            process.wait()


def outcome(job: Job, code: int) -> Outcome:
    """How a run ended whose process ended with `code`; negative codes are signals."""
    if code == FAILURE and (reason := RunFolder(job.folder).failure()):
        return Outcome("failed", reason)
    if code == HELD:
        return Outcome("held", "another process is training it")
    if code == INTERRUPTED:
        return Outcome("interrupted", "was stopped from outside")
    if (job.folder / DONE).is_file():  # whatever the code: code of one's own may end a process with that of success
        return Outcome("done")
    if code == -signal.SIGKILL:
        return write_failure(job.folder, OUT_OF_MEMORY)
    how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return write_failure(job.folder, f"{how}: see {job.folder / LOG}")
