"""Everything that moves during a training, to and from checkpoints."""

import random
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from massmatch.errors import UsageError
from massmatch.runs.checkpoint import DamagedError, fit_into, load_checkpoint, previous_of, save_checkpoint
from massmatch.runs.history import Row
from massmatch.training.distributed.collectives import gathered

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Progressed(NamedTuple):
    """The parts of a run that change while it trains, and that a checkpoint holds; `about` says which run they belong
    to.
    """

    fabric: "Fabric"
    about: Mapping[str, Any]
    model: nn.Module
    loss: nn.Module
    optimizer: Any
    schedule: LRScheduler | None
    critics: nn.Module | None = None
    critic_optimizer: torch.optim.Optimizer | None = None
    average: AveragedModel | None = None

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and written: the average of the weights where there is one, otherwise the
        network itself.
        """
        return self.model if self.average is None else self.average.module

    @property
    def parts(self) -> dict[str, Any]:
        """The names and objects of the parts that this run has."""
        return {name: part for name, part in self._asdict().items() if part is not None and hasattr(part, "state_dict")}

    def save(self, path: Path, history: list[Row]) -> None:
        """Write a checkpoint after an epoch. Every process calls it, since each has random numbers of its own; the
        first one writes.
        """
        rng = gathered(self.fabric, random_state())
        if self.fabric.is_global_zero:
            state = {name: part.state_dict() for name, part in self.parts.items()}
            scaler = self.fabric.strategy.precision.state_dict()
            save_checkpoint(path, {**state, "scaler": scaler, "history": history, "rng": rng}, self.about)

    def resume(self, path: Path, *, strict: bool = False) -> list[Row]:
        """Load the checkpoint, if there is one, and return the history rows of the epochs that are done.

        Raises UsageError where there is none to be trusted; with `strict`, also where it is not the last one.
        """
        found = sound(path, {key: value for key, value in self.about.items() if key != "versions"}, strict=strict)
        if found is None:
            return []
        where, state = found
        self.set_aside(path, where)
        for name in ("model", "critics"):
            if (module := self.parts.get(name)) is not None:
                fit_into(module, state[name], str(where))
        for name, part in self.parts.items():
            if name not in ("model", "critics"):
                part.load_state_dict(state[name])
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        set_random_state(state["rng"], self.fabric.global_rank)
        return state["history"]

    def set_aside(self, path: Path, where: Path) -> None:
        """Move a damaged checkpoint away once all processes have seen it, so that the next one does not displace the
        sound one.
        """
        if where != path:
            self.fabric.barrier()
            if self.fabric.is_global_zero and path.is_file():
                path.replace(path.with_name("damaged.ckpt"))


def sound(path: Path, about: Mapping[str, Any], *, strict: bool = False) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that can be trusted, and its state; None before the first. A warning says what was wrong.

    Raises UsageError if there are some, but none is sound; with `strict`, unless `path` itself is.
    """
    paths = [each for each in (path, previous_of(path)) if each.is_file()]
    if strict and path not in paths:
        raise UsageError(f"nothing to resume: there is no {path}; leave --strict-resume away to start this run")
    reasons = [] if path in paths or not paths else [f"there is no {path}"]
    for each in paths:
        try:
            state = load_checkpoint(each, about)
        except DamagedError as error:
            reasons.append(str(error))
            if strict:
                raise
            continue
        if reasons:
            done = len(state["history"])
            warnings.warn(f"{'; '.join(reasons)}: going on from {each.name}, after epoch {done}", stacklevel=2)
        return each, state
    if paths:
        raise UsageError(f"{'; '.join(reasons)}: remove the damaged file to start this run again")
    return None


def random_state() -> dict[str, Any]:
    """The states of the random generators of Python, NumPy, PyTorch and the GPUs, as plain data."""
    kind, keys, *rest = np.random.get_state(legacy=True)  # whatever a network or loss draws from it
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(states: list[dict[str, Any]], rank: int) -> None:
    """Give the random generators of this process, which has this rank, the state that they had."""
    state = states[rank % len(states)]
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
