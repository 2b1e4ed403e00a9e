"""Those who change what is served while it serves: swaps, rollbacks, broken versions, loads, unloads, kills."""

from __future__ import annotations

import random
from contextlib import suppress

import httpx
import psutil

from tests.chaos import world
from tests.chaos.tally import Tally
from tests.wire.digits import VERSIONS

LATE_S = 30.0


class Operators:
    """All kinds, of one server.

    Args:
        url: of HTTP, on loopback.
        pid: of the server's process.
        tally: written by all of them.
        seed: of every choice.
    """

    def __init__(self, url: str, pid: int, tally: Tally, seed: int) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=LATE_S)
        self._pid = pid
        self._tally = tally
        self._random = random.Random(seed)

    async def close(self) -> None:
        await self._http.aclose()

    async def swap(self) -> None:
        """To one of the good versions; one operation at a time, so another's may be in the way."""
        await self._post("swap", f"{world.SWAPPED}/swap", {"version": self._random.choice(VERSIONS)}, {200, 409})

    async def roll_back(self) -> None:
        """To the version before."""
        await self._post("roll back", f"{world.SWAPPED}/rollback", {}, {200, 409})

    async def break_in(self) -> None:
        """A swap to a version whose file was cut must be refused."""
        await self._post("broken swap", f"{world.SWAPPED}/swap", {"version": world.BROKEN}, {400, 409})

    async def load(self) -> None:
        """The model that comes and goes, comes; or its files are read again."""
        await self._post("load", f"{world.VISITOR}/load", {}, {200, 409})

    async def unload(self) -> None:
        """And goes."""
        await self._post("unload", f"{world.VISITOR}/unload", {}, {200, 404, 409})

    async def kill(self) -> None:
        """`kill -9` of one of the processes that the server has begun."""
        self._tally.sent["kill"] += 1
        with suppress(psutil.NoSuchProcess, IndexError):
            self._random.choice(psutil.Process(self._pid).children(recursive=True)).kill()

    async def look(self) -> None:
        """What probes and dashboards read all the time."""
        for path in ("/v2/health/live", "/metrics", f"/v2/models/{world.SWAPPED}/stats"):
            self._tally.sent["look"] += 1
            answer = await self._http.get(path)
            self._tally.answered(answer.status_code)
            if answer.status_code != 200:
                self._tally.complain(f"{path} got {answer.status_code}")

    async def _post(self, kind: str, path: str, body: dict[str, object], expected: set[int]) -> None:
        self._tally.sent[kind] += 1
        answer = await self._http.post(f"/v2/repository/models/{path}", json=body)
        self._tally.answered(answer.status_code)
        if answer.status_code not in expected:
            self._tally.complain(f"{kind} got {answer.status_code}: {answer.text[:200]}")
