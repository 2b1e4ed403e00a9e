from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from loadtests.generator.block import CONNECTION_LOST, OK, UNANSWERED, UNCHECKED, Answer, Block
from loadtests.generator.records import Records
from tests.fakes import ManualClock


def records(count: int = 3, timeout_s: float = 10.0) -> Records:
    begun = Records(Block("p", np.zeros(count), np.zeros(count, np.int32), timeout_s))
    begun.begin()
    return begun


def test_a_request_ends_once_and_the_last_one_ends_the_block() -> None:
    noted = records(2)
    noted.wrote(0)
    noted.answered(0, OK, Answer(b"first", 0))
    noted.failed(0, CONNECTION_LOST)
    noted.answered(0, 503, Answer(b"second", 0))
    assert not noted.finished.is_set()  # the second words counted nothing down
    noted.failed(1, CONNECTION_LOST)
    assert noted.finished.is_set()
    sent = noted.sent_block()
    assert sent.status.tolist() == [OK, CONNECTION_LOST]
    assert noted.answers[0] == Answer(b"first", 0)
    assert np.isfinite(sent.done_s).tolist() == [True, False]
    assert np.isfinite(sent.sent_s).tolist() == [True, False]


def test_what_never_ended_or_took_too_long_is_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr("loadtests.generator.records.time", SimpleNamespace(perf_counter=clock.now_s))
    noted = records(3, timeout_s=0.05)
    noted.answered(0, OK, Answer(b"", 0))
    clock.advance(0.07)
    noted.answered(1, OK, Answer(b"", 0))
    sent = noted.sent_block()
    assert sent.status.tolist() == [OK, UNANSWERED, UNANSWERED]
    assert np.isnan(sent.done_s).tolist() == [False, True, True]
    assert (sent.checked == UNCHECKED).all() and (sent.classes == -1).all()


def test_a_refusal_has_a_time_and_an_empty_body() -> None:
    noted = records(1)
    noted.refused(0, 10_014)
    assert noted.sent_block().status.tolist() == [10_014]
    assert noted.answers[0] == Answer(b"", 0)
    assert np.isfinite(noted.sent_block().done_s).all()
