"""Numbers as people read them, ticks, the front and the thinned distribution."""

import numpy as np
import pytest

from loadtests.report import words
from loadtests.report.distribution import distribution
from loadtests.report.front import front
from loadtests.report.schema import Value
from loadtests.report.ticks import MOST, log_ticks, plain
from tests.unit.loadtests.report.outcomes import block


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (0.0, "0"), (0.01234, "0.0123"), (1.5, "1.50"), (99.99, "100"), (345.6, "346"), (12345.6, "12346")],
)
def test_numbers_have_three_digits_and_no_exponent(value, expected):
    assert words.number(value) == expected


def test_figures_carry_their_interval_where_there_is_one():
    assert words.figure(Value(value=2.0, low=1.0, high=3.0)) == "2.00 [1.00, 3.00]"
    assert words.figure(Value(value=0.5), words.ratio) == "0.50x"
    assert words.figure(Value(value=None)) == words.figure(None) == "-"
    assert words.figure(Value(value=0.995, low=0.99, high=1.0), words.share) == "99.50% [99.00%, 100.00%]"


def test_sizes_and_kinds_of_errors():
    assert [words.size(count) for count in (None, 12, 2048, 3 << 20)] == ["-", "12 B", "2.0 kiB", "3.0 MiB"]
    assert words.kinds({}) == "none"
    assert words.kinds({"wrong answer": 2, "status 503": 1}) == "1 status 503, 2 wrong answer"


@pytest.mark.parametrize("ends", [(0.07, 3000), (1, 10), (4, 6), (950, 1010), (0.002, 0.0021), (3, 1e6), (0.9, 1.1)])
def test_ticks_lie_between_the_ends_and_are_neither_few_nor_many(ends):
    found = log_ticks(*ends)
    assert 2 <= len(found) <= MOST
    assert all(ends[0] <= one <= ends[1] for one in found)
    assert list(found) == sorted(set(found))


def test_ticks_of_decades_are_decades():
    assert log_ticks(0.5, 2000) == (1.0, 10.0, 100.0, 1000.0)
    assert log_ticks(1, 30) == (1.0, 3.0, 10.0, 30.0)


def test_ticks_of_a_narrow_range_are_even():
    assert log_ticks(0.68, 1.26) == (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
    assert log_ticks(0.95, 1.02) == (0.95, 0.96, 0.97, 0.98, 0.99, 1.0, 1.01, 1.02)


def test_ticks_of_nothing_are_its_one_value():
    assert log_ticks(5, 5) == (5,)


def test_ticks_are_written_plainly():
    assert [plain(one) for one in (0.001, 0.1, 1.0, 1.5, 300.0)] == ["0.001", "0.1", "1", "1.5", "300"]
    assert plain(20000).replace("\N{NARROW NO-BREAK SPACE}", " ") == "20 000"


def test_the_front_leaves_out_what_is_beaten_everywhere():
    points = {
        "full": (10.0, -0.99, 4.0),
        "int8": (4.0, -0.98, 1.0),
        "bad": (11.0, -0.97, 4.0),
        "twin": (4.0, -0.98, 1.0),
    }
    assert front(points) == ("full", "int8", "twin")
    assert front({}) == ()


def test_the_distribution_runs_from_all_answers_to_the_slowest_one():
    seen = [block("1", number, service_ms=1.0) for number in range(3)]
    found = distribution("1", seen)
    pooled = np.sort(np.concatenate([one.latency_ms for one in seen]))
    assert found.slower_than[0] == 1.0
    assert found.slower_than[-1] == pytest.approx(1 / len(pooled))
    assert found.latency_ms[-1] == pytest.approx(pooled[-1], abs=1e-3)
    assert list(found.latency_ms) == sorted(found.latency_ms)
    assert list(found.slower_than) == sorted(found.slower_than, reverse=True)
    for share, ms in zip(found.slower_than, found.latency_ms, strict=True):
        assert (pooled >= ms - 1e-4).mean() == pytest.approx(share, abs=2e-3)


def test_no_answer_has_no_distribution_and_one_has_one():
    assert distribution("1", []) is None
    assert distribution("1", [block("1", 0, service_ms=1.0, unanswered=600)]) is None
    assert len(distribution("1", [block("1", 0, service_ms=1.0, unanswered=599)]).latency_ms) == 1
