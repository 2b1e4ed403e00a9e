"""What a setting is to be good at: one number for each block of traffic, the higher the better.

throughput: the rate up to which a rising load is carried in time. goodput: answers a second in time at a given rate.
latency: runs of the 99th percentile a second at a given rate, so that half the latency is twice the score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loadtests.arrivals import Profile, Seconds, Stretch, poisson, steady
from loadtests.measures.observed import Observed

Name = Literal["throughput", "latency", "goodput"]

# Share of the requests that must be in time for a rate to count as carried: the objective is about the 99th percentile.
IN_TIME = 0.99
_STEPS = 40


@dataclass(frozen=True, slots=True)
class Objective:
    """What is sent, and what it scores.

    Attributes:
        name: which of the three.
        profile: of one block.
        limit_ms: an answer that takes longer is late.
    """

    name: Name
    profile: Profile
    limit_ms: float

    def draw(self, random: np.random.Generator) -> Seconds:
        """Arrival times of one block."""
        return poisson(self.profile, random)

    def score(self, seen: Observed) -> float:
        """Of one block; 0 where nothing was any good."""
        return {"throughput": self._carried, "goodput": self._goodput, "latency": self._speed}[self.name](seen)

    @property
    def least(self) -> float:
        """What a block that shows nothing good counts as: a rate below the lowest that was sent, as far as that goes.

        Nothing at all would be infinitely worse than anything, and one slow spell would decide a search.
        """
        return self.profile[0].rate / 2 if self.name == "throughput" else 0.0

    def _carried(self, seen: Observed) -> float:
        return carried_rate(self.profile, seen.sent.planned_s, seen.in_time(self.limit_ms))

    def _goodput(self, seen: Observed) -> float:
        return float(seen.in_time(self.limit_ms).sum() / seen.lasts_s)

    def _speed(self, seen: Observed) -> float:
        # A request without a good answer is as late as can be told.
        latency_ms = np.where(seen.good, seen.sent.latency_s * 1e3, np.inf)
        p99_ms = float(np.percentile(latency_ms, 99, method="inverted_cdf")) if len(latency_ms) else np.inf
        return 1e3 / p99_ms if np.isfinite(p99_ms) and p99_ms > 0 else 0.0


def rising(lowest: float, highest: float, duration_s: float) -> Profile:
    """A rate that grows by the same factor from step to step."""
    rates = np.geomspace(lowest, highest, _STEPS)
    return tuple(Stretch(duration_s / _STEPS, float(rate)) for rate in rates)


def carried_rate(profile: Profile, planned_s: Seconds, in_time: np.ndarray) -> float:
    """The rate of a rising profile up to which, counted from its start, 99 % of the requests were in time; else 0."""
    if not len(planned_s):
        return 0.0
    share = np.cumsum(in_time) / np.arange(1, len(in_time) + 1)
    held = np.flatnonzero(share >= IN_TIME)
    if not len(held):
        return 0.0
    ends_s = np.cumsum([stretch.duration_s for stretch in profile])
    step = int(np.searchsorted(ends_s, planned_s[held[-1]]))
    return profile[min(step, len(profile) - 1)].rate


def objective_for(name: Name, *, carried: float, rate: float | None, limit_ms: float, block_s: float) -> Objective:
    """The objective of a search.

    Args:
        name: which.
        carried: the rate that the present configuration carries, as measured.
        rate: that was asked for; None takes half of what is carried for latency, all of it for goodput.
        limit_ms: of an answer in time.
        block_s: how long a block is.
    """
    if name == "throughput":
        return Objective(name, rising(carried / 4, carried * 3, block_s), limit_ms)
    usual = carried * (0.5 if name == "latency" else 1.0)
    return Objective(name, steady(rate or usual, block_s), limit_ms)


PROBE: Callable[[float], Objective] = lambda limit_ms: Objective("throughput", rising(20, 4000, 4.0), limit_ms)  # noqa: E731
