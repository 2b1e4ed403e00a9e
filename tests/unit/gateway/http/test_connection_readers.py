"""What a client meets that does not take its answer (promise H2). Over real sockets with short limits.

Each ends with a good request, and has a negative control: the same deed where that limit is out of reach.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from service.gateway.tls import Certificate
from service.observe import logs
from tests.support.certificates import make_pair
from tests.unit.gateway.http.hostile import HEAD, PATIENCE_S, SHORT, Service


async def test_who_does_not_take_the_answer_is_cut() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send((HEAD % 0).replace(b"/echo", b"/large"))
        async with asyncio.timeout(PATIENCE_S):
            while service.server._server.server_state.connections:  # noqa: ASYNC110 - nobody is told of the end
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("secure", [False, True])
async def test_who_takes_less_in_a_window_than_lies_in_the_system_s_buffers_is_not(
    tmp_path: Path, secure: bool
) -> None:
    pair = make_pair(tmp_path)
    tls = Certificate(pair.chain, pair.key, logs.logger("test")).context if secure else None
    async with Service(replace(SHORT, window_s=0.8), tls).running() as service, service.client() as client:
        client.send((HEAD % 0).replace(b"/echo", b"/large"))
        for _ in range(12):  # of which four are a window
            await client.reader.readexactly(100_000)
            await asyncio.sleep(0.2)
        assert service.server._server.server_state.connections


async def test_who_takes_it_slowly_gets_all_of_it() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send((HEAD % 0).replace(b"/echo", b"/large"))
        got = 0
        while got < 30 << 20:
            octets = await client.reader.read(1 << 20)
            assert octets, "it was cut"
            got += len(octets)
            await asyncio.sleep(0.005)
