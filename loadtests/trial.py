"""Tries one rate on one version: whether it meets the objective there. What the search for a knee asks.

An objective is met when the p99 of all planned requests, unanswered ones counted as endless, is within the limit, and
no more than one in a thousand fails. A generator that came late makes latencies longer, and never shorter: they count
from the planned moment. So what was met in spite of it was met. A slow spell of the machine can spoil any block: what a
miss is worth is for the search to say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from loadtests import arrivals
from loadtests.comparison import Contender
from loadtests.generator.block import Block
from loadtests.generator.process import Generator
from loadtests.measures.observed import Observed, ServerSide
from loadtests.measures.summary import lag_p99_ms
from loadtests.outcome import Try
from loadtests.server import ServerGone

MOST_ERRORS = 0.001
LEAST_S, MOST_S = 2.0, 8.0
# A queue that grows shows in the latency only after a while: a block is at least that many times as long as the limit.
LIMITS = 20
REQUESTS = 400
CONNECTIONS = 16
_REST_S = 0.2
_REST_AFTER_MISS_S = 1.0


@dataclass(slots=True)
class Trials:
    """Tries rates, and keeps what it saw.

    Args:
        generator: prepared with the contenders' pools.
        limit_ms: the objective for the p99.
        seed: of the arrivals.
    """

    generator: Generator
    limit_ms: float
    seed: int
    sleep: Callable[[float], None] = time.sleep
    seen: dict[str, list[Try]] = field(default_factory=dict)

    def meets(self, one: Contender, rate: float) -> bool:
        """Whether a block at this rate meets the objective.

        Raises:
            ServerGone: no request found the server, and it does not come back.
        """
        seen = self.seen.setdefault(one.label, [])
        block = self._once(one, rate, len(seen))
        if block.reached_nobody and not one.server.comes_back():
            raise ServerGone(f"{one.server.url} does not answer any more since {one.label} was tried at {rate:.0f}/s.")
        seen.append(judge(block, rate, self.limit_ms))
        self.sleep(_REST_S if seen[-1].met else _REST_AFTER_MISS_S)
        return seen[-1].met

    def _once(self, one: Contender, rate: float, number: int) -> Observed:
        lasts_s = float(np.clip(max(REQUESTS / rate, LIMITS * self.limit_ms / 1e3), LEAST_S, MOST_S))
        random = np.random.default_rng([self.seed, int(rate * 1000), number])
        planned = arrivals.poisson(arrivals.steady(rate, lasts_s), random)
        rows = random.integers(0, len(one.pool.requests), len(planned)).astype(np.int32)
        timeout_s = max(1.0, 10 * self.limit_ms / 1e3)
        sent = self.generator.send(Block(one.label, planned, rows, timeout_s, CONNECTIONS))
        return Observed(one.label, 0, sent, lasts_s, ServerSide())


def judge(block: Observed, rate: float, limit_ms: float) -> Try:
    """What a block at this rate shows."""
    latency_ms = np.where(block.good, block.sent.latency_s * 1e3, np.inf)
    p99_ms = float(np.percentile(latency_ms, 99, method="higher")) if len(latency_ms) else 0.0
    errors = float((~block.good).sum() / max(len(latency_ms), 1))
    lag_ms = lag_p99_ms([block])
    met = p99_ms <= limit_ms and errors <= MOST_ERRORS
    p50_ms = float(np.median(block.latency_ms)) if block.good.any() else float("nan")
    return Try(rate, met, p50_ms, p99_ms, errors, lag_ms)
