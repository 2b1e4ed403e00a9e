"""A reader of the log that is late is waited for, one that has stopped costs lines and no time."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any, TextIO

import pytest

from service.observe import logs
from service.observe.outlet import Outlet

PIPE_BYTES = 1 << 14
LONG = "\x01" * 7000  # six bytes each


class Pipe:
    """A pipe that a log is written to, and that is read when the test says so."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.stream: TextIO = os.fdopen(writer, "w", encoding="utf-8")
        logs.configure(stream=self.stream)
        [self.outlet] = logging.getLogger().handlers

    def fill(self) -> int:
        """Logs until a line is left out; how many were not."""
        written = 0
        assert isinstance(self.outlet, Outlet)
        while not self.outlet._left_out:
            logs.logger("t").info("seen", number=written)
            written += 1
        return written - 1

    def read(self) -> list[dict[str, Any]]:
        """What was written since; whole lines."""
        return [json.loads(line) for line in os.read(self.reader, 1 << 20).decode().splitlines()]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reader)
    pipe.stream.close()
    logs.configure()


@pytest.mark.timeout(20)
def test_a_reader_that_has_stopped_is_waited_for_once(pipe: Pipe) -> None:
    began_s = time.monotonic()
    written = pipe.fill()
    assert time.monotonic() - began_s > 0.09
    began_s = time.monotonic()
    for _ in range(1000):
        logs.logger("t").info("nobody reads this")
    assert time.monotonic() - began_s < 0.09
    assert [line["number"] for line in pipe.read()] == list(range(written))


@pytest.mark.timeout(20)
def test_how_many_lines_were_left_out_is_told_when_somebody_reads_again(pipe: Pipe) -> None:
    pipe.fill()
    for _ in range(9):
        logs.logger("t").info("nobody reads this")
    pipe.read()
    logs.logger("t").info("again")
    logs.logger("t").info("and again")
    told, *others = pipe.read()
    assert (told["level"], told["lines"]) == ("warning", 10)
    assert [line["event"] for line in others] == ["again", "and again"]


@pytest.mark.timeout(20)
def test_a_line_that_is_broken_off_makes_no_part_of_the_next(pipe: Pipe) -> None:
    logs.logger("t").info("long", value=LONG)
    assert os.read(pipe.reader, 1 << 20).decode().startswith('{"timestamp"')
    logs.logger("t").info("again")
    text = os.read(pipe.reader, 1 << 20).decode()
    assert text.startswith("\n")
    told, again = map(json.loads, text.splitlines()[1:])
    assert (told["lines"], again["event"]) == (1, "again")


@pytest.mark.timeout(20)
def test_a_reader_that_is_late_loses_nothing(pipe: Pipe) -> None:
    got: list[bytes] = []

    def read() -> None:
        while part := os.read(pipe.reader, 1000):
            got.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        logs.logger("t").info("long", value=LONG)
    pipe.stream.close()
    reader.join()
    lines = [json.loads(line) for line in b"".join(got).splitlines()]
    assert [line["value"] for line in lines] == [LONG] * 20


def test_a_reader_that_has_gone_costs_nothing_but_the_lines(pipe: Pipe, capsys: pytest.CaptureFixture[str]) -> None:
    reader, pipe.reader = pipe.reader, os.open(os.devnull, os.O_RDONLY)
    os.close(reader)
    logs.logger("t").info("nobody is there")
    assert "BrokenPipeError" in capsys.readouterr().err


@pytest.mark.timeout(20)
def test_control_a_plain_handler_waits_for_its_reader(pipe: Pipe) -> None:
    logging.getLogger().handlers = [logging.StreamHandler(pipe.stream)]
    writer = threading.Thread(target=lambda: [logging.getLogger("t").warning(4 * LONG) for _ in range(2)])
    writer.start()
    writer.join(0.3)
    assert writer.is_alive()
    left_bytes = 2 * (4 * len(LONG) + 1)
    while left_bytes:
        left_bytes -= len(os.read(pipe.reader, left_bytes))
    writer.join()
