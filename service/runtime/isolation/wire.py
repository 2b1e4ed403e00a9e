"""What goes between a server and a model's process: short JSON messages on a socket, tensors in a file in memory.

A process that a model took over may write what it likes: whatever comes from it is data to doubt. Nothing is
executable, nothing is mapped (a file that is shortened then costs an error, not the reader's life), and every size is
held against what is there before memory is taken for it.
"""

from __future__ import annotations

import math
import os
import select
import socket
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from service.core.contract import DATATYPES, DTYPES, Array, Arrays
from service.core.errors import BadInput

ENDED = "it ended"
MOST_MESSAGE_BYTES = 160 << 10  # below what a socket takes at once, by default
_ANCILLARY_BYTES = socket.CMSG_LEN(8 * np.dtype(np.intc).itemsize)  # eight descriptors
_MOST_AXES = 64
_KEPT_BYTES = 64 << 20  # of a file in memory between two runs: pages that are new each time cost more than the copy
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are
_AT_ONCE_BYTES = 1 << 30  # Linux writes no more than 2 GiB in one call
_LENGTH = np.dtype("<u4")
_TEXT_BYTES = 150  # of memory for a text beside its bytes while it is read, at most: 148 were measured

Message = dict[str, Any]
Described = list[Any]


class Gone(Exception):
    """The other side has ended, or says what nobody who is well would say."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Sends one message, with open descriptors.

    Raises:
        Gone: nobody is there, or nobody reads while this end does not wait.
    """
    try:
        socket.send_fds(sock, [orjson.dumps(message)], list(descriptors))
    except BlockingIOError:
        raise Gone("it does not read what it is told") from None
    except OSError:
        raise Gone(ENDED) from None


def receive(sock: socket.socket) -> tuple[Message, list[int]]:
    """Waits for one message; the descriptors that came with it are the caller's.

    Raises:
        Gone: the other side ended, or what it sent is no message.
    """
    try:
        # Not recv_fds: Python 3.11's drops the flags, and every descriptor would be handed down to what is started.
        data, ancillary, _, _ = sock.recvmsg(MOST_MESSAGE_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
    except OSError:
        raise Gone(ENDED) from None
    descriptors = [int(one) for _, _, payload in ancillary for one in np.frombuffer(payload, np.intc)]
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):
        for descriptor in descriptors:
            os.close(descriptor)
        raise Gone(ENDED if not data else "it sent what is no message")
    return message, descriptors


def readable(sock: socket.socket | int, timeout_s: float, *others: int) -> bool:
    """Whether a message came, or the other side ended, within that time; or there is something to `others`."""
    poll = select.poll()  # unlike select, it takes descriptors over 1023
    for one in (sock, *others):
        poll.register(one, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


class MemoryFile:
    """A file that is on no disk and has no name; both sides of a run hold it, and only one at a time uses it.

    Args:
        descriptor: of the file; closed with this object.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.close = weakref.finalize(self, os.close, descriptor)

    @classmethod
    def new(cls, name: str) -> MemoryFile:
        """An empty one; `name` is for the reader of /proc alone."""
        return cls(os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))

    def write(self, arrays: Arrays) -> list[Described]:
        """Writes arrays one after the other, and says for each: name, datatype, shape, bytes.

        Args:
            arrays: of any layout; BYTES are object arrays of `bytes`.

        Raises:
            BadInput: an array's dtype is none of the protocol's.
            OSError: there is no memory.
        """
        described, at = [], 0
        for name, values in arrays.items():
            datatype = DATATYPES.get(values.dtype)
            if datatype is None:
                raise BadInput(f"input '{name}' is of dtype {values.dtype}, which no tensor has")
            parts = _text_parts(values) if datatype == "BYTES" else [np.ascontiguousarray(values)]
            size = 0
            for part in parts:
                flat = part.reshape(-1).view(np.uint8)
                self._put(flat.data, at + size)
                size += len(flat)
            described.append([name, datatype, list(values.shape), size])
            at += size
        return described

    def read(self, described: Any, limit_bytes: int) -> dict[str, Array]:
        """Reads what `write` wrote, into memory of this process's own.

        Args:
            described: what the other side said.
            limit_bytes: of all arrays together.

        Raises:
            Gone: that is not so, or they are larger.
            OSError, MemoryError: there is no memory, or their texts would take more than `limit_bytes`.
        """
        if not isinstance(described, list):
            raise Gone("it described no tensors")
        sizes = [_checked(one) for one in described]
        file = os.fstat(self.descriptor)
        if sum(sizes) > min(limit_bytes, file.st_size):
            raise Gone("it described more than there is")
        if sum(sizes) + sum(map(_beside_bytes, described)) > limit_bytes:
            raise MemoryError
        if sum(sizes) > file.st_blocks * _BLOCK_BYTES:  # a file with holes takes no memory until it is read
            raise Gone("it described more than it wrote")
        arrays: dict[str, Array] = {}
        at = 0
        for (name, datatype, shape, _), size in zip(described, sizes, strict=True):
            raw = np.empty(size, np.uint8)
            self._get(raw.data, at)
            try:
                arrays[name] = _typed(raw, datatype, shape)
            except ValueError:
                raise Gone("it described a shape that no tensor has") from None
            at += size
        return arrays

    @property
    def size_bytes(self) -> int:
        """How long it is, as either side made it."""
        return os.fstat(self.descriptor).st_size

    @property
    def is_large(self) -> bool:
        """Whether it takes more memory than is kept between two runs."""
        return self.size_bytes > _KEPT_BYTES

    def shrink(self) -> None:
        """Gives the memory of a large run back."""
        if self.is_large:
            os.ftruncate(self.descriptor, 0)

    def _put(self, data: memoryview, at: int) -> None:
        while data:
            written = os.pwrite(self.descriptor, data[:_AT_ONCE_BYTES], at)
            data, at = data[written:], at + written

    def _get(self, into: memoryview, at: int) -> None:
        while into:
            got = os.preadv(self.descriptor, [into[:_AT_ONCE_BYTES]], at)
            if not got:
                raise Gone("its tensors end too early")
            into, at = into[got:], at + got


def _text_parts(values: Array) -> list[Array]:
    """BYTES: the length of every element, then all of them."""
    elements = list(values.ravel())
    lengths = np.array([len(element) for element in elements], _LENGTH)
    return [lengths, np.frombuffer(b"".join(elements), np.uint8)]


def _checked(described: Any) -> int:
    """The bytes of one tensor, once its description makes sense."""
    match described:
        case [str(), str(datatype), list(shape), int(size)] if datatype in DTYPES and len(shape) <= _MOST_AXES:
            pass
        case _:
            raise Gone("it described a tensor in words of its own")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise Gone("it described a tensor of no shape")
    count = math.prod(shape)
    if datatype == "BYTES":
        least = count * _LENGTH.itemsize
        fits = size >= least
    else:
        fits = size == count * DTYPES[datatype].itemsize
    if not fits:
        raise Gone("it described a tensor of another size than its shape")
    return size


def _beside_bytes(described: Described) -> int:
    """What a checked tensor takes beside its bytes: a text of none takes memory too, and a sparse file has many."""
    _, datatype, shape, _ = described
    return math.prod(shape) * _TEXT_BYTES if datatype == "BYTES" else 0


def _typed(raw: Array, datatype: str, shape: Sequence[int]) -> Array:
    if datatype == "BOOL":
        return np.not_equal(raw, 0, dtype=np.bool_).reshape(shape)
    if datatype != "BYTES":
        typed: Array = raw.view(DTYPES[datatype]).reshape(shape)
        return typed
    count = math.prod(shape)
    lengths, data = raw[: count * _LENGTH.itemsize].view(_LENGTH), raw[count * _LENGTH.itemsize :].tobytes()
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    if (ends[-1] if ends else 0) != len(data):
        raise Gone("its strings have another length than they say")
    elements = np.empty(count, dtype=object)
    elements[:] = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return elements.reshape(shape)
