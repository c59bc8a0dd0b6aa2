"""Writing files so that a crash leaves the old one or the new one, never half of one."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch


def write_atomic(path: Path, content: bytes) -> None:
    """Write beside `path`, force it to the disk, then take its name."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """A line with the SHA-256 of what follows, then the state as torch.save writes it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_atomic(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state. ValueError for a file that is damaged or no checkpoint of massmatch; runs no code from it."""
    digest, _, content = path.read_bytes().partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError(f"{path} is damaged or no checkpoint of massmatch: remove it to start this run again")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
