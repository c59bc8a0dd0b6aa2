"""Runs as tasks on a Ray cluster. A task whose machine dies is begun again on another, from its last checkpoint.

Ray is the extra massmatch[ray]. All machines need massmatch, and must see the cohort and the folder of runs under the
same paths.
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

from massmatch.errors import UsageError
from massmatch.runs.experiment import Experiment
from massmatch.runs.failure import Outcome, write_failure
from massmatch.runs.precision import Speed
from massmatch.sweeps.engines import process as launch
from massmatch.sweeps.engines.local import TICK
from massmatch.sweeps.job import Job

RETRIES = 3  # of a task whose machine died; Ray's own default
PATIENCE = 90.0  # seconds in which the process of a dead attempt must have let go of its folder (see lock.py)


class Cluster:
    """A Ray cluster that is running at `address`; Ray decides which machine does what."""

    has_room = True  # Ray queues

    def __init__(self, address: str, cpus: int, gpus: float, runs: Path) -> None:
        self.ray = connected(address)
        self.places = self.count(cpus, gpus)
        self.token = runs / f".sweep-{uuid.uuid4().hex}"  # a machine that does not see it does not share the folder
        try:
            self.token.touch()
        except OSError:
            self.ray.shutdown()
            raise
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": RETRIES, "retry_exceptions": False}
        self.attend, self.time = (self.ray.remote(**options)(task) for task in (attend, timed))
        self.hidden = {} if gpus else {"CUDA_VISIBLE_DEVICES": ""}  # a run that was given no GPU takes none
        self.running: dict[Any, Job] = {}

    def count(self, cpus: int, gpus: float) -> int:
        """How many runs the cluster has room for now. ValueError if there is none: they would wait for ever."""
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if places := sum(room(each, cpus, gpus) for each in machines):
            return places
        there = "; ".join(f"{each.get('CPU', 0):g} CPUs, {each.get('GPU', 0):g} GPUs" for each in machines)
        self.ray.shutdown()
        raise UsageError(
            f"no machine of the cluster has --cpus-per-run {cpus} and --gpus-per-run {gpus:g}; they have: {there}"
        )

    def measure(self, experiment: Experiment) -> Speed:
        """The fastest way for a network on a machine of the cluster. ValueError if Ray cannot find out."""
        try:
            return Speed(*self.ray.get(self.time.remote(experiment.model_dump_json(), self.environment(experiment))))
        except self.ray.exceptions.RayError as error:
            reason = str(error).strip().rpartition("\n")[2]  # the lines before are a traceback
            raise UsageError(
                f"the cluster could not time {experiment.model} ({reason}): give --precision and --memory"
            ) from None

    def start(self, job: Job) -> None:
        """Hand a run to Ray, and come back at once."""
        environment = self.environment(job.run.experiment)
        self.running[self.attend.remote(job.to_json(), str(self.token), environment)] = job

    def environment(self, experiment: Experiment) -> dict[str, str]:
        """What a run's process is given besides its machine's own variables; for code of one's own, where that lies."""
        if experiment.own_code is None:
            return self.hidden
        here = os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH"))))
        return {**self.hidden, "PYTHONPATH": here}

    def ended(self) -> list[tuple[Job, Outcome]]:
        """Runs that have ended since the last call; waits a moment."""
        over, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=TICK)
        return [(job, self.outcome(task, job)) for task in over for job in [self.running.pop(task)]]

    def outcome(self, task: Any, job: Job) -> Outcome:
        """What the task says, or why Ray gave it up."""
        try:
            return Outcome(*self.ray.get(task))
        except self.ray.exceptions.RayError as error:
            reason = next(iter(str(error).splitlines()), "")
            return write_failure(job.folder, f"Ray gave the run up ({type(error).__name__}): {reason}", error)

    def stop(self) -> None:
        """Stop all tasks, wait until they have, and leave the cluster."""
        for task in self.running:
            self.ray.cancel(task, force=False)
        if self.running:
            self.ray.wait(list(self.running), num_returns=len(self.running), timeout=launch.GRACE)
        self.token.unlink(missing_ok=True)
        self.ray.shutdown()


def room(resources: dict[str, float], cpus: int, gpus: float) -> int:
    """For how many runs a machine has CPUs and GPUs."""
    by_cpu = int(resources.get("CPU", 0) // cpus)
    return by_cpu if gpus == 0 else min(by_cpu, int(resources.get("GPU", 0) // gpus))


def connected(address: str) -> Any:
    """Ray, connected. ValueError where it is not installed, or no cluster answers."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default; otherwise it warns
    try:
        with warnings.catch_warnings(action="ignore"):
            import ray
    except ModuleNotFoundError:
        raise UsageError("--engine ray needs Ray: pip install 'massmatch[ray]'") from None
    refuse_silence(address)
    try:
        with warnings.catch_warnings(action="ignore"):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"--address {address}: no Ray cluster answers there ({reason})") from None
    ray._private.worker.print_to_stdstream = lambda *_, **__: None  # of a dead machine it prints a page of its log
    return ray


def refuse_silence(address: str) -> None:
    """Raise UsageError where nothing listens: Ray would go on asking for half an hour."""
    if address == "auto":
        return
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not (host and port.isdigit()):
        raise UsageError(f"--address: must be HOST:PORT, ray://HOST:PORT or auto, but is {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"--address {address}: nothing answers there ({error})") from None


def attend(line: str, token: str, environment: dict[str, str]) -> tuple[str, str]:
    """The task: one run in a process of its own, which stops when this one is cancelled or dies."""
    job = Job.from_json(line)
    if missing := unseen(job, Path(token)):
        return write_failure(job.folder, missing) if job.runs.is_dir() else Outcome("failed", missing)
    end = time.monotonic() + PATIENCE
    while True:
        found = attended(job, environment)
        if found.state != "held" or time.monotonic() > end:
            return found
        time.sleep(1)


def timed(line: str, environment: dict[str, str]) -> tuple[str, ...]:
    """The task: number format and memory layout that are fastest, in a process of its own as a run is."""
    command = [sys.executable, "-m", "massmatch.sweeps.speeds"]
    said = subprocess.run(command, input=line, capture_output=True, text=True, env={**os.environ, **environment})
    if said.returncode:
        raise RuntimeError(next(iter(said.stderr.splitlines()[-1:]), f"ended with code {said.returncode}"))
    return tuple(said.stdout.split())


def attended(job: Job, environment: dict[str, str]) -> Outcome:
    """The run, from its start to its end, or to that of this task."""
    process = launch.start(job, environment)
    try:
        while process.poll() is None:  # and no wait(), which a cancelled task would not leave
            time.sleep(TICK)
        return launch.outcome(job, process.returncode)
    finally:
        launch.stop([process])


def unseen(job: Job, token: Path) -> str:
    """What this machine does not see of the files that all must share, in a line; empty if all is there."""
    for path, what in ((job.cohort, "the cohort"), (token.parent, "the folder of runs"), (token, "the folder of runs")):
        with contextlib.suppress(OSError):
            if path.exists():
                continue
        shown = path if path != token else token.parent
        return (
            f"{socket.gethostname()} does not see {what}, {shown}, as the machine of the sweep does: cohort and --out "
            "must be in folders that all machines of the cluster share"
        )
    return ""
