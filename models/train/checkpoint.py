"""The file that makes an interruption harmless: written whole or not at all, read whole or refused.

Knows nothing of training: a state is a dictionary of tensors, numbers and strings. In front of it stands its SHA-256,
so that a file which was cut short or changed on the disk is not trained on.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_MAGIC = b"retort-checkpoint-1\n"
_HEAD_BYTES = len(_MAGIC) + hashlib.sha256().digest_size


class BadCheckpoint(ValueError):
    """A checkpoint cannot be gone on from; the message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run is kept, and how often beside the end of each epoch.

    Attributes:
        path: of the file; its folder is there.
        every_s: seconds since the last one after which the next step is followed by another.
        every_steps: likewise in steps; 0 goes by the time alone.
    """

    path: Path
    every_s: float = 60.0
    every_steps: int = 0


def write(path: Path, state: dict[str, Any]) -> None:
    """Writes the state so that after a crash at any moment the file holds this state or the one before.

    Raises:
        OSError: the disk refused; the file is as it was.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    beside = path.with_name(path.name + ".tmp")
    try:
        with beside.open("wb") as file:
            file.write(_MAGIC + hashlib.sha256(content).digest())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def read(path: Path) -> dict[str, Any]:
    """The state, its tensors on the CPU; nothing in the file is executed.

    Raises:
        BadCheckpoint: it is no checkpoint, was cut short, or was changed.
    """
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise BadCheckpoint(f"{path.name} is not a checkpoint of a training run; remove it to start anew.")
    content = data[_HEAD_BYTES:]
    if hashlib.sha256(content).digest() != data[len(_MAGIC) : _HEAD_BYTES]:
        raise BadCheckpoint(f"{path.name} was cut short or changed since it was written; remove it to start anew.")
    state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    return state


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
