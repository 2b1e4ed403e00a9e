"""The figures of a version, reckoned by hand from blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.generator.block import CONNECTION_LOST
from loadtests.measures.observed import ServerSide, by_version
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


@pytest.mark.parametrize(
    ("answers", "percents"), [(9, []), (10, [50.0]), (50, [50.0, 90.0]), (499, [50.0, 90.0]), (500, [50.0, 90.0, 99.0])]
)
def test_a_percentile_has_five_answers_beyond_it(answers: int, percents: list[float]) -> None:
    assert list(summarise("1", [block([5.0] * answers)], limit_ms=10).latency_ms) == percents


def test_what_the_server_used_is_by_good_answer_and_memory_is_the_most_that_was_seen() -> None:
    sides = [ServerSide(cpu_s=0.2, resident_bytes=7), ServerSide(cpu_s=0.1, resident_bytes=5)]
    seen = [replace(block([5.0] * 50), server=side) for side in sides]
    found = summarise("1", seen, limit_ms=None)
    assert found.cpu_ms == pytest.approx(3) and found.resident_bytes == 7
    assert summarise("1", [*seen, block([5.0])], limit_ms=None).cpu_ms is None  # of one block it is not known


def test_a_round_that_was_interrupted_counts_for_nobody() -> None:
    seen = [block([5.0], version=version, number=number) for number in (0, 1) for version in ("1", "1-int8")]
    kept = by_version([*seen, block([5.0], number=2)])
    assert {version: [one.round for one in blocks] for version, blocks in kept.items()} == {
        "1": [0, 1],
        "1-int8": [0, 1],
    }
