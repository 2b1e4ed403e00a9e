"""Answers that are kept for requests with exactly the same inputs: which were asked for last, within a limit of bytes.

The key is a strong hash of every input's name, datatype, shape and bytes; nothing else of a request matters to what a
version computes. Kept arrays are copies that cannot be written. Knows nothing of requests, runs or clocks.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from service.core.contract import Array, Arrays

ENTRY_BYTES = 512  # what the books of one answer cost, its key included
ARRAY_BYTES = 256  # what an array costs beside its elements
_TEXT_BYTES = 64  # what an element of BYTES costs beside its text
_DIGEST_BYTES = 32

Copy = tuple[Arrays, int]  # arrays that cannot be written, and the bytes that they count for


def key_of(inputs: Arrays) -> bytes:
    """The key of a request's inputs, 256 bits; every part is framed, so that no two requests are hashed alike."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name in sorted(inputs):
        array = inputs[name]
        head = (name, array.dtype.str, array.shape)
        digest.update(_framed(repr(head).encode()))
        if array.dtype == np.object_:
            for element in array.ravel():
                digest.update(_framed(element))
        else:
            digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.digest()


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def size_bytes(arrays: Arrays) -> int:
    """About what the arrays take in memory."""
    return sum(ARRAY_BYTES + _elements_bytes(array) for array in arrays.values())


def _elements_bytes(array: Array) -> int:
    if array.dtype != np.object_:
        return array.nbytes
    return array.nbytes + sum(_TEXT_BYTES + len(element) for element in array.ravel())


class ResponseCache:
    """The kept answers of one version.

    Args:
        max_bytes: of all of them together, books included.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[bytes, Copy] = OrderedDict()
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> Arrays | None:
        """The outputs kept under `key`, read-only; None where there are none."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: bytes, outputs: Arrays) -> None:
        """Keeps a copy of `outputs`, in place of what was not asked for longest; not what is larger than the limit."""
        self.enter(key, self.copy_of(outputs))

    def copy_of(self, outputs: Arrays) -> Copy | None:
        """A copy to be entered; None for what is larger than the limit. May be made on any thread."""
        size = ENTRY_BYTES + size_bytes(outputs)
        return (_frozen(outputs), size) if size <= self._max_bytes else None

    def enter(self, key: bytes, copy: Copy | None) -> None:
        """Keeps a copy as `put` does; None only forgets what was kept under the key."""
        self._drop(key)
        if copy is None:
            return
        while self.held_bytes + copy[1] > self._max_bytes:
            self._drop(next(iter(self._kept)))
        self._kept[key] = copy
        self.held_bytes += copy[1]

    def clear(self) -> None:
        """Forgets every answer."""
        self._kept.clear()
        self.held_bytes = 0

    def _drop(self, key: bytes) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.held_bytes -= found[1]


def _frozen(outputs: Arrays) -> Mapping[str, Array]:
    copies = {name: array.copy() for name, array in outputs.items()}
    for array in copies.values():
        array.flags.writeable = False
    return MappingProxyType(copies)
