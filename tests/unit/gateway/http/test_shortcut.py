"""What a shortcut takes of the bytes that come, what it holds and for how long, and what it leaves to the parser."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.gateway.http.heads import Heads
from service.gateway.http.shortcut import Shortcut

HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 4\r\n\r\n"
BODY = b"body"


class Road:
    """A connection whose application waits for nothing."""

    def __init__(self) -> None:
        self.cycle: Any = None
        self.client, self.server, self.scheme = ("10.0.0.1", 5), ("10.0.0.2", 80), "http"
        self.tasks: set[Any] = set()
        self.loop = asyncio.get_running_loop()
        self.seen: list[tuple[Any, bytes]] = []
        self.transport: Any = self
        self.closed = False

    def close(self) -> None:
        self.closed = True

    async def app(self, scope: Any, receive: Any, _send: Any) -> None:
        self.seen.append((dict(scope), (await receive())["body"]))


@pytest.fixture
async def road() -> Road:
    return Road()


@pytest.fixture
async def shortcut(road: Road) -> Shortcut:
    made: Any = road
    return Shortcut(made, Heads())


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_whole_request_is_taken_with_what_the_connection_knows(road: Road, shortcut: Shortcut) -> None:
    assert not shortcut.used
    assert shortcut.take(HEAD + BODY) == b""
    assert shortcut.used
    assert len(road.tasks) == 1
    await turn()
    [(scope, body)] = road.seen
    assert body == BODY
    assert (scope["client"], scope["server"], scope["scheme"]) == (road.client, road.server, "http")
    assert not road.tasks
    assert road.closed  # an application without an answer


async def test_two_requests_share_no_scope(road: Road, shortcut: Shortcut) -> None:
    shortcut.take(HEAD + BODY)
    road.cycle.response_complete = True
    shortcut.take(HEAD + BODY)
    await turn()
    first, second = (scope for scope, _ in road.seen)
    assert first["retort.whole"] is not second["retort.whole"]
    assert first["headers"] is second["headers"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        HEAD[:20],
        HEAD[:-2],
        HEAD + BODY + b"P",
        HEAD + BODY + HEAD,
        HEAD.replace(b"4", b"70000") + BODY,
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + BODY,
    ],
)
async def test_anything_else_is_the_parser_s(road: Road, shortcut: Shortcut, data: bytes) -> None:
    assert shortcut.take(data) is data
    assert not shortcut.used
    assert shortcut.give_back() == b""


async def test_so_is_everything_behind_a_request_that_is_not_answered_yet(road: Road, shortcut: Shortcut) -> None:
    shortcut.take(HEAD + BODY)
    assert shortcut.take(HEAD + BODY) == HEAD + BODY
    road.cycle.response_complete = True
    assert shortcut.take(HEAD + BODY) == b""
    await turn()


async def test_a_body_is_waited_for_once(road: Road, shortcut: Shortcut) -> None:
    assert shortcut.take(HEAD + b"bo") == b""
    assert shortcut.take(b"dy") == b""
    road.cycle.response_complete = True
    assert shortcut.take(HEAD) == b""
    assert shortcut.take(b"b") == HEAD + b"b"
    assert shortcut.take(b"ody") == b"ody"
    await turn()
    assert [body for _, body in road.seen] == [BODY]


async def test_what_is_held_is_given_back_once_it_is_old(shortcut: Shortcut) -> None:
    assert shortcut.give_back_old() == b""
    shortcut.take(HEAD)
    assert shortcut.give_back_old() == b""
    assert shortcut.give_back_old() == HEAD
    assert shortcut.give_back_old() == shortcut.give_back() == b""
    shortcut.take(HEAD)
    assert shortcut.give_back() == HEAD


async def test_another_head_is_not_old_because_one_before_it_was(road: Road, shortcut: Shortcut) -> None:
    shortcut.take(HEAD)
    shortcut.give_back_old()
    shortcut.take(BODY)
    road.cycle.response_complete = True
    shortcut.take(HEAD[:-2] + b"\r\n")
    assert shortcut.give_back_old() == b""
    await turn()


async def test_the_cycle_of_a_lost_connection_is_nobody_s(road: Road, shortcut: Shortcut) -> None:
    shortcut.leave()
    shortcut.take(HEAD + BODY)
    shortcut.leave()
    assert road.cycle is None
    other = object()
    road.cycle = other
    shortcut.leave()
    assert road.cycle is other
    await turn()
    assert not road.closed
