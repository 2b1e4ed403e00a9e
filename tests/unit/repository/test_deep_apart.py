"""Decoding in a process of its own: the same bytes and the same refusals, and nobody else is held up meanwhile."""

from __future__ import annotations

import math
import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from service.core.errors import BadModel
from service.repository import deep_apart
from service.repository.deep_apart import decode_apart
from service.repository.deep_codec import declared_bytes, decode
from tests.unit.repository.deep_parts import Parts, deflate, nibbles, number, one_block

MIB = 1 << 20
LIMIT = 1 << 30


def mostly_nothing(mib: int) -> bytes:
    """A file that decodes to so many MiB of zeros, in the form that takes longest: one long row of gaps."""
    gaps, left = divmod(mib * MIB // 8, 255)
    stream = b"\xff" * (gaps // 8) + bytes([0xFF00 >> gaps % 8 & 0xFF])
    payload = bytes([2, 8]) + number(2) + bytes(8) + b"\1".ljust(8, b"\0") + nibbles([1]) + bytes([8])
    payload += nibbles([1, *[0] * 254, 1]) + number(gaps) + number(len(stream)) + stream
    assert left < 255 and gaps % 8
    return one_block(payload, bytes(mib * MIB), before=b"", after=b"").file()


@pytest.fixture
def always_apart(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Small files too; the processes that were started."""
    monkeypatch.setattr(deep_apart, "APART_BYTES", 0)
    return started(monkeypatch)


def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []
    run = subprocess.run

    def noting(command: Any, **more: Any) -> Any:
        made.append(command)
        return run(command, **more)

    monkeypatch.setattr(subprocess, "run", noting)
    return made


def test_the_bytes_are_the_same(always_apart: list[Any]) -> None:
    for parts in (Parts(b"whole", b"whole"), Parts(b"", b""), one_block(bytes([0, 1]) + deflate(b"x" * 99), b"x" * 99)):
        assert decode_apart(parts.file(), limit_bytes=LIMIT) == parts.decoded
    assert len(always_apart) == 3


def test_refusals_are_the_same(always_apart: list[Any]) -> None:
    good = one_block(bytes([0, 1]) + deflate(b"x" * 99), b"x" * 99)
    wrong = [b"", b"no", good.file()[:-1], good.file() + b"\0"]
    wrong += [Parts(b"ab", b"ac").file(), one_block(bytes([9, 1]) + deflate(b"x"), b"x").file()]
    for data in wrong:
        with pytest.raises(BadModel) as here:
            decode(data, limit_bytes=LIMIT)
        with pytest.raises(BadModel) as apart:
            decode_apart(data, limit_bytes=LIMIT)
        assert str(apart.value) == str(here.value)
    assert len(always_apart) == 4, "what is wrong in its head starts no process"
    with pytest.raises(BadModel, match="more than the limit of 98"):
        decode_apart(good.file(), limit_bytes=98)


def test_only_what_is_large_is_decoded_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    made = started(monkeypatch)
    assert decode_apart(mostly_nothing(15), limit_bytes=LIMIT) == bytes(15 * MIB)
    assert made == []
    assert decode_apart(mostly_nothing(17), limit_bytes=LIMIT) == bytes(17 * MIB)
    assert len(made) == 1


def test_where_there_are_no_files_in_memory_it_is_decoded_here(
    always_apart: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert decode_apart(Parts(b"whole", b"whole").file(), limit_bytes=LIMIT) == b"whole"
    assert always_apart == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "its process ended with -9"),
        ("raise SystemExit(1)", "its process ended with 1"),
        ("print('x' * 9)", "another size than the file says"),
        ("import sys; print('it says so', end='', file=sys.stderr); raise SystemExit(3)", "^it says so$"),
    ],
)
def test_a_process_that_goes_wrong_is_a_bad_model(
    always_apart: list[Any], monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr(
        deep_apart.interpreter, "command", lambda *_: [deep_apart.interpreter.sys.executable, "-c", script]
    )
    with pytest.raises(BadModel, match=said):
        decode_apart(Parts(b"whole", b"whole").file(), limit_bytes=LIMIT)


def test_memory_beyond_what_a_file_of_its_size_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_apart, "_MEMORY_TIMES", 0)
    with pytest.raises(BadModel, match="needs more memory to be decoded"):
        decode_apart(mostly_nothing(512), limit_bytes=LIMIT)


def test_the_size_is_read_from_the_head_alone() -> None:
    data = mostly_nothing(65)
    assert declared_bytes(data[:200], limit_bytes=LIMIT) == 65 * MIB
    with pytest.raises(BadModel, match="more than the limit of 5"):
        declared_bytes(data, limit_bytes=5)


def longest_stall_s(work: Callable[[], object]) -> float:
    """How long this thread, which wants to wake up every millisecond, could not, while another one works."""
    done = threading.Event()

    def body() -> None:
        try:
            work()
        finally:
            done.set()

    thread = threading.Thread(target=body)
    longest_s, last_s = 0.0, time.perf_counter()
    thread.start()
    while not done.is_set():
        time.sleep(0.001)
        now_s = time.perf_counter()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s
    thread.join()
    return max(longest_s, time.perf_counter() - last_s)


def test_nobody_is_held_up_meanwhile() -> None:
    """Tried some times, since others use the machine too; decoding here is the negative control."""
    data = mostly_nothing(65)
    here_s = min(longest_stall_s(lambda: decode(data, limit_bytes=LIMIT)) for _ in range(2))
    apart_s = math.inf
    for _ in range(10):
        apart_s = min(apart_s, longest_stall_s(lambda: decode_apart(data, limit_bytes=LIMIT)))
        if apart_s < here_s / 2:
            break
    print(f"M9: longest stall {apart_s * 1e3:.0f} ms apart, {here_s * 1e3:.0f} ms here")  # noqa: T201 - for docs
    assert apart_s < here_s / 2
