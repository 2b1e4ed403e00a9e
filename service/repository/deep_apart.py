"""Decodes a large model.deep in a process of its own: in this one it would hold the interpreter from everyone else.

A small file is decoded here, since a process takes longer to start (0.15 s). What comes back is read from a file in
memory, which holds nobody up.
"""

from __future__ import annotations

import os
import subprocess

from service.core import interpreter
from service.core.errors import BadModel
from service.repository.deep_child import REFUSED
from service.repository.deep_codec import declared_bytes, decode

APART_BYTES = 16 << 20  # decoding so much takes up to half a second
DEADLINE_S = 600
_MIB = 1 << 20
# A sparse tensor's places take eight bytes each beside its values, and all is there twice in the end.
_MEMORY_TIMES = 12


def decode_apart(data: bytes, *, limit_bytes: int) -> bytes:
    """The ONNX file that was coded; blocks, without holding other threads up for more than some milliseconds.

    Args:
        data: the whole of model.deep.
        limit_bytes: the most that it may decode to.

    Raises:
        BadModel: as `deep_codec.decode`; or it takes more memory or time than any file of its size.
    """
    size_bytes = declared_bytes(data, limit_bytes=limit_bytes)
    if size_bytes < APART_BYTES or not hasattr(os, "memfd_create"):
        return decode(data, limit_bytes=limit_bytes)
    memory_bytes = len(data) + _MEMORY_TIMES * size_bytes + 256 * _MIB
    descriptor = os.memfd_create("retort-decoded", os.MFD_CLOEXEC)
    try:
        _decode_into(descriptor, data, (limit_bytes, memory_bytes, DEADLINE_S, os.getpid()))
        return _whole(descriptor, size_bytes)
    finally:
        os.close(descriptor)


def _decode_into(descriptor: int, data: bytes, numbers: tuple[int, ...]) -> None:
    ended = subprocess.run(  # noqa: S603 - this very interpreter, and four numbers
        interpreter.command("service.repository.deep_child", *numbers),
        input=data,
        stdout=descriptor,
        stderr=subprocess.PIPE,
        env=interpreter.environment(),
        start_new_session=True,  # a Ctrl-C in the terminal is for the server
        check=False,
    )
    if ended.returncode == REFUSED:
        raise BadModel(ended.stderr.decode(errors="replace"))
    if ended.returncode:
        raise BadModel(f"model.deep cannot be decoded: its process ended with {ended.returncode}.")


def _whole(descriptor: int, size_bytes: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        whole = file.readall()
    if len(whole) != size_bytes:
        raise BadModel("model.deep cannot be decoded: its process wrote another size than the file says.")
    return whole
