"""What happens beside the traffic, over real sockets: swaps with their marks, and clients that send byte by byte."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from loadtests.disturbances import Mark, slow_clients, swap, swapping
from loadtests.scenario import SlowClients, Swapping
from loadtests.server import Server
from tests.support.scripted import Act, Scripted, answer, routed
from tests.support.waiting import until

REQUEST = b"POST /infer HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
SWAP = "POST /v2/repository/models/m/swap"
DEADLINE_S = 30.0


class TestSwap:
    @pytest.mark.parametrize(
        ("told", "said"),
        [({}, ("swap to 2", True)), ("refused by the gate", ("swap to 2 refused (400)", False))],
    )
    def test_what_came_of_it_in_words(self, told: Any, said: str) -> None:
        with Scripted(routed({SWAP: told})) as scripted, httpx.Client(base_url=scripted.url) as http:
            assert swap(http, "m", "2") == said

    def test_no_answer_is_told_too(self) -> None:
        hangs_up = lambda *_: Act(b"", close=True)  # noqa: E731
        with Scripted(hangs_up) as scripted, httpx.Client(base_url=scripted.url) as http:
            said, done = swap(http, "m", "2")
        assert said.startswith("swap to 2 failed: ") and not done

    def test_the_gate_is_overridden_and_the_name_quoted(self) -> None:
        asked = []
        routes = {"POST /v2/repository/models/a%2Fb/swap": lambda _, body: asked.append(json.loads(body)) or {}}
        with Scripted(routed(routes)) as scripted, httpx.Client(base_url=scripted.url) as http:
            swap(http, "a/b", "2")
        assert asked == [{"version": "2", "force": True}]


class TestSwapping:
    def swapped(self, told: Any, *, at_least: int) -> tuple[list[str], list[Mark], float, float]:
        """(versions asked for, marks, when the block began and ended), of a block that lasts for so many swaps."""
        asked: list[str] = []
        enough = threading.Event()

        def note(_: bytes, body: bytes) -> Any:
            asked.append(json.loads(body)["version"])
            if len(asked) >= at_least:
                enough.set()
            return told

        marks: list[Mark] = []
        with Scripted(routed({SWAP: note})) as scripted, Server(scripted.url) as server:
            began_s = time.perf_counter()
            with swapping(server, "m", ("1", "2"), Swapping(every_s=0.01), marks):
                assert enough.wait(DEADLINE_S)
            ended_s = time.perf_counter()
            after = len(asked)
            time.sleep(0.1)
            assert len(asked) == after  # none after the block
        return asked, marks, began_s, ended_s

    def test_the_versions_are_swapped_in_turn_and_each_leaves_a_mark(self) -> None:
        asked, marks, began_s, ended_s = self.swapped({}, at_least=5)
        assert asked[:4] == ["1", "2", "1", "2"]
        assert [mark.text for mark in marks] == [f"swap to {version}" for version in asked]
        assert all(began_s <= mark.at_s <= ended_s for mark in marks)
        assert sorted(marks, key=lambda mark: mark.at_s) == marks

    def test_a_refused_swap_leaves_its_mark_and_the_next_is_tried(self) -> None:
        _, marks, _, _ = self.swapped("no", at_least=3)
        assert len(marks) >= 3 and all("refused" in mark.text for mark in marks)

    def test_a_block_that_ends_before_the_first_swap_has_none(self) -> None:
        marks: list[Mark] = []
        how = Swapping(every_s=600)
        with (
            Scripted(routed({SWAP: {}})) as scripted,
            Server(scripted.url) as server,
            swapping(server, "m", ("1", "2"), how, marks),
        ):
            pass
        assert marks == []

    def test_a_block_that_fails_ends_the_swaps(self) -> None:
        how = Swapping(every_s=600)
        with (
            Scripted(routed({SWAP: {}})) as scripted,
            Server(scripted.url) as server,
            pytest.raises(RuntimeError),
            swapping(server, "m", ("1", "2"), how, []),
        ):
            raise RuntimeError
        assert not [one for one in threading.enumerate() if one.name == "swaps"]


@contextmanager
def listening(
    hang_up_after: int | None = None,
) -> Iterator[tuple[tuple[str, int], list[bytearray], list[socket.socket]]]:
    """A server that takes connections and keeps what comes over each; hangs up after so many bytes."""
    received: list[bytearray] = []
    kept: list[socket.socket] = []
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        listener.settimeout(0.01)
        while not ended.is_set():
            try:
                one, _ = listener.accept()
                one.settimeout(0.001)
                kept.append(one)
                received.append(bytearray())
            except TimeoutError:
                pass
            for at, one in enumerate(kept):
                _take(one, received[at], hang_up_after)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname(), received, kept
        finally:
            ended.set()
            thread.join()
            for one in kept:
                one.close()


def _take(one: socket.socket, into: bytearray, hang_up_after: int | None) -> None:
    if one.fileno() < 0:
        return
    try:
        into.extend(one.recv(100))
    except TimeoutError:
        return
    if hang_up_after is not None and len(into) >= hang_up_after:
        one.close()


class TestSlowClients:
    def test_so_many_connections_each_send_the_request_byte_by_byte(self) -> None:
        with listening() as (address, received, _):
            with slow_clients(address, REQUEST, SlowClients(count=5, byte_every_s=0.002)):
                until(lambda: len(received) == 5 and min(map(len, received)) >= 10)
            assert len(received) == 5
            assert all(REQUEST.startswith(bytes(part)) for part in received)

    def test_they_are_there_before_the_block_begins(self) -> None:
        with (
            listening() as (address, received, _),
            slow_clients(address, REQUEST, SlowClients(count=5, byte_every_s=3600.0)),
        ):
            until(lambda: len(received) == 5)

    def test_they_leave_with_the_block(self) -> None:
        with listening() as (address, received, kept):
            with slow_clients(address, REQUEST, SlowClients(count=2, byte_every_s=0.002)):
                until(lambda: len(received) == 2)
            until(lambda: all(_ended(one) for one in kept))
        assert not [one for one in threading.enumerate() if one.name == "slow clients"]

    def test_whom_the_server_hangs_up_on_comes_again(self) -> None:
        one = SlowClients(count=1, byte_every_s=0.002)
        with listening(hang_up_after=3) as (address, received, _), slow_clients(address, REQUEST, one):
            until(lambda: len(received) >= 3)
        assert all(REQUEST.startswith(bytes(part)) for part in received)

    def test_a_whole_request_is_answered_and_begun_anew(self) -> None:
        with Scripted(lambda *_: Act(answer(b"{}"))) as scripted:
            with slow_clients(scripted.address, REQUEST, SlowClients(count=1, byte_every_s=0.0005)):
                until(lambda: scripted.count >= 2)  # whole requests
            assert scripted.connections >= 2

    def test_nobody_there_is_no_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = taken.getsockname()
        with slow_clients(address, REQUEST, SlowClients(count=2, byte_every_s=0.001)):
            time.sleep(0.05)


def _ended(one: socket.socket) -> bool:
    """Whether the other side has closed it."""
    try:
        return one.recv(100) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
