"""How requests travel, apart from when: what the sender's clockwork asks of HTTP and gRPC alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from loadtests.generator.block import Block
from loadtests.generator.records import Records

Address: TypeAlias = tuple[str, int]


class Transport(Protocol):
    """Carries the requests of one block, and tells its records what comes of each."""

    async def open(self) -> None:
        """Connects, before the block begins; a server that is not there is no error yet."""

    def launch(self, request: int) -> None:
        """Sends the request of this number, now or as soon as something can carry it; never waits."""

    async def close(self) -> None:
        """Ends what is still open, without telling the records."""


# (address, the pool's requests, block, its records) -> transport.
Opener: TypeAlias = Callable[[Address, Sequence[bytes], Block, Records], Transport]
