"""The figures of a version, reckoned by hand from blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.generator.block import CONNECTION_LOST
from loadtests.measures.observed import ServerSide
from loadtests.measures.summary import summarise
from tests.unit.loadtests.blocks import block


def test_rates_are_by_the_seconds_of_all_blocks_and_shares_by_all_requests() -> None:
    seen = [block([5.0] * 30 + [20.0] * 10, lasts_s=2.0), block([5.0] * 20, status=[200] * 15 + [CONNECTION_LOST] * 5)]
    found = summarise("1", seen, limit_ms=10)
    assert (found.requests, found.offered) == (60, 20)
    assert found.achieved.value == pytest.approx(55 / 3)
    assert found.goodput.value == pytest.approx(45 / 3)
    assert found.in_time.value == pytest.approx(45 / 60)
    assert found.errors == {"connection lost": 5}


def test_what_the_server_used_is_by_good_answer_and_memory_is_the_most_that_was_seen() -> None:
    sides = [ServerSide(cpu_s=0.2, resident_bytes=7), ServerSide(cpu_s=0.1, resident_bytes=5)]
    seen = [replace(block([5.0] * 50), server=side) for side in sides]
    found = summarise("1", seen, limit_ms=None)
    assert found.cpu_ms == pytest.approx(3) and found.resident_bytes == 7
    assert summarise("1", [*seen, block([5.0])], limit_ms=None).cpu_ms is None  # of one block it is not known
