"""What is read of a server stays within bytes of its own while clients do not take it (promise H8)."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import orjson
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.gateway.budget import ByteBudget
from service.gateway.http import build
from service.gateway.http.flow import TAKEN_OVER_BYTES as LARGE_BYTES
from service.gateway.http.untaken import Untaken
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth
from tests.unit.serving.house import until

LIMIT_BYTES = 3 * LARGE_BYTES


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(b"x" * int(scope["path"]))(scope, receive, send)


async def never(_: Any = None) -> Any:
    await asyncio.Event().wait()


class Client:
    """Takes an answer from the moment when it is told to."""

    def __init__(self, path: str, method: str = "GET", *, takes: bool = False) -> None:
        self.scope: Scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
        self.takes = asyncio.Event()
        if takes:
            self.takes.set()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""

    async def ask(self, app: Any) -> None:
        await app(self.scope, never, self.send)

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            return
        await self.takes.wait()
        self.body += bytes(message["body"])


async def begin(app: Any, *clients: Client) -> list[asyncio.Task[None]]:
    tasks = [asyncio.ensure_future(client.ask(app)) for client in clients]
    await asyncio.sleep(0.01)
    return tasks


async def test_a_large_answer_beyond_the_limit_is_refused_until_another_was_taken() -> None:
    app = Untaken(answers, LIMIT_BYTES)
    first, second = Client(str(2 * LARGE_BYTES)), Client(str(2 * LARGE_BYTES), takes=True)
    tasks = await begin(app, first, second)
    assert (second.status, second.headers[b"retry-after"]) == (503, b"1")
    assert "answers that their clients have not taken" in orjson.loads(second.body)["error"]
    small = Client(str(LARGE_BYTES), takes=True)
    await small.ask(app)
    assert (small.status, len(small.body)) == (200, LARGE_BYTES)
    first.takes.set()
    await asyncio.gather(*tasks)
    assert len(first.body) == 2 * LARGE_BYTES
    third = Client(str(2 * LARGE_BYTES), takes=True)
    await third.ask(app)
    assert third.status == 200


async def test_one_alone_is_answered_whatever_its_size() -> None:
    client = Client(str(9 * LARGE_BYTES), takes=True)
    await client.ask(Untaken(answers, LIMIT_BYTES))
    assert (client.status, len(client.body)) == (200, 9 * LARGE_BYTES)


async def test_one_whose_client_leaves_is_given_back() -> None:
    app = Untaken(answers, LIMIT_BYTES)
    (task,) = await begin(app, Client(str(2 * LARGE_BYTES)))
    task.cancel()
    await asyncio.wait([task])
    client = Client(str(2 * LARGE_BYTES), takes=True)
    await client.ask(app)
    assert client.status == 200


async def test_what_is_posted_has_the_budget_of_inference() -> None:
    app = Untaken(answers, LIMIT_BYTES)
    tasks = await begin(app, *(clients := [Client(str(2 * LARGE_BYTES), "POST") for _ in range(3)]))
    assert [client.status for client in clients] == [200] * 3
    for client in clients:
        client.takes.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(("budget", "refused"), [(ByteBudget(128 << 20), True), (None, False)])
async def test_a_description_that_nobody_takes_is_kept_for_so_many(budget: ByteBudget | None, refused: bool) -> None:
    app = build(cast("Any", FakeCatalog()), cast("Any", FakeHealth()), max_body_bytes=1000, budget=budget)
    one = Client("/openapi.json", takes=True)
    await one.ask(app)
    clients = [Client("/openapi.json") for _ in range((16 << 20) // len(one.body) + 1)]
    tasks = [asyncio.ensure_future(client.ask(app)) for client in clients]
    await until(lambda: all(client.status for client in clients), 30)
    assert [client.status for client in clients if client.status != 200] == [503] * refused
    for client in clients:
        client.takes.set()
    await asyncio.gather(*tasks)
