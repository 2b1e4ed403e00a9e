"""From an order and the knees to what is sent: rate, the profile of each round, how many rounds."""

from __future__ import annotations

from collections.abc import Mapping

from loadtests import arrivals
from loadtests.arrivals import PROCESSES, Profile
from loadtests.comparison import Plan
from loadtests.knees import lowest
from loadtests.measures.paired import LEAST_ROUNDS
from loadtests.order import Order
from loadtests.outcome import Knee, Traffic
from loadtests.pools import Rows
from loadtests.scenario import BadScenario
from loadtests.traces import Counts, read_trace

# Without a rate the comparison is made at this share of the lowest knee: busy, and all can carry it.
OF_KNEE = 0.7


def seeks_knees(order: Order) -> bool:
    """Whether knees are looked for: asked for, or needed to know the rate."""
    needed = order.rate is None or (order.scenario.times_knee is not None and order.limit_ms is not None)
    return order.find_knee or needed


def rate_of(order: Order, knees: Mapping[str, Knee]) -> float | None:
    """Requests a second; None where it hangs on a knee and one of the versions has none.

    A scenario of so many times the knee takes the rate that was asked for in the knee's place where none was sought.
    """
    knee = lowest(knees)
    times_knee = order.scenario.times_knee
    if times_knee is not None and (knee is not None or order.rate is not None):
        return order.scenario.times_rate * times_knee * (knee or order.rate or 0.0)
    base = order.rate if order.rate is not None else None if knee is None else OF_KNEE * knee
    return None if base is None else order.scenario.times_rate * base


def plan_of(order: Order, rate: float) -> Plan:
    """What is sent at this rate.

    Raises:
        BadScenario, BadTrace: a trace is to be replayed, and there is none.
    """
    rounds = max(LEAST_ROUNDS, round(order.duration_s / order.scenario.block_s))
    first, *later = _profiles(order, rate, rounds)
    return Plan(first, PROCESSES[order.arrivals], rounds, order.seed, later=tuple(later))


def _profiles(order: Order, rate: float, rounds: int) -> list[Profile]:
    """One for all rounds; of a trace, one part after the other."""
    scenario = order.scenario
    if scenario.shape != "trace":
        return [scenario.profile(rate)]
    if order.trace is None:
        raise BadScenario("a trace is to be replayed, and none is named: give it with --trace FILE.")
    counts = read_trace(order.trace)
    starts = [int(number * scenario.block_s) for number in range(rounds)]
    parts = [
        arrivals.trace(counts, rate, scenario.block_s, start=start)
        for start in starts
        if _any(counts, start, scenario.block_s)
    ]
    return parts or [arrivals.trace(counts, rate, scenario.block_s)]


def traffic_of(order: Order, plan: Plan | None, rows: Rows) -> Traffic:
    """What the report says of it; without a plan nothing was sent."""
    profile: Profile = plan.profile if plan else ()
    return Traffic(
        scenario=order.scenario_name,
        summary=order.scenario.summary,
        arrivals=order.arrivals,
        rate=arrivals.mean_rate(profile),
        rates=tuple((stretch.duration_s, stretch.rate) for stretch in profile),
        rounds=plan.rounds if plan else 0,
        encoding=order.encoding,
        source=rows.source,
        rows=len(rows),
        seed=order.seed,
    )


def _any(counts: Counts, start: int, lasts_s: float) -> bool:
    return bool(counts.take(range(start, start + int(-(-lasts_s // 1))), mode="wrap").any())
