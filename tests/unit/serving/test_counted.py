from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.core.contract import InferResponse, Timing
from service.core.errors import Abandoned, BadInput, NotRepresentable, Rejected, RunFailed
from service.observe.statistics import VersionStatistics
from service.serving.counted import Counted
from service.serving.failures import BACKEND, CANCELED, OTHER, REJECTED

ANSWER = InferResponse("m", "1", {"y": np.ones(1)}, timing=Timing(1, 2, 3, 4))


@pytest.fixture
def statistics() -> VersionStatistics:
    return VersionStatistics("m", "1")


def failures(statistics: VersionStatistics) -> dict[str, int]:
    return {reason: failure.count for reason, failure in statistics.failures.items() if failure.count}


def test_an_answer_is_one_success_with_its_phases(statistics: VersionStatistics) -> None:
    with Counted(statistics) as counted:
        counted.answered(ANSWER)
    assert (statistics.success.count, statistics.queue.ns, statistics.compute.infer_ns) == (1, 1, 3)
    assert statistics.success.ns > 0
    assert failures(statistics) == {}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BadInput("wrong"), OTHER),
        (RunFailed("it failed"), BACKEND),
        (Rejected("full", 1), REJECTED),
        (Abandoned("gone"), CANCELED),
        (asyncio.CancelledError(), CANCELED),
        (ValueError("nobody meant this"), OTHER),
    ],
)
def test_an_error_is_one_failure_for_its_reason(
    statistics: VersionStatistics, error: BaseException, reason: str
) -> None:
    with pytest.raises(type(error)), Counted(statistics):
        raise error
    assert (failures(statistics), statistics.success.count) == ({reason: 1}, 0)


def test_a_request_counts_for_the_version_that_answers_it_and_for_no_other(statistics: VersionStatistics) -> None:
    other = VersionStatistics("m", "2")
    with Counted(statistics) as counted:
        counted.by(other)
        counted.answered(ANSWER)
    with pytest.raises(RunFailed), Counted(statistics) as counted:
        counted.by(other)
        raise RunFailed("it failed")
    assert (other.success.count, failures(other)) == (1, {BACKEND: 1})
    assert (statistics.success.count, failures(statistics)) == (0, {})


def test_an_answer_that_cannot_be_given_is_a_failure_and_no_success(statistics: VersionStatistics) -> None:
    with pytest.raises(NotRepresentable), Counted(statistics) as counted:
        counted.answered(ANSWER)
        raise NotRepresentable("it holds NaN")
    assert (failures(statistics), statistics.success.count, statistics.queue.count) == ({OTHER: 1}, 0, 0)
