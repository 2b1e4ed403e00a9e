"""Sends one block of requests at their planned times, over whichever transport carries them.

Open loop: a request is sent when it is due, whatever became of those before it. Timers of an event loop are a
millisecond coarse, so shortly before a request is due the loop is polled without waiting: the generator is given a
core of its own for that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from loadtests.generator.block import Answer, Block, Sent
from loadtests.generator.http_transport import HttpTransport
from loadtests.generator.records import Records
from loadtests.generator.transport import Address, Opener

# From here on the loop polls instead of sleeping; twice the coarseness of its timers.
POLL_S = 0.002


class Sender:
    """Sends one block, once.

    Args:
        address: host and port.
        requests: the pool, bytes ready to be sent.
        block: what to send when.
        opener: makes the transport; HTTP without one.
    """

    def __init__(
        self, address: Address, requests: Sequence[bytes], block: Block, opener: Opener = HttpTransport
    ) -> None:
        self._planned: list[float] = block.planned_s.tolist()
        self._timeout_s = block.timeout_s
        self._records = Records(block)
        self._transport = opener(address, requests, block, self._records)
        self._next = 0

    @property
    def answers(self) -> list[Answer | None]:
        """By request; None where none came."""
        return self._records.answers

    async def run(self) -> Sent:
        """Sends everything, and waits for the answers until the last one is in or has taken too long."""
        self._loop = asyncio.get_running_loop()
        await self._transport.open()
        self._records.begin()
        if self._planned:
            self._tick()
            lasts_s = self._planned[-1] + self._timeout_s
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._records.finished.wait(), lasts_s)
        sent = self._records.sent_block()
        await self._transport.close()
        return sent

    def _tick(self) -> None:
        """Sends what is due, and comes back in time for what is due next."""
        elapsed = self._records.elapsed_s()
        while self._next < len(self._planned) and self._planned[self._next] <= elapsed:
            self._transport.launch(self._next)
            self._next += 1
        if self._next == len(self._planned):
            return
        wait = self._planned[self._next] - self._records.elapsed_s()
        if wait > POLL_S:
            self._loop.call_later(wait - POLL_S, self._tick)
        else:
            self._loop.call_soon(self._tick)
