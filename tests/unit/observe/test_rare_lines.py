"""A library that fails over and over writes one line a while."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from service.observe.rare_lines import RareLines
from tests.fakes import ManualClock

NAME = "noisy-library"


class Lines(logging.Handler):
    """What reaches the root logger's handlers; pytest's own also listens to loggers that pass nothing on."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    clock = ManualClock()
    RareLines(NAME, 60.0, clock.now_s).install()
    yield clock
    noisy = logging.getLogger(NAME)
    noisy.handlers, noisy.propagate = [], True


def test_one_line_a_while_and_how_many_were_left_out(clock: ManualClock, lines: Lines) -> None:
    noisy = logging.getLogger(f"{NAME}.exporter")
    for number in range(100):
        noisy.error("failed %d", number)
    assert lines.messages == ["failed 0"]
    clock.advance(60.0)
    noisy.error("failed again, 100% sure")
    clock.advance(59.0)
    noisy.error("too soon")
    assert lines.messages[1:] == ["failed again, 100% sure (99 lines like it left out)"]


def test_other_loggers_are_not_held_back(clock: ManualClock, lines: Lines) -> None:
    for _ in range(3):
        logging.getLogger("other").error("line")
    assert lines.messages == ["line"] * 3
