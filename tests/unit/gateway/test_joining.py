"""Large bytes are put together while other threads run; what comes out is what `bytes.join` makes of them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from service.gateway.joining import Blob, joined, joined_bytes
from tests.support.waiting import PATIENCE_S

LARGE = memoryview(bytes(range(256)) * (64 << 12))  # 64 MiB
PARTS: list[list[Blob]] = [
    [],
    [b""],
    [b"head", memoryview(b"a"), b"", memoryview(b"")],
    [b"head", LARGE[: 3 << 20], b"", memoryview(b""), b"x" * (1 << 20), LARGE[5:9]],
]


@pytest.mark.parametrize("join", [joined, joined_bytes])
@pytest.mark.parametrize("parts", PARTS)
def test_all_parts_are_there_in_their_order(join: Callable[[list[Blob]], Blob], parts: list[Blob]) -> None:
    assert bytes(join(parts)) == b"".join(parts)


@contextmanager
def uninterrupted() -> Iterator[Callable[[], int]]:
    """How often another thread ran, where none is given a turn unless the one that runs lets it go."""
    turns, over, before_s = [0], threading.Event(), sys.getswitchinterval()

    def count() -> None:
        while not over.is_set():
            turns[0] += 1
            time.sleep(1e-4)

    other = threading.Thread(target=count)
    other.start()
    sys.setswitchinterval(1000.0)
    try:
        yield lambda: turns[0]
    finally:
        sys.setswitchinterval(before_s)
        over.set()
        other.join()


@pytest.mark.parametrize("join", [joined, joined_bytes])
def test_others_run_meanwhile(join: Callable[[list[Blob]], Blob]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    with uninterrupted() as turns:
        ran = 0
        while not ran and time.monotonic() < until_s:
            before = turns()
            join([b"head", LARGE])
            ran = turns() - before
    assert ran > 0


def test_which_join_alone_does_not_allow() -> None:
    """The negative control."""
    with uninterrupted() as turns:
        for _ in range(3):
            before = turns()
            b"".join([b"head", LARGE])
            assert turns() == before
