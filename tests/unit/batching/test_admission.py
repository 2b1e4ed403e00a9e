"""Who is let in: bounded queue, deadlines that can be met, and never a lock-out by a wrong prediction (O4)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from service.batching.admission import Admission
from service.batching.contract import BatchConfig, RefusalReason, WaitPolicy
from service.batching.curve import CostCurve
from service.batching.forecast import Forecast
from service.batching.queue import Queue
from service.batching.ticket import Ticket, cut
from service.core.errors import Expired, Rejected
from tests.fakes import ids


class Crew:
    """As busy as a test says."""

    def __init__(self, *, idle: int = 0, size: int = 1, free_at_s: float = -math.inf) -> None:
        self.idle, self.size, self.free_at_s = idle, size, free_at_s


def queue_of(requests: int, rows: int = 1, level: int = 0) -> Queue:
    queue = Queue()
    for n in range(requests):
        ticket = Ticket(None, 0.0, math.inf, level=level, rank=2 * level)  # type: ignore[arg-type]
        cut(ticket, ids(n, rows), rows, max_rows=100, alone=False)
        queue.add(ticket.pieces[0])
    return queue


def curve() -> CostCurve:
    made = CostCurve(10)
    made.observe(1, 0.05)
    made.observe(10, 0.1)  # 100 rows/s at best
    return made


class Door:
    """The admission of one batcher, asked with plain numbers."""

    def __init__(self, crew: Crew, measured: CostCurve, knobs: Any) -> None:
        config = BatchConfig(max_rows=10, **knobs)
        self.refused: list[str] = []
        forecast = Forecast(config, measured, crew)  # type: ignore[arg-type]
        self.admission = Admission(config, forecast, crew, self.refused.append)  # type: ignore[arg-type]

    def let_in(self, queue: Queue, rows: int, deadline_s: float, now_s: float, **more: Any) -> None:
        places = more.pop("places", 20)
        self.admission.admit(queue, rows, Ticket(None, now_s, deadline_s, **more), places)  # type: ignore[arg-type]


def admission(crew: Crew, *, measured: CostCurve | None = None, **knobs: Any) -> Door:
    return Door(crew, measured or curve(), knobs)


@pytest.mark.parametrize("deadline_s", [math.inf, 0.001])
def test_an_idle_engine_takes_anyone_or_a_wrong_curve_could_never_mend(deadline_s: float) -> None:
    admission(Crew(idle=1)).let_in(queue_of(0), 10, deadline_s, now_s=0.0)


def test_a_passed_deadline_is_an_expiry_even_so() -> None:
    with pytest.raises(Expired):
        admission(Crew(idle=1)).let_in(queue_of(0), 1, 5.0, now_s=5.0)


def test_without_a_deadline_a_full_queue_refuses() -> None:
    admission(Crew()).let_in(queue_of(19), 10, math.inf, 0.0)
    with pytest.raises(Rejected, match="the queue is full: 20 requests wait already"):
        admission(Crew()).let_in(queue_of(20), 1, math.inf, 0.0)


@pytest.mark.parametrize(
    ("crew", "waiting", "rows", "least_s"),
    [
        (Crew(free_at_s=0.5), 0, 1, 0.55),
        (Crew(free_at_s=0.5), 10, 1, 0.65),
        (Crew(free_at_s=0.5, size=2), 10, 1, 0.6),
        (Crew(free_at_s=-5.0), 10, 1, 0.15),
        (Crew(free_at_s=0.5), 0, 10, 0.6),
        (Crew(free_at_s=0.5), 0, 30, 0.8),
        (Crew(free_at_s=0.5, size=2), 0, 30, 0.65),
        (Crew(size=0), 10, 1, 0.15),
    ],
    ids=[
        "what runs now, and its own run",
        "and the rows before it, at the best rate",
        "which two engines share",
        "an engine that is late already may be free at once",
        "its own rows take longer",
        "its own pieces take turns",
        "or two engines",
        "an engine that is on its way",
    ],
)
def test_a_deadline_that_cannot_be_met_is_refused_at_once(crew: Crew, waiting: int, rows: int, least_s: float) -> None:
    admission(crew).let_in(queue_of(waiting), rows, least_s + 0.001, now_s=0.0)
    with pytest.raises(Rejected, match="the deadline cannot be met"):
        admission(crew).let_in(queue_of(waiting), rows, least_s - 0.001, now_s=0.0)


def test_nothing_measured_refuses_nobody_for_time() -> None:
    admission(Crew(), measured=CostCurve(10)).let_in(queue_of(19), 10, 0.001, 0.0)


def test_retry_after_follows_the_queue() -> None:
    with pytest.raises(Rejected) as refused:
        admission(Crew(free_at_s=2.5)).let_in(queue_of(19, rows=5), 1, 0.01, 0.0)
    assert refused.value.retry_after_s == 4


def test_where_requests_never_mix_each_waits_for_every_run_before_it() -> None:
    alone = admission(Crew(), mixes=False)
    alone.let_in(queue_of(10), 1, 0.56, 0.0)
    with pytest.raises(Rejected, match="about 550 ms"):
        alone.let_in(queue_of(10), 1, 0.54, 0.0)
    with pytest.raises(Rejected, match="about 50 ms"):
        alone.let_in(queue_of(0), 1, 0.04, 0.0)


def test_refusing_costs_nothing_but_an_error() -> None:
    queue = queue_of(20)
    before = (queue.requests, queue.rows)
    with pytest.raises(Rejected):
        admission(Crew()).let_in(queue, 1, math.inf, 0.0)
    assert (queue.requests, queue.rows) == before


class TestOverload:
    """Whoever would wait longer than the limit is refused, and once the queue stands, longer than the target."""

    @staticmethod
    def door(**policy: Any) -> Door:
        return admission(Crew(free_at_s=0.5), waiting=WaitPolicy(**policy))

    def test_a_wait_over_the_limit_is_refused_with_the_figures(self) -> None:
        door = self.door(max_wait_s=0.6)
        door.let_in(queue_of(10), 1, math.inf, 0.0)
        sentence = "the model is overloaded: about 610 ms pass before a run now, and 600 ms are allowed"
        with pytest.raises(Rejected, match=sentence):
            door.let_in(queue_of(11), 1, math.inf, 0.0)
        assert door.refused == [RefusalReason.OVERLOAD]

    def test_without_a_limit_of_its_own_sixteen_runs_are_allowed(self) -> None:
        door = self.door()
        door.let_in(queue_of(19, rows=5), 1, math.inf, 0.0)
        with pytest.raises(Rejected, match="1600 ms are allowed"):
            door.let_in(queue_of(19, rows=6), 1, math.inf, 0.0)

    def test_a_queue_that_stands_allows_a_quarter_until_an_engine_is_idle(self) -> None:
        crew = Crew(free_at_s=0.0)
        door = admission(crew, waiting=WaitPolicy(max_wait_s=2.0))
        for now_s in (0.0, 1.0, 2.0):
            ran = Ticket(None, now_s - 0.7, math.inf)  # type: ignore[arg-type]
            cut(ran, ids(1, 1), 1, max_rows=10, alone=False)
            door.admission.began(queue_of(1), ran.pieces, now_s)
        door.let_in(queue_of(10, rows=5), 1, math.inf, 2.0, places=100)
        with pytest.raises(Rejected, match="500 ms are allowed"):
            door.let_in(queue_of(10, rows=6), 1, math.inf, 2.0, places=100)
        crew.idle = 1
        door.let_in(queue_of(0), 1, math.inf, 2.1)
        crew.idle = 0
        door.let_in(queue_of(10, rows=6), 1, math.inf, 2.1, places=100)

    def test_the_youngest_of_each_level_tells_how_long_its_level_waits(self) -> None:
        door = admission(Crew(free_at_s=0.0), levels=2, waiting=WaitPolicy(max_wait_s=2.0))
        for now_s in (0.0, 1.0, 2.0):
            pieces = []
            for level, waited_s in ((1, 0.9), (1, 0.01), (2, 0.9), (2, 0.7)):
                ran = Ticket(None, now_s - waited_s, math.inf, level=level)  # type: ignore[arg-type]
                cut(ran, ids(1, 1), 1, max_rows=10, alone=False)
                pieces += ran.pieces
            door.admission.began(queue_of(1), pieces, now_s)
        waiting = queue_of(10, rows=6, level=2)
        door.let_in(waiting, 1, math.inf, 2.0, level=1)
        with pytest.raises(Rejected, match="500 ms are allowed"):
            door.let_in(waiting, 1, math.inf, 2.0, level=2)

    def test_of_a_request_in_parts_the_first_tells_how_long_its_level_waits(self) -> None:
        door = admission(Crew(free_at_s=0.0), waiting=WaitPolicy(max_wait_s=2.0))
        for now_s in (0.0, 1.0, 2.0):
            ran = Ticket(None, now_s - 0.01, math.inf)  # type: ignore[arg-type]
            parted = Ticket(None, now_s - 0.9, math.inf)  # type: ignore[arg-type]
            cut(ran, ids(1, 1), 1, max_rows=1, alone=False)
            cut(parted, ids(1, 2), 2, max_rows=1, alone=False)
            door.admission.began(queue_of(1), [*ran.pieces, parted.pieces[1]], now_s)
        door.let_in(queue_of(10, rows=6), 1, math.inf, 2.0, places=100)

    def test_who_may_be_late_is_not_refused_for_its_time_to_wait(self) -> None:
        with pytest.raises(Rejected, match="the timeout would pass"):
            self.door().let_in(queue_of(10), 1, math.inf, 0.0, wait_until_s=0.55)
        self.door(delays=True).let_in(queue_of(10), 1, math.inf, 0.0, wait_until_s=0.55, delays=True)

    def test_who_may_be_late_waits_as_long_as_it_takes_unless_a_limit_is_given(self) -> None:
        self.door(delays=True).let_in(queue_of(1000), 1, math.inf, 0.0, places=10_000, delays=True)
        with pytest.raises(Rejected, match="overloaded"):
            self.door(delays=True, max_wait_s=1.0).let_in(queue_of(60), 1, math.inf, 0.0, places=100, delays=True)

    def test_the_servers_own_question_is_let_in_and_counted_nowhere(self) -> None:
        door = self.door(max_wait_s=0.1)
        door.let_in(queue_of(10), 1, math.inf, 0.0, quiet=True)
        with pytest.raises(Rejected, match="full"):
            door.let_in(queue_of(20), 1, math.inf, 0.0, quiet=True)
        assert door.refused == []

    @pytest.mark.parametrize(
        ("ask", "reason"),
        [
            ({"places": 5}, RefusalReason.FULL),
            ({"deadline_s": 0.55}, RefusalReason.DEADLINE),
            ({"wait_until_s": 0.55}, RefusalReason.TIMEOUT),
        ],
    )
    def test_every_refusal_has_its_reason(self, ask: dict[str, float], reason: RefusalReason) -> None:
        door = self.door()
        with pytest.raises(Rejected):
            door.let_in(queue_of(10), 1, ask.pop("deadline_s", math.inf), 0.0, **ask)
        assert door.refused == [reason]

    def test_what_would_be_refused_whatever_it_asks_can_be_told_before(self) -> None:
        door = self.door(max_wait_s=0.6)
        assert door.admission.check(queue_of(5), 0, 20, 0.0) == pytest.approx(0.55)
        with pytest.raises(Rejected):
            door.admission.check(queue_of(11), 0, 20, 0.0)
        assert admission(Crew(idle=1)).admission.check(queue_of(0), 0, 20, 0.0) is None
