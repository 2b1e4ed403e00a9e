"""What a run looks like in steps of 100 ms, and that a server which stands still cannot hide."""

from dataclasses import replace

import numpy as np
import pytest

from loadtests.measures.summary import percentile_of
from loadtests.report.timeline import LEAST_STALL_MS, STEP_S, stalls, stretches
from tests.unit.loadtests.report.outcomes import BEGAN_S, LASTS_S, block

STALL_S = (0.8, 0.5)


def only(observed, origin_s=BEGAN_S):
    (stretch,) = stretches(observed, origin_s)
    return stretch


def test_steps_cover_the_block_and_hold_every_request_once():
    stretch = only(block("1", 0, service_ms=1.0, at_s=3.0))
    assert len(stretch.at_s) == round(LASTS_S / STEP_S) == len(stretch.max_ms)
    assert stretch.at_s[0] == pytest.approx(3.0)
    assert stretch.at_s[-1] == pytest.approx(3.0 + LASTS_S - STEP_S)
    assert sum(stretch.planned) == sum(stretch.answered) == 600


def test_each_steps_largest_and_median_are_those_of_its_requests():
    seen = block("1", 0, service_ms=1.0)
    stretch = only(seen)
    third = (seen.sent.planned_s >= 0.2) & (seen.sent.planned_s < 0.3)
    assert stretch.max_ms[2] == pytest.approx(seen.sent.latency_s[third].max() * 1e3, abs=1e-3)
    assert stretch.p50_ms[2] == pytest.approx(np.median(seen.sent.latency_s[third]) * 1e3, abs=1e-3)


def test_requests_without_an_answer_are_planned_and_not_answered():
    stretch = only(block("1", 0, service_ms=1.0, unanswered=100))
    assert sum(stretch.planned) - sum(stretch.answered) == 100
    assert stretch.max_ms[-1] is None


def test_a_planted_stall_shows_in_its_steps_and_in_the_p99_9():
    calm = [block("1", number, service_ms=0.8, rate=1000) for number in range(3)]
    stalled = [block("1", 0, service_ms=0.8, rate=1000, stall_s=STALL_S), *calm[1:]]
    before, after = only(calm[0]), only(stalled[0])
    assert max(ms or 0 for ms in before.max_ms) < 100
    assert max(ms or 0 for ms in after.max_ms[8:10]) == pytest.approx(500, rel=0.1)
    # Those who came later waited less: the steps descend as the queue behind the stall is worked off.
    assert after.max_ms[8] > after.max_ms[10] > after.max_ms[12]
    assert percentile_of(calm, 99.9)(np.arange(3)) < 100
    assert percentile_of(stalled, 99.9)(np.arange(3)) > 400


def test_a_stall_is_named_with_its_moment_its_length_and_who_waited():
    seen = block("1", 0, service_ms=0.8, at_s=7.0, stall_s=STALL_S)
    (stall,) = stalls([seen], BEGAN_S)
    assert stall.at_s == pytest.approx(7.8, abs=0.02)
    assert stall.lasts_ms == pytest.approx(500, abs=20)
    assert stall.waiting == pytest.approx(150, abs=30)


def test_without_a_stall_none_is_named():
    assert list(stalls([block("1", 0, service_ms=0.8), block("1", 1, service_ms=2.5)], BEGAN_S)) == []


def test_an_overloaded_server_that_goes_on_answering_does_not_stall():
    seen = block("1", 0, service_ms=6.0, rate=400)
    assert seen.latency_ms.max() > 1000
    assert list(stalls([seen], BEGAN_S)) == []


def test_a_pause_in_which_nobody_asked_is_no_stall():
    seen = block("1", 0, service_ms=0.8)
    early, late = seen.sent.planned_s < 0.5, seen.sent.planned_s > 1.5
    assert LEAST_STALL_MS < 1000
    assert list(stalls([chosen(seen, early | late)], BEGAN_S)) == []


def test_a_slow_model_under_little_traffic_does_not_stall():
    assert list(stalls([block("1", 0, service_ms=200, rate=2)], BEGAN_S)) == []


def test_a_block_without_an_answer_names_none():
    seen = block("1", 0, service_ms=1.0, unanswered=600)
    assert list(stalls([seen], BEGAN_S)) == []
    assert set(only(seen).max_ms) == {None}


def test_answers_are_told_apart_by_the_version_that_gave_them():
    seen = block("swapped", 0, service_ms=1.0, unanswered=30)
    first = seen.sent.planned_s < 1.0
    answered = np.where(first, 0, 1).astype(np.int16)
    answered[-30:] = -1
    told = replace(seen, sent=replace(seen.sent, answered=answered, versions=("1", "1-int8")))
    by_name = {one.version: one for one in stretches(told, BEGAN_S)}
    assert by_name.keys() == {"1", "1-int8", "swapped"}
    assert sum(by_name["1"].answered[:10]) == first.sum()
    assert sum(by_name["1"].planned[10:]) == 0
    assert sum(by_name["1-int8"].planned[:10]) == 0
    assert (sum(by_name["swapped"].planned), sum(by_name["swapped"].answered)) == (30, 0)


def test_where_one_version_answered_everything_the_label_stands():
    seen = block("1-int8@host", 0, service_ms=1.0)
    answered = np.zeros(len(seen.sent.planned_s), np.int16)
    told = replace(seen, sent=replace(seen.sent, answered=answered, versions=("1-int8",)))
    assert only(told).version == "1-int8@host"


def chosen(observed, kept):
    names = ("planned_s", "sent_s", "done_s", "status", "rows", "checked", "classes")
    return replace(
        observed, sent=replace(observed.sent, **{name: getattr(observed.sent, name)[kept] for name in names})
    )
