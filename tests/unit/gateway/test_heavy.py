"""Large requests and answers are read and written beside the loop, in few threads."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from service.core.contract import RequestedOutput, TensorSpec
from service.core.errors import BadInput, Unavailable
from service.gateway.heavy import (
    HEAVY_BYTES,
    HEAVY_VALUES,
    LARGE_BYTES,
    Heavy,
    is_heavy_answer,
    is_heavy_body,
    is_large,
)
from tests.unit.serving.house import until

NUMBERS = {"x": TensorSpec("x", "FP32", ("batch", 4))}
TEXTS = {"t": TensorSpec("t", "BYTES", ("batch",))}


class Work:
    """Work that lasts until it is let go, and tells that it began."""

    def __init__(self, error: Exception | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.began = asyncio.Event()
        self.go = threading.Event()
        self.error = error

    def __call__(self) -> int:
        self.loop.call_soon_threadsafe(self.began.set)
        assert self.go.wait(60)
        if self.error is not None:
            raise self.error
        return threading.get_ident()


async def test_work_is_done_in_a_thread_of_its_own() -> None:
    work = Work()
    work.go.set()
    assert await Heavy().do("w", work) != threading.get_ident()


async def test_its_error_is_raised() -> None:
    work = Work(BadInput("no"))
    work.go.set()
    with pytest.raises(BadInput, match="no"):
        await Heavy().do("w", work)


async def test_nothing_of_a_request_stays_behind_its_error() -> None:
    """What the work had in hand, which is all of a request, would wait for the collector, which seldom comes."""
    held: list[weakref.ref[np.ndarray[Any, Any]]] = []

    def work() -> None:
        body = np.zeros(8)
        held.append(weakref.ref(body))
        raise BadInput("no")

    async def refused() -> None:
        with contextlib.suppress(BadInput):
            await Heavy().do("w", work)

    gc.disable()
    try:
        await refused()
        await until(lambda: held[0]() is None)
    finally:
        gc.enable()


async def test_further_work_waits_for_its_turn_even_if_nobody_waits_for_the_first() -> None:
    heavy, first, second = Heavy(at_once=1), Work(), Work()
    left = asyncio.create_task(heavy.do("first", first))
    await first.began.wait()
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    waits = asyncio.create_task(heavy.do("second", second))
    second.go.set()
    done, _ = await asyncio.wait({waits}, timeout=0.05)
    assert not done
    assert not second.began.is_set(), "a client that leaves must not free a turn while its thread works on"
    first.go.set()
    assert await waits != threading.get_ident()


async def test_an_error_that_nobody_waits_for_is_no_event(caplog: pytest.LogCaptureFixture) -> None:
    heavy, work = Heavy(at_once=1), Work(BadInput("no"))
    left = asyncio.create_task(heavy.do("w", work))
    await work.began.wait()
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    work.go.set()
    after = Work()
    after.go.set()
    await heavy.do("after", after)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("size", "header_length", "specs", "heavy"),
    [
        (HEAVY_BYTES, None, NUMBERS, False),
        (HEAVY_BYTES + 1, None, NUMBERS, True),
        (HEAVY_BYTES + 1, 100, NUMBERS, False),
        (HEAVY_BYTES + 1, 0, NUMBERS, False),
        (2 * HEAVY_BYTES, HEAVY_BYTES + 1, NUMBERS, True),
        (HEAVY_BYTES, 100, TEXTS, False),
        (HEAVY_BYTES + 1, 100, TEXTS, True),
    ],
)
def test_what_is_read_value_by_value_is_heavy(
    size: int, header_length: int | None, specs: dict[str, TensorSpec], heavy: bool
) -> None:
    assert is_heavy_body(bytes(size), header_length, specs) is heavy


def test_texts_in_shared_memory_are_heavy_whatever_the_body_s_size() -> None:
    body = b'{"inputs":[{"parameters":{"shared_memory_region":"r"}}]}'
    assert is_heavy_body(body, None, TEXTS)
    assert not is_heavy_body(body, None, NUMBERS)
    assert is_heavy_body(memoryview(body + bytes(1000)), len(body), TEXTS)
    assert not is_heavy_body(memoryview(body.replace(b"_region", b"_other ")), len(body), TEXTS)


@pytest.mark.parametrize(
    ("count", "dtype", "parameters", "binary", "heavy"),
    [
        (HEAVY_VALUES, np.float32, {}, False, False),
        (HEAVY_VALUES + 1, np.float32, {}, False, True),
        (HEAVY_VALUES + 1, np.float32, {}, True, False),
        (HEAVY_VALUES + 1, np.object_, {}, True, True),
        (HEAVY_VALUES + 1, np.float32, {"classification": 3}, True, True),
        (HEAVY_VALUES, np.object_, {"classification": 3}, True, False),
    ],
)
def test_what_is_written_value_by_value_is_heavy(
    count: int, dtype: Any, parameters: dict[str, Any], binary: bool, heavy: bool
) -> None:
    asked = (RequestedOutput("y", parameters),)
    answer = np.full(count, b"" if dtype is np.object_ else 0, dtype)
    assert is_heavy_answer({"y": answer}, asked, lambda _: binary) is heavy


@pytest.mark.parametrize(("more_bytes", "heavy"), [(0, False), (4, True)])
def test_so_is_what_is_copied_for_long(more_bytes: int, heavy: bool) -> None:
    text = np.empty((1, 1), np.object_)
    text[0, 0] = bytes(LARGE_BYTES + more_bytes)
    for answer in (np.zeros((LARGE_BYTES + more_bytes) // 4, np.float32), text):
        assert is_large({"y": answer}) is heavy
        assert is_heavy_answer({"y": answer}, ()) is heavy


async def test_an_answer_is_written_here_where_there_is_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object) -> None:
        raise Unavailable("no thread")

    monkeypatch.setattr("service.gateway.heavy.in_thread", refused)
    heavy = Heavy(1)
    for _ in range(2):  # its turn is given back
        assert await heavy.write(lambda: "written") == "written"
    with pytest.raises(Unavailable):
        await heavy.do("read a request", lambda: "read")
