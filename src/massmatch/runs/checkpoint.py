"""Checkpoints: the state of a run after an epoch, in a file that proves itself before anything of it is used.

line 1    SHA-256 of all that follows, in hex
line 2    JSON: format, version, and what the state belongs to (network, loss, epochs done, versions)
then      the state as torch.save writes it: tensors, numbers, text, lists and dicts only
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from massmatch.errors import RunError, UsageError
from massmatch.runs.atomic import write_atomic

FORMAT, VERSION = "massmatch-checkpoint", 2
SHOWN = 5  # differences in one message


class DamagedError(RunError, ValueError):
    """A file that cannot be what was written; the one before may be sound."""


def save_checkpoint(path: Path, state: dict[str, Any], about: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all; the checkpoint that was there before becomes `previous.ckpt`.

    Raises RunError for weights that are no numbers, or where the disk is full: the old file stays.
    """
    if (name := _bad_weight(state)) is not None:
        kept = f"{path.name} still holds the epoch before" if path.is_file() else "no epoch before it was finished"
        raise RunError(f"{name} is no longer finite: {kept}")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    header = json.dumps({"format": FORMAT, "version": VERSION, **about}).encode() + b"\n"
    digest = hashlib.sha256(header)
    digest.update(buffer.getbuffer())
    write_atomic(path, digest.hexdigest().encode() + b"\n", header, buffer.getbuffer(), keep=previous_of(path))


def previous_of(path: Path) -> Path:
    """The checkpoint before this one."""
    return path.with_name("previous.ckpt")


def load_checkpoint(path: Path, about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The state; nothing in the file is executed.

    Raises DamagedError for a file that is not as it was written, has weights that are no numbers, or is no checkpoint
    of massmatch; UsageError for one of a newer version, of something else than `about`, or with more than plain data.
    """
    digest, _, rest = path.read_bytes().partition(b"\n")
    if len(digest) != 64 or not all(c in b"0123456789abcdef" for c in digest):
        raise DamagedError(f"{path} is no checkpoint of massmatch: it does not begin with its SHA-256")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise DamagedError(f"{path} is damaged: its {len(rest)} bytes have another SHA-256 than its first line says")
    header, content = _parted(path, rest)
    differing = differences(about or {}, {key: value for key, value in header.items() if key in (about or {})})
    if differing:
        raise UsageError(f"{path} belongs to another run: {differing}")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"{path} is refused: it holds more than plain data, and nothing of it was executed ({reason})"
        ) from None
    if (name := _bad_weight(state)) is not None:
        raise DamagedError(f"{path} is refused: {name} is not finite")
    return state


def _parted(path: Path, rest: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and state. ValueError for a version that this one does not know."""
    line, _, content = rest.partition(b"\n")
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise DamagedError(f"{path} is no checkpoint of massmatch: its second line names no format {FORMAT!r}")
    if header.get("version") != VERSION:
        raise UsageError(
            f"{path} has version {header.get('version')} of the format, this massmatch reads {VERSION}: "
            "go on with the version that wrote it"
        )
    return header, content


def first_unfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with NaN or infinity in it, if there is one."""
    return next((name for name, value in tensors.items() if not torch.isfinite(value).all()), None)


def _bad_weight(state: Mapping[str, Any]) -> str | None:
    """Where the networks of a state are no numbers. Losses may keep NaN for what they have not learned yet."""
    names = ((part, first_unfinite(state[part])) for part in ("model", "critics") if part in state)
    return next((f"{part}.{name}" for part, name in names if name is not None), None)


def fit_into(module: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load tensors into a module. ValueError tells the first differences in names and shapes."""
    expected, found = (
        {name: tuple(value.shape) for name, value in each.items()} for each in (module.state_dict(), tensors)
    )
    if told := differences(expected, found):
        raise UsageError(f"{where} does not fit the network: {told}")
    module.load_state_dict(dict(tensors))


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """At most five differing keys, in one line; empty if there are none."""
    nothing = "nothing"
    keys = [key for key in {**expected, **found} if expected.get(key, nothing) != found.get(key, nothing)]
    told = [f"{key} should be {expected.get(key, nothing)} but is {found.get(key, nothing)}" for key in keys[:SHOWN]]
    more = [f"and {len(keys) - SHOWN} more"] if len(keys) > SHOWN else []
    return "; ".join(told + more)
