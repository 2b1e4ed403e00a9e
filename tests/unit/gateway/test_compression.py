from __future__ import annotations

import gzip
import os
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.errors import BadInput, Rejected, TooLarge
from service.gateway import compression
from service.gateway.compression import INLINE_BYTES, INLINE_DECODED_BYTES, LEAST_BYTES, chosen, decoded, encoded

GZIP, DEFLATE = {b"content-encoding": b"gzip"}, {b"content-encoding": b" Deflate"}


def bare_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


@pytest.mark.parametrize("size", [0, 1, 1000, INLINE_DECODED_BYTES, INLINE_DECODED_BYTES + 1, 3 << 20])
async def test_what_was_encoded_is_decoded(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert await decoded(gzip.compress(body), GZIP, 4 << 20) == body
    assert await decoded(zlib.compress(body), DEFLATE, 4 << 20) == body
    assert await decoded(bare_deflate(body), DEFLATE, 4 << 20) == body
    assert await decoded(body, {b"content-encoding": b"identity"}, 4 << 20) == body


@pytest.mark.parametrize("limit", [10, INLINE_DECODED_BYTES + 10])
async def test_the_limit_is_of_the_decoded_bytes(limit: int) -> None:
    assert len(await decoded(gzip.compress(b"x" * limit), GZIP, limit)) == limit
    with pytest.raises(TooLarge, match=f"limit of {limit} bytes once decoded"):
        await decoded(gzip.compress(b"x" * (limit + 1)), GZIP, limit)


async def test_a_bomb_is_given_up_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    real = zlib.decompressobj

    class Watched:
        def __init__(self, wbits: int) -> None:
            self._inner = real(wbits)

        def decompress(self, data: bytes, most_bytes: int) -> bytes:
            nonlocal most
            out = self._inner.decompress(data, most_bytes)
            most += len(out)
            return out

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    bomb = gzip.compress(bytes(64 << 20))
    monkeypatch.setattr(compression.zlib, "decompressobj", Watched)
    with pytest.raises(TooLarge):
        await decoded(bomb, GZIP, 1 << 20)
    assert most <= (1 << 20) + INLINE_DECODED_BYTES + 2


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"plain", GZIP, "the body is not gzip"),
        (b"plain", DEFLATE, "the body is not deflate"),
        (b"", GZIP, "the body is not gzip"),
        (gzip.compress(b"x" * 100, mtime=0)[:-9], GZIP, "the body is not gzip"),
        (gzip.compress(b"x" * 100, mtime=0) + b"more", GZIP, "the body is not gzip"),
        (gzip.compress(b"x", mtime=0), {b"content-encoding": b"br"}, "expected gzip, deflate or none"),
        (gzip.compress(b"x", mtime=0), {b"content-encoding": b"gzip, gzip"}, "expected gzip, deflate or none"),
    ],
)
async def test_what_is_not_as_it_says_is_refused(body: bytes, headers: dict[bytes, bytes], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        await decoded(body, headers, 1000)


@given(st.binary(max_size=200), st.sampled_from([GZIP, DEFLATE]))
async def test_random_bytes_are_refused_or_read(body: bytes, headers: dict[bytes, bytes]) -> None:
    try:
        assert len(await decoded(body, headers, 1000)) <= 1000
    except (BadInput, TooLarge):
        return


async def test_long_work_is_done_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    real = compression._Inflating.piece

    def piece(self: compression._Inflating, most_bytes: int) -> bytes:
        threads.append(threading.current_thread())
        return real(self, most_bytes)

    monkeypatch.setattr(compression._Inflating, "piece", piece)
    await decoded(gzip.compress(bytes(INLINE_DECODED_BYTES)), GZIP, 1 << 22)
    assert set(threads) == {threading.main_thread()}
    threads.clear()
    await decoded(gzip.compress(bytes(4 * INLINE_DECODED_BYTES)), GZIP, 1 << 22)
    assert threads[0] is threading.main_thread()
    assert threads[-1] is not threading.main_thread()


async def test_each_piece_is_told_before_the_next_one_and_may_be_the_last() -> None:
    told: list[int] = []

    def take(size_bytes: int) -> None:
        told.append(size_bytes)
        if sum(told) > 1 << 20:
            raise Rejected("no room")

    assert len(await decoded(gzip.compress(bytes(1 << 20)), GZIP, 1 << 22, take)) == sum(told) == 1 << 20
    told.clear()
    with pytest.raises(Rejected):
        await decoded(gzip.compress(bytes(64 << 20)), GZIP, 64 << 20, take)
    assert sum(told) <= (2 << 20) + INLINE_DECODED_BYTES + 1


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"gzip", "gzip"),
        (b"deflate, gzip", "gzip"),
        (b"deflate", "deflate"),
        (b"gzip;q=0.1, deflate;q=0.5", "deflate"),
        (b"GZIP ; q=1", "gzip"),
        (b"*", "gzip"),
        (b"*;q=0", ""),
        (b"gzip;q=0, *", "deflate"),
        (b"br, zstd", ""),
        (b"identity", ""),
        (b"", ""),
        (b"gzip;q=abc", ""),
        (b"\xff\xfe,;;;,=", ""),
    ],
)
def test_the_coding_that_a_client_takes(accepted: bytes, coding: str) -> None:
    assert chosen(accepted) == coding


@pytest.mark.parametrize("size", [LEAST_BYTES, INLINE_BYTES, INLINE_BYTES + 1])
async def test_an_answer_is_encoded_for_who_takes_it(size: int) -> None:
    body = b"ab" * (size // 2) + b"a" * (size % 2)
    packed, coding = await encoded(body, b"gzip")
    assert (coding, gzip.decompress(packed)) == ("gzip", body)
    packed, coding = await encoded(body, b"deflate")
    assert (coding, zlib.decompress(packed)) == ("deflate", body)


async def test_an_answer_that_is_small_or_does_not_shrink_is_left_alone() -> None:
    small = b"a" * (LEAST_BYTES - 1)
    dense = os.urandom(LEAST_BYTES * 2)
    assert await encoded(small, b"gzip") == (small, "")
    assert await encoded(dense, b"gzip") == (dense, "")
    assert await encoded(b"a" * LEAST_BYTES, b"br") == (b"a" * LEAST_BYTES, "")


async def test_where_there_is_no_thread_an_answer_goes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was computed and counted: to refuse it now would tell its client something else than the statistics say."""

    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    body = b"a" * (INLINE_BYTES + 1)
    assert (await encoded(body, b"gzip"))[1] == "gzip"
    monkeypatch.setattr(threading.Thread, "start", refused)
    assert await encoded(body, b"gzip") == (body, "")
