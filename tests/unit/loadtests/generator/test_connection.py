"""Answers in unusual forms: each is given to the request that it answers, or to none."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from loadtests.generator.block import CONNECTION_LOST, OK, Block, Sent
from loadtests.generator.sender import Sender
from tests.support.scripted import Act, Scripted, answer

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 7\r\n\r\n"
GOOD = answer(b"good")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood"
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\ngood"
APART_S = 0.02


def send(acts: list[Act]) -> tuple[Sent, list[bytes | None], int]:
    """What came of requests one after the other over one connection, their bodies, and how many connections it took."""
    block = Block("p", np.arange(len(acts)) * APART_S, np.zeros(len(acts), np.int32), 20.0, 1)
    with Scripted(lambda number, _, __: acts[number]) as server:
        sender = Sender(server.address, [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], block)
        sent = asyncio.run(asyncio.wait_for(sender.run(), 60))
        return sent, [None if one is None else one.body for one in sender.answers], server.connections


@pytest.mark.parametrize("before", [CONTINUE, HINTS, CONTINUE + HINTS], ids=["100", "103", "both"])
def test_an_announcement_is_no_answer(before: bytes) -> None:
    sent, bodies, _ = send([Act(before + GOOD), Act(GOOD)])
    assert sent.status.tolist() == [OK, OK] and bodies == [b"good", b"good"]


def test_a_body_that_lasts_until_the_server_closes_is_whole_then() -> None:
    sent, bodies, _ = send([Act(ENDLESS, close=True), Act(GOOD)])
    assert sent.status.tolist() == [OK, OK] and bodies == [b"good", b"good"]


@pytest.mark.parametrize("half", [GOOD[:-1], ENDLESS[:40], CHUNKED[:-2]])
def test_a_body_that_is_cut_short_is_lost(half: bytes) -> None:
    sent, bodies, _ = send([Act(half, close=True)])
    assert sent.status.tolist() == [CONNECTION_LOST] and bodies == [None]


@pytest.mark.parametrize("more", [answer(b"of nobody"), b"junk\r\n\r\n"], ids=["an answer", "junk"])
def test_what_follows_an_answer_is_nobodys_and_the_connection_is_used_no_more(more: bytes) -> None:
    sent, bodies, connections = send([Act(GOOD + more), Act(answer(b"next"))])
    assert sent.status.tolist() == [OK, OK] and bodies == [b"good", b"next"]
    assert connections == 2


async def test_what_comes_unasked_ends_the_connection() -> None:
    """Such as the 408 of a proxy to an idle connection: begun and kept, it swallowed the next request's answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not came:
            came.append(b"")
            writer.write(answer(b"slow", "408 Request Timeout")[:-1])
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(GOOD)
        writer.close()

    came: list[bytes] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    block = Block("p", np.array([0.3]), np.zeros(1, np.int32), 20.0, 1)
    sender = Sender(server.sockets[0].getsockname()[:2], [b"GET / HTTP/1.1\r\n\r\n"], block)
    sent = await asyncio.wait_for(sender.run(), 60)
    server.close()
    assert sent.status.tolist() == [OK]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_is_whole_with_its_head(status: str) -> None:
    sent, bodies, connections = send([Act(f"HTTP/1.1 {status}\r\n\r\n".encode()), Act(GOOD)])
    assert sent.status.tolist() == [int(status[:3]), OK] and bodies == [b"", b"good"] and connections == 1
