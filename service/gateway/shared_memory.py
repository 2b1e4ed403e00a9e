"""System shared memory: regions that clients on this machine register by name, to hand tensors over without a socket.

A region is read and written with pread and pwrite, never mapped: a client that shortens its file costs itself an error
sentence, where a mapping would cost the server its life (SIGBUS). Off unless switched on. Knows no transport.
Source: Triton's shared memory extension.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

from service.core.errors import BadInput, Conflict, NotFound, TooLarge
from service.gateway.quote import quote
from service.gateway.shared_memory_region import SHM, Region

REGIONS_LIMIT = 256  # each holds a file descriptor, of which a process usually has 1024
_NAME_LIMIT = 255
_NUMBER_LIMIT = 1 << 63
_OFF = "shared memory is off: start the server with --shared-memory, or RETORT_SHARED_MEMORY=true"
_NO_CUDA = "CUDA shared memory is not supported: register a system shared memory region, or send the data"


class SharedMemory:
    """The registered regions.

    Args:
        enabled: whether anything but a refusal is answered.
        request_limit_bytes: what one request may read from regions altogether.
        folder: where the objects lie that keys name.
        regions_limit: how many may be open at once: registered, or held by requests under way.
    """

    def __init__(
        self,
        enabled: bool,
        request_limit_bytes: int,
        *,
        folder: Path = SHM,
        regions_limit: int = REGIONS_LIMIT,
    ) -> None:
        self.enabled = enabled
        self._request_limit_bytes = request_limit_bytes
        self._folder = folder
        self._regions_limit = regions_limit
        self._regions: dict[str, Region] = {}
        self._open: WeakSet[Region] = WeakSet()

    def register(self, name: str, key: object, offset: object, byte_size: object) -> None:
        """Makes `byte_size` bytes at `offset` of the object `key` known as `name`.

        Raises:
            BadInput: off, a number out of range, a key that may not be used, or an object that is too short.
            Conflict: the name is taken.
            TooLarge: too many regions.
        """
        self._check_on()
        if not 0 < len(name) <= _NAME_LIMIT:
            raise BadInput(f"the region's name {quote(name)} must have 1 to {_NAME_LIMIT} characters")
        first, size = number(offset, "offset", "the region"), number(byte_size, "byte_size", "the region")
        if name in self._regions:
            raise Conflict(f"shared memory region {quote(name)} already in manager")
        if len(self._open) >= self._regions_limit:
            raise TooLarge(f"there are {self._regions_limit} shared memory regions, and no more may be registered")
        region = Region.open(self._folder, name, key, first, size)
        self._open.add(region)
        self._regions[name] = region

    def unregister(self, name: str | None) -> None:
        """Forgets one region, or all; one that is not there is no error. Answers under way still reach theirs.

        Raises:
            BadInput: off.
        """
        self._check_on()
        if name is None:
            self._regions.clear()
        else:
            self._regions.pop(name, None)

    def status(self, name: str | None) -> list[dict[str, Any]]:
        """`name`, `key`, `offset` and `byte_size` (bytes) of one region, or of all.

        Raises:
            BadInput: off.
            NotFound: no region of that name.
        """
        self._check_on()
        if name is None:
            return [region.status() for region in self._regions.values()]
        if name not in self._regions:
            raise NotFound(f"Unable to find system shared memory region: {quote(name)}")
        return [self._regions[name].status()]

    def register_cuda(self) -> None:
        """Refuses a CUDA region: there are none here. Raises BadInput."""
        self._check_on()
        raise BadInput(_NO_CUDA)

    def unregister_cuda(self) -> None:
        """Forgets no CUDA region, for clients that begin by clearing both kinds. Raises BadInput when off."""
        self._check_on()

    def cuda_status(self, name: str | None) -> list[dict[str, Any]]:
        """The CUDA regions: none. Raises BadInput when off, NotFound for a name."""
        self._check_on()
        if name is not None:
            raise NotFound(f"Unable to find cuda shared memory region: {quote(name)}")
        return []

    def for_request(self, check_peer: Callable[[], None]) -> RequestRegions:
        """The regions as one request may use them; `check_peer` raises where its sender may not."""
        return RequestRegions(self._find, check_peer, self._request_limit_bytes)

    def _find(self, name: str) -> Region:
        self._check_on()
        region = self._regions.get(name)
        if region is None:
            raise BadInput(f"Unable to find shared memory region: {quote(name)}")
        return region

    def _check_on(self) -> None:
        if not self.enabled:
            raise BadInput(_OFF)


class RequestRegions:
    """What one request reads from regions and where its answer is to be written; a `region_tensors.Regions`.

    Args:
        find: name -> region; raises BadInput.
        check_peer: raises where the sender may not use shared memory; asked before a region is touched.
        limit_bytes: what the request may read altogether.
    """

    __slots__ = ("_check_peer", "_find", "_left_bytes", "_limit_bytes")

    def __init__(self, find: Callable[[str], Region], check_peer: Callable[[], None], limit_bytes: int) -> None:
        self._find = find
        self._check_peer = check_peer
        self._limit_bytes = self._left_bytes = limit_bytes

    def read(self, name: str, offset: int, byte_size: int) -> bytes:
        """A copy of `byte_size` bytes at `offset` of the region `name`.

        Raises:
            BadInput: no such region, or the bytes do not lie inside it.
            TooLarge: the request reads more than it may.
        """
        region = self._allowed(name)
        region.check(offset, byte_size)
        if byte_size > self._left_bytes:
            raise TooLarge(f"the request reads more than {self._limit_bytes} bytes from shared memory")
        self._left_bytes -= byte_size
        return region.read(offset, byte_size)

    def target(self, name: str, offset: int, byte_size: int) -> Region:
        """The region `name`, in which `byte_size` bytes at `offset` will be written; stays usable when unregistered.

        Raises:
            BadInput: no such region, or the bytes do not lie inside it.
        """
        region = self._allowed(name)
        region.check(offset, byte_size)
        return region

    @property
    def read_bytes(self) -> int:
        """What the request has read: memory that did not come with it."""
        return self._limit_bytes - self._left_bytes

    def _allowed(self, name: str) -> Region:
        self._check_peer()
        return self._find(name)


def number(value: object, name: str, where: str) -> int:
    """A number of bytes of 0 or more that fits 63 bits. Raises BadInput."""
    if type(value) is not int or not 0 <= value < _NUMBER_LIMIT:
        raise BadInput(f"'{name}' of {where} must be a whole number of bytes, 0 or more")
    return value
