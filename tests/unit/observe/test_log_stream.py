"""Lines of the log wait for no reader, are never torn, and say how many of them nobody could take."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator

import pytest

from service.observe.log_stream import LogStream

LINE = "x" * 999 + "\n"
KEPT_BYTES = 20_000
PIPE_BYTES = 65_536


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def left_out(count: int) -> str:
    return f"{count} left out\n"


def read_until(reader: int, end: bytes) -> list[bytes]:
    """The lines up to one that ends so."""
    found = b""
    while not found.endswith(end):
        found += os.read(reader, 1 << 20)
    return found.split(b"\n")[:-1]


def test_while_somebody_reads_a_line_is_there_when_write_returns(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    before = {*threading.enumerate()}
    assert LogStream(writer, left_out).write("a\ud800\n") == 3
    assert os.read(reader, 100) == b"a\\ud800\n"
    assert not {*threading.enumerate()} - before


def test_a_reader_that_stands_still_holds_nobody_up_and_learns_what_it_missed(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    stream = LogStream(writer, left_out, KEPT_BYTES)
    for number in range(1000):
        stream.write(f"{number:03} {LINE[4:]}")
    stream.drain(0.01)  # ends in its time too
    *lines, last = read_until(reader, b" left out\n")
    assert {len(line) for line in lines} == {999}
    assert lines == sorted(set(lines))
    assert (PIPE_BYTES + KEPT_BYTES) // 1000 - 4 <= len(lines) <= (PIPE_BYTES + KEPT_BYTES) // 1000 + 2
    assert last == f"{1000 - len(lines)} left out".encode()
    stream.drain(30)
    stream.write("again\n")
    assert os.read(reader, 100) == b"again\n"


def test_a_line_larger_than_the_pipe_comes_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    stream = LogStream(writer, left_out)
    stream.write("y" * 3 * PIPE_BYTES + "\n")
    stream.write("end\n")
    assert [len(line) for line in read_until(reader, b"end\n")] == [3 * PIPE_BYTES, 3]


def test_what_nobody_will_ever_read_goes_nowhere(pipe: tuple[int, int]) -> None:
    nobody, writer = os.pipe()
    os.close(nobody)
    stream = LogStream(writer, left_out)
    assert stream.write(LINE) == len(LINE)
    os.close(writer)
    assert stream.write(LINE) == len(LINE)


@pytest.mark.timeout(30)
def test_without_a_thread_lines_wait_in_their_order_and_within_their_bound(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    reader, writer = pipe
    stream = LogStream(writer, left_out, KEPT_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        for number in range(200):
            stream.write(f"{number:03} {LINE[4:]}")
    os.read(reader, 4096)  # there is room again, which is that of the lines that wait
    stream.write(f"200 {LINE[4:]}")
    *lines, last = read_until(reader, b" left out\n")
    assert lines[1:] == sorted(set(lines[1:]))
    assert {len(line) for line in lines[1:]} == {999}
    assert len(lines) <= (PIPE_BYTES + KEPT_BYTES) // 1000 + 2
    assert int(last.split()[0]) >= 200 - (PIPE_BYTES + KEPT_BYTES) // 1000 - 2
    stream.drain(10)


@pytest.mark.timeout(30)
def test_lines_for_which_there_was_no_thread_are_written_at_the_end(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    reader, writer = pipe
    stream = LogStream(writer, left_out)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        while not stream._waiting:
            stream.write(LINE)
        stream.write("the last one\n")
    written = os.read(reader, 1 << 20)
    stream.drain(10)
    written += os.read(reader, 1 << 20)
    assert written.endswith(b"\nthe last one\n")
    assert len(written.splitlines()[-2]) == len(LINE) - 1
