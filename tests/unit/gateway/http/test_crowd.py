"""A crowd of requests is begun over many turns of the loop, whatever it asks for and whoever it is (promise O7)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from starlette.types import Scope

from service.gateway.http import build
from service.gateway.keyring import Keyring
from service.gateway.turns import TOGETHER, Turns
from service.observe import logs
from tests.fakes import ManualClock
from tests.support.keys import KEYS, bearer, write_keys
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth, FakeServable

INFER = "/v2/models/m/infer"
GOOD = orjson.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 1, 2, 3]}]})
CROWD = 10 * TOGETHER


class House:
    """The HTTP side of a server with keys, whose clock stands, and on which turns have no share but `TOGETHER`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock()
        self.servable = FakeServable()
        self.turns = Turns(self.clock, 0)
        self.statuses: list[int] = []
        monkeypatch.setattr("service.gateway.http.Turns", lambda clock: Turns(clock, 0))
        self.app = build(
            cast("Any", FakeCatalog(self.servable)),
            cast("Any", FakeHealth()),
            max_body_bytes=1000,
            clock=self.clock,
            keyring=Keyring(write_keys(folder / "keys"), self.clock, logs.logger("test")),
            turns=self.turns,
        )

    async def ask(self, path: str, key: str, *fields: tuple[bytes, bytes]) -> None:
        authorization = [(name.encode(), value.encode()) for name, value in bearer(key).items()]
        method = "POST" if path == INFER else "GET"
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [*authorization, *fields],
        }

        async def receive() -> Any:
            return {"type": "http.request", "body": GOOD, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.statuses.append(message["status"])

        await self.app(scope, receive, send)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [(INFER, KEYS["app"], 200), (INFER, "nobody's", 401), ("/v2", "nobody's", 401), ("/nowhere", "", 404)],
)
async def test_no_more_of_it_is_answered_in_a_turn_than_may_be(house: House, path: str, key: str, status: int) -> None:
    asked = [asyncio.create_task(house.ask(path, key)) for _ in range(CROWD)]
    answered_in_a_turn, before = [], 0
    while len(house.statuses) < CROWD:
        await asyncio.sleep(0)
        answered_in_a_turn.append(len(house.statuses) - before)
        before = len(house.statuses)
    await asyncio.gather(*asked)
    assert set(house.statuses) == {status}
    assert max(answered_in_a_turn) <= TOGETHER


@pytest.mark.parametrize(("crowd", "other"), [(INFER, "/nowhere"), ("/nowhere", INFER)])
async def test_one_that_asks_for_inference_keeps_no_other_request_waiting_nor_is_kept(
    house: House, crowd: str, other: str
) -> None:
    asked = [asyncio.create_task(house.ask(crowd, KEYS["app"])) for _ in range(CROWD)]
    await asyncio.sleep(0)
    await house.ask(other, KEYS["app"])
    assert len(house.statuses) < CROWD / 2
    await asyncio.gather(*asked)


async def test_who_waited_for_its_turn_is_timed_from_when_it_came(house: House) -> None:
    asked = asyncio.create_task(house.ask(INFER, KEYS["app"], (b"retort-timeout-ms", b"5000")))
    await asyncio.sleep(0)
    house.clock.advance(3.0)
    await asked
    [(_, deadline, _)] = house.servable.seen
    assert deadline.left_s(house.clock.now_s()) == pytest.approx(2.0)
