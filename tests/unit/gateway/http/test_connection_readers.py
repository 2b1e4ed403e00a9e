"""What a client meets that does not take its answer (promise H2). Over real sockets with short limits.

Each ends with a good request, and has a negative control: the same deed where that limit is out of reach.
"""

from __future__ import annotations

import asyncio

from tests.unit.gateway.http.hostile import HEAD, SHORT, Service


async def test_who_does_not_take_the_answer_is_cut() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send((HEAD % 0).replace(b"/echo", b"/large"))
        for _ in range(100):
            await asyncio.sleep(0.1)
            if not service.server._server.server_state.connections:
                break
        assert not service.server._server.server_state.connections


async def test_who_takes_it_slowly_gets_all_of_it() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send((HEAD % 0).replace(b"/echo", b"/large"))
        got = 0
        while got < 30 << 20:
            got += len(await client.reader.read(1 << 20))
            await asyncio.sleep(0.005)
