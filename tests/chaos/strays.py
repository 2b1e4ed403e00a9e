"""Clients who do not read their answers: they leave, dawdle, or never say what they came for."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress

from tests.chaos import world
from tests.chaos.tally import Tally
from tests.support.openloop import post
from tests.wire.digits import INFER, ROWS, tensor

LOCAL = "127.0.0.1"
_LONG_TURNS = 1000  # of the slow model: some 0.2 s
_MOST_BYTES = 40
_PAUSE_S = 0.1  # between two of them


class Strays:
    """Impatient, dawdling and silent ones, of one server.

    Args:
        port: of HTTP, on loopback.
        tally: written by all of them.
        seed: of every choice.
    """

    def __init__(self, port: int, tally: Tally, seed: int) -> None:
        self._port = port
        self._tally = tally
        self._random = random.Random(seed)

    async def leave(self) -> None:
        """Asks for what takes long, and hangs up before it is there."""
        asked = {"name": "turns", "shape": [1, 1], "datatype": "INT64", "data": [self._random.randrange(_LONG_TURNS)]}
        request = post(f"/v2/models/{world.SLOW}/infer", json.dumps({"inputs": [asked]}).encode())
        await self._begin("leaves", request, stay_s=self._random.uniform(0, 0.2))

    async def break_off(self) -> None:
        """Hangs up in the middle of its request."""
        request = post(INFER, json.dumps({"inputs": [tensor(ROWS[:1])]}).encode())
        await self._begin("breaks off", request[: self._random.randrange(len(request))], stay_s=0.0)

    async def dawdle(self) -> None:
        """Sends a byte now and then, for as long as it is let."""
        request = post(INFER, json.dumps({"inputs": [tensor(ROWS[:1])]}).encode())
        self._tally.sent["dawdles"] += 1
        self._tally.left += 1
        reader, writer = await asyncio.open_connection(LOCAL, self._port)
        with suppress(OSError):
            for byte in request[: self._random.randrange(_MOST_BYTES)]:
                writer.write(bytes([byte]))
                await writer.drain()
                if reader.at_eof():
                    break
                await asyncio.sleep(_PAUSE_S)
        writer.close()

    async def keep_silent(self) -> None:
        """Connects and says nothing."""
        await self._begin("is silent", b"", stay_s=self._random.uniform(0, 4))

    async def _begin(self, kind: str, request: bytes, *, stay_s: float) -> None:
        self._tally.sent[kind] += 1
        self._tally.left += 1
        _, writer = await asyncio.open_connection(LOCAL, self._port)
        with suppress(OSError):
            writer.write(request)
            await writer.drain()
            await asyncio.sleep(stay_s)
        writer.close()
