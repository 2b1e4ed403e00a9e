from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any, cast

import pytest

from service.gateway.http.limits import Limits
from service.gateway.http.reader_watch import ReaderWatch

LIMITS = Limits(window_s=10, window_bytes=100)


class Wire:
    """A transport that holds so many bytes, and whose client's system has acknowledged so many, if anybody can tell."""

    def __init__(self) -> None:
        self.left_bytes, self.closing, self.aborted = 1000, False, False
        self.acked_bytes: int | None = None

    def get_extra_info(self, name: str) -> Wire | None:
        return None if self.acked_bytes is None else self

    def getsockopt(self, level: int, option: int, size_bytes: int) -> bytes:
        assert self.acked_bytes is not None
        return (bytes(120) + self.acked_bytes.to_bytes(8, sys.byteorder))[:size_bytes]

    def get_write_buffer_size(self) -> int:
        return self.left_bytes

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def watch(wire: Wire) -> ReaderWatch:
    return ReaderWatch(cast("Any", wire), LIMITS)


@pytest.mark.parametrize(("taken_bytes", "cut"), [(0, True), (99, True), (100, False)])
def test_who_takes_less_than_a_window_asks_for_is_cut(
    wire: Wire, watch: ReaderWatch, taken_bytes: int, cut: bool
) -> None:
    watch.begin(0)
    wire.left_bytes -= taken_bytes
    watch.judge(9.9)
    assert not wire.aborted
    watch.judge(10)
    assert wire.aborted is cut


@pytest.mark.parametrize(("taken_bytes", "cut"), [(0, True), (99, True), (100, False)])
def test_what_is_acknowledged_is_taken_though_it_leaves_no_room(
    wire: Wire, watch: ReaderWatch, taken_bytes: int, cut: bool
) -> None:
    wire.acked_bytes = 1 << 40
    watch.begin(0)
    wire.acked_bytes += taken_bytes
    watch.judge(10)
    assert wire.aborted is cut


def test_each_window_counts_for_itself(wire: Wire, watch: ReaderWatch) -> None:
    watch.begin(0)
    wire.left_bytes -= 500
    watch.judge(10)
    watch.judge(19.9)
    assert not wire.aborted
    watch.judge(20)
    assert wire.aborted


def test_who_has_taken_most_is_not_watched(wire: Wire, watch: ReaderWatch) -> None:
    watch.judge(100)
    watch.begin(100)
    watch.end()
    watch.judge(200)
    assert not wire.aborted


def test_a_connection_that_closes_behind_an_answer_is_watched_from_then_on(wire: Wire, watch: ReaderWatch) -> None:
    wire.closing = True
    watch.judge(50)
    watch.judge(59)
    assert not wire.aborted
    watch.judge(60)
    assert wire.aborted


async def test_a_connection_that_has_gone_is_judged_without_an_error() -> None:
    """One would keep the sweeper from all that come after it. uvloop has a socket with no descriptor then."""
    reader, writer = socket.socketpair()
    with reader:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, writer)
        watch = ReaderWatch(transport, LIMITS)
        watch.begin(0)
        transport.abort()
        await asyncio.sleep(0.01)
        watch.judge(10)
