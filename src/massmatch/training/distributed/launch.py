"""From one process to many: which there are, how they start, and how they end together."""

import contextlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable
from functools import partial
from multiprocessing.context import SpawnContext
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
import torch.distributed
import torch.multiprocessing as mp

from massmatch.errors import MassmatchError, RunError, UsageError
from massmatch.losses.own import blamed
from massmatch.machine import require_processes
from massmatch.runs.precision import FABRIC
from massmatch.training.distributed.signals import Stop, StoppedError, gently
from massmatch.training.progress import Progress, Watch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # it tells of every process that it ends

Work = Callable[..., None]  # (fabric, watch, stop, *arguments)


class Processes(NamedTuple):
    """How many processes train one network: `devices` (GPUs, or processes of a machine without) on each of `nodes`."""

    devices: int = 1
    nodes: int = 1

    @property
    def total(self) -> int:
        """The number of processes on all nodes together."""
        return self.devices * self.nodes

    @property
    def started_by_others(self) -> bool:
        """Whether torchrun or SLURM's srun has started this process as one of several."""
        return self.total > 1 and ("TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1)

    @property
    def leads(self) -> bool:
        """Whether this process prepares the folder: the only one here, or the first of all."""
        rank = os.environ.get("RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "SLURM_PROCID", "0")
        return int(rank) == 0 if self.started_by_others else int(os.environ.get("NODE_RANK", "0")) == 0

    def check(self, batch_size: int, device: torch.device) -> None:
        """Raise UsageError where so many processes are impossible: with this batch size, device or environment."""
        if not all(isinstance(count, int) and count >= 1 for count in self):
            raise UsageError(
                "--devices and --nodes must be whole numbers of at least 1, but are "
                f"{self.devices!r} and {self.nodes!r}"
            )
        if self.total > batch_size:
            raise UsageError(
                f"--batch-size {batch_size} is shared by all processes, of which there are {self.total}: "
                "take a larger batch, or fewer --devices or --nodes"
            )
        if device.type == "cpu" and not self.started_by_others:
            require_processes("--devices", self.devices)
        if device.type == "mps" and self.total > 1:
            raise UsageError("--devices: an Apple GPU trains alone")
        if device.type not in ("cpu", "mps") and (there := torch.accelerator.device_count()) < self.devices:
            raise UsageError(f"--devices {self.devices}: this machine has {there} {device.type} devices")
        if self.nodes > 1 and not self.started_by_others and "MASTER_ADDR" not in os.environ:
            raise UsageError(
                f"--nodes {self.nodes}: start the same command on each machine with torchrun or srun, or with "
                "MASTER_ADDR, MASTER_PORT and NODE_RANK in the environment"
            )


def make_fabric(precision: str, device: torch.device, processes: Processes) -> "Fabric":
    """Fabric for a number format; several processes exchange gradients by DistributedDataParallel.

    Lightning is imported here, where the first network is about to be trained: it takes longer to load than PyTorch,
    and a mistake in a command is told before.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.precision import MixedPrecision
    from lightning_fabric.strategies import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would announce the number format
    plugins: list[Any] = []
    if precision == "float16":  # Fabric alone would take bfloat16 on a CPU
        plugins = [MixedPrecision("16-mixed", device.type, torch.amp.GradScaler(device.type))]
    strategy: Any = "auto"
    if processes.total > 1:
        strategy = DDPStrategy(start_method="popen" if processes.started_by_others else "spawn")
    return Fabric(
        accelerator="auto",
        devices=processes.devices,
        num_nodes=processes.nodes,
        strategy=strategy,
        precision=None if plugins else FABRIC[precision],  # type: ignore[arg-type]
        plugins=plugins or None,
    )


def launch(fabric: "Fabric", processes: Processes, work: Work, arguments: tuple[Any, ...], watch: Watch) -> None:
    """`work(fabric, watch, stop, *arguments)` on every process, until all are at their end.

    An error or a signal in one ends all; it is raised here as it was raised there.
    """
    if processes.total == 1 or processes.started_by_others:
        fabric.launch()
        watch = watch if fabric.is_global_zero else lambda progress: None
        with gently() as stop:
            work(fabric, watch, stop, *arguments)
            disconnect()
        return
    context: SpawnContext = mp.get_context("spawn")
    news, asked = context.SimpleQueue(), context.Value("i", 0)
    heard: list[BaseException] = []
    listener = threading.Thread(target=_listen, args=(news, watch, heard), daemon=True)
    listener.start()

    def pass_on(signum: int) -> None:
        asked.value = signum

    try:
        with gently(pass_on) as stop:
            fabric.launch(partial(_spawned, work=work, arguments=arguments, news=news, asked=asked))
    except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
        _end(news, listener)
        raise_first(heard, stop, error)
    _end(news, listener)


def disconnect() -> None:
    """End the connection once all are done: a process that leaves while another still speaks can abort it."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def raise_first(heard: list[BaseException], stop: Stop, error: Exception) -> NoReturn:
    """What went wrong first, in the words of the process in which it did."""
    if heard:
        raise heard[0] from None
    stop.raise_if_asked()
    raise RunError(
        f"one of the processes that train together died ({str(error).strip().splitlines()[-1]}): perhaps memory ran "
        "out; the same command goes on from the last finished epoch"
    ) from None


def _spawned(fabric: "Fabric", work: Work, arguments: tuple[Any, ...], news: Any, asked: Any) -> None:
    """One of several processes: it tells what it sees and how it ends to the one that started it."""
    parent = os.getppid()

    def orphaned(signum: int, frame: object) -> None:
        if os.getppid() != parent:  # Linux sends SIGINT when the parent has died
            os._exit(128 + signum)

    signal.signal(signal.SIGINT, orphaned)  # Ctrl-C goes to the parent, who passes it on
    leads = fabric.is_global_zero
    warnings.showwarning = lambda message, *_, **__: news.put(("warning", str(message))) if leads else None
    watch: Watch = (lambda progress: news.put(("progress", progress))) if leads else (lambda progress: None)
    try:
        work(fabric, watch, Asked(asked), *arguments)
        disconnect()
    except (Exception, StoppedError, SystemExit) as error:
        theirs = None if isinstance(error, MassmatchError) else blamed(error)  # a traceback cannot be sent
        with contextlib.suppress(Exception):  # an error that cannot be sent still ends the process
            news.put(("error", RunError(theirs) if theirs else error))
        os._exit(1)  # at once: a process that waits for this one ends when the connection does


class Asked(Stop):
    """Whether the parent was asked to end."""

    def __init__(self, value: Any) -> None:
        self.value = value

    @property
    def signum(self) -> int:  # type: ignore[override]
        """Of the signal that the parent got; 0 without."""
        return self.value.value


def _listen(news: Any, watch: Watch, heard: list[BaseException]) -> None:
    while (message := news.get()) is not None:
        kind, what = message
        if kind == "progress":
            watch(Progress(*what))
        elif kind == "warning":
            warnings.warn(what, stacklevel=2)
        else:
            heard.append(what)


def _end(news: Any, listener: threading.Thread) -> None:
    news.put(None)
    listener.join()
