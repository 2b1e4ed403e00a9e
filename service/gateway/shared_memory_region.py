"""One region of shared memory: a span of a POSIX shared memory object, checked when opened and at every use.

Only plain objects of /dev/shm that the server's user owns, or that everybody may read and write, so that no client
reaches through the server what it could not reach itself. Knows nothing of names in use nor of tensors.
"""

from __future__ import annotations

import os
import re
import stat
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.core.errors import BadInput
from service.gateway.quote import quote

SHM = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory

# One component; the slash in front is how POSIX writes it. Semaphores of POSIX lie in the same folder as "sem.NAME".
_KEY = re.compile(r"/?(?!\.\.?$|sem\.)[^/\0]{1,255}", re.DOTALL)
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_EVERYBODY = stat.S_IROTH | stat.S_IWOTH


class Region:
    """`byte_size` bytes at `offset` of an open object, which closes when nobody holds the region any more.

    Args:
        name: under which clients name it.
        key: of the object, as the client wrote it.
        offset: of the region in the object, in bytes.
        byte_size: of the region.
        descriptor: of the object, open for reading and writing; the region's own from now on.
    """

    __slots__ = ("__weakref__", "_descriptor", "byte_size", "key", "name", "offset")

    def __init__(self, name: str, key: str, offset: int, byte_size: int, descriptor: int) -> None:
        self.name, self.key, self.offset, self.byte_size = name, key, offset, byte_size
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, folder: Path, name: str, key: object, offset: int, byte_size: int) -> Region:
        """Opens the object `key` of `folder`.

        Raises:
            BadInput: the key is no plain name, names no plain object that may be used, or the object is too short.
        """
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise BadInput(f"'key' of region {quote(name)} is {quote(key)}, expected the plain name of an object")
        if not byte_size:
            raise BadInput(f"'byte_size' of region {quote(name)} is 0, expected 1 or more")
        try:
            descriptor = os.open(os.path.join(folder, key.removeprefix("/")), _OPEN)
        except (OSError, UnicodeEncodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a name"
            raise BadInput(f"Unable to open shared memory region: {quote(key)}: {reason.lower()}") from None
        region = cls(name, key, offset, byte_size, descriptor)
        region._check_object()
        return region

    def status(self) -> dict[str, Any]:
        """As the extension tells it."""
        return {"name": self.name, "key": self.key, "offset": self.offset, "byte_size": self.byte_size}

    def check(self, offset: int, byte_size: int) -> None:
        """Raises `BadInput` if `byte_size` bytes at `offset` do not lie inside the region."""
        if offset + byte_size > self.byte_size:
            raise BadInput(
                f"Invalid offset + byte size for shared memory region: {quote(self.name)} has {self.byte_size} bytes, "
                f"{byte_size} at {offset} were asked for"
            )

    def read(self, offset: int, byte_size: int) -> bytes:
        """A copy of the bytes; `check` must have passed.

        Raises:
            BadInput: the object was shortened since it was registered.
        """
        copied = _whole(lambda done: os.pread(self._descriptor, byte_size - done, self.offset + offset + done))
        if len(copied) != byte_size:
            raise self._shortened()
        return copied

    def write(self, offset: int, blob: bytes | memoryview) -> None:
        """Copies `blob` into the region.

        Raises:
            BadInput: it does not fit, the object was shortened, or there is no memory for its pages.
        """
        self.check(offset, len(blob))
        at, left = self.offset + offset, memoryview(blob)
        if os.fstat(self._descriptor).st_size < at + len(left):
            raise self._shortened()
        try:
            while left:
                written = os.pwrite(self._descriptor, left, at)
                at, left = at + written, left[written:]
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise BadInput(f"shared memory region {quote(self.name)} cannot be written: {reason}") from None

    def _check_object(self) -> None:
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BadInput(f"Invalid shared memory region: {quote(self.key)} is no plain object")
        if found.st_uid != os.geteuid() and found.st_mode & _EVERYBODY != _EVERYBODY:
            raise BadInput(
                f"Invalid shared memory region: {quote(self.key)} is another user's, expected the server's own, "
                "or one that everybody may read and write"
            )
        if self.offset + self.byte_size > found.st_size:
            raise BadInput(
                f"failed to register shared memory region {quote(self.name)}: the object has {found.st_size} bytes, "
                f"{self.byte_size} at {self.offset} were asked for"
            )

    def _shortened(self) -> BadInput:
        return BadInput(f"shared memory region {quote(self.name)} was shortened after it was registered")


def _whole(read: Callable[[int], bytes]) -> bytes:
    """What `read(done)` gives until it gives nothing: a single pread ends at 2 GiB."""
    chunk = read(0)
    chunks, done = [chunk], len(chunk)
    while chunk and (chunk := read(done)):
        chunks.append(chunk)
        done += len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
