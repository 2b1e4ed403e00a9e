"""What a batcher reports is counted, and a batch that ended is a sign of life."""

from service.batching.contract import BatchReport, CloseReason, DropReason, RefusalReason
from service.core.errors import RunFailed, Stuck
from service.observe.statistics import VersionStatistics
from service.serving.pulse import Pulse
from tests.fakes import ManualClock

REPORT = BatchReport(3, 2, 10, 20, 30, CloseReason.IDLE_RUNNER)


def test_only_a_batch_that_ended_well_is_a_sign_of_life() -> None:
    clock, statistics = ManualClock(100.0), VersionStatistics("m", "1")
    pulse = Pulse(statistics, clock)
    assert pulse.last_batch_s == 100.0
    clock.advance(5)
    pulse.run_failed(1, 1, Stuck("given up"), "")
    pulse.dropped(DropReason.EXPIRED)
    pulse.crashed(ValueError("planted"))
    assert pulse.last_batch_s == 100.0
    pulse.batch_ran(REPORT)
    assert pulse.last_batch_s == 105.0


def test_a_run_that_fails_on_its_requests_has_moved_and_one_that_is_given_up_has_not() -> None:
    clock = ManualClock(100.0)
    pulse = Pulse(VersionStatistics("m", "1"), clock)
    clock.advance(5)
    pulse.run_failed(1, 1, Stuck("given up"), "")
    assert pulse.last_refusal_s == 100.0
    pulse.run_failed(1, 1, RunFailed("these rows"), "")
    assert (pulse.last_refusal_s, pulse.last_batch_s) == (105.0, 100.0)


def test_everything_is_passed_on_to_the_statistics() -> None:
    statistics = VersionStatistics("m", "1")
    pulse = Pulse(statistics, ManualClock())
    pulse.batch_ran(REPORT)
    pulse.run_failed(1, 1, Stuck("given up"), "")
    pulse.dropped(DropReason.EXPIRED)
    pulse.refused(RefusalReason.OVERLOAD)
    pulse.crashed(ValueError("planted"))
    assert statistics.refusals == {"full": 0, "overload": 1, "deadline": 0, "timeout": 0}
    assert (statistics.batches, statistics.rows) == (1, 3)
    assert (statistics.runs_failed, statistics.crashes) == (1, 1)
    assert statistics.drops == {"expired": 1, "abandoned": 0}


def test_a_batch_of_nothing_but_the_servers_probe_is_a_sign_of_life_and_counted_nowhere() -> None:
    clock, statistics = ManualClock(1.0), VersionStatistics("m", "1")
    pulse = Pulse(statistics, clock)
    clock.advance(1)
    pulse.batch_ran(BatchReport(0, 0, 10, 20, 30, CloseReason.IDLE_RUNNER))
    assert (pulse.last_batch_s, statistics.batches, statistics.rows) == (2.0, 0, 0)


def test_a_failed_run_of_nothing_but_the_servers_probe_is_counted_nowhere() -> None:
    statistics = VersionStatistics("m", "1")
    Pulse(statistics, ManualClock()).run_failed(1, 0, Stuck("given up"), "")
    assert statistics.runs_failed == 0
