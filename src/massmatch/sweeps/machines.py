"""The machines that do the runs of a sweep: this one, or a Ray cluster."""

from pathlib import Path
from typing import Literal, NamedTuple

from massmatch.errors import UsageError
from massmatch.machine import cores, require_processes
from massmatch.sweeps.engines.drive import Engine
from massmatch.sweeps.engines.local import Local, visible_gpus


class Machines(NamedTuple):
    """How many runs go on at a time, and where.

    Attributes:
        engine: "local", this machine; or "ray", a cluster.
        jobs: runs at a time on this machine.
        address: of the cluster, HOST:PORT, or "auto": one on this machine.
        cpus: cores of each run on the cluster, and its threads.
        gpus: GPUs of each run on the cluster; 0.5: two runs share one.
    """

    engine: Literal["local", "ray"] = "local"
    jobs: int = 1
    address: str = "auto"
    cpus: int = 1
    gpus: float = 0

    def check(self, workers: int = 0) -> None:
        """Raise UsageError for more processes than this machine can bear, with `workers` for each run."""
        if self.engine == "local":
            require_processes("--jobs", self.jobs)
            require_processes("--workers of all --jobs", workers * self.jobs, least=0)
        if not 0 <= self.gpus < float("inf"):
            raise UsageError(f"--gpus-per-run: must be a finite number of at least 0, but is {self.gpus}")

    @property
    def threads(self) -> int:
        """CPU threads of a run that was not given any: its share of the cores."""
        return self.cpus if self.engine == "ray" else max(1, cores() // self.jobs)

    def per_gpu(self, runs: int) -> float:
        """How many of so many runs share a GPU; 1 where each has its own, or none."""
        if self.engine == "ray":
            return max(1.0, min(1 / self.gpus, runs)) if self.gpus else 1.0
        gpus = len(visible_gpus())
        return max(1.0, min(self.jobs, runs) / gpus) if gpus else 1.0

    def opened(self, runs: Path) -> Engine:
        """The engine, ready to do runs in a folder, which is made. Raises UsageError where there is no cluster."""
        runs.mkdir(parents=True, exist_ok=True)
        if self.engine == "local":
            return Local(self.jobs, visible_gpus())
        from massmatch.sweeps.engines.ray import Cluster

        return Cluster(self.address, self.cpus, self.gpus, runs.resolve())
