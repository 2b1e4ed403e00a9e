"""The servers of the candidates under traffic: a score for a candidate in a round, and the time that is left.

All candidates of a round meet the same arrivals and rows. It knows no search, and keeps to the end that it is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from loadtests.arrivals import duration_s
from loadtests.generator.block import Block
from loadtests.generator.process import Generator
from loadtests.measures.observed import Observed, ServerSide
from loadtests.pools import Pool, infer_path, requests_of
from loadtests.rows import rows_for, with_reference
from loadtests.server import CannotLoad, Server
from loadtests.tune.found import Found
from loadtests.tune.halving import Race
from loadtests.tune.model_yaml import edited, only
from loadtests.tune.objective import PROBE, Objective, objective_for
from loadtests.tune.order import Order
from loadtests.tune.servers import Servers
from loadtests.tune.settings import PRESENT, Settings

BLOCK_S = 1.0
REST_S = 0.1
STARTED_S = 1.0  # what starting a server takes at least: no more candidates enter a stage than there is time for
ROWS = 128
PROBES = 2
# Blocks that go beyond what is carried leave requests behind; nobody waits for these longer than so many objectives.
TIMEOUT_LIMITS, LEAST_TIMEOUT_S = 4, 0.5


class Bench:
    """The servers of the candidates under traffic: gives the score of a candidate in a round."""

    def __init__(
        self, order: Order, servers: Servers, generator: Generator, found: Found, tell: Callable[[str], None]
    ) -> None:
        self.order, self.tell = order, tell
        self._began_s = time.monotonic()
        self.must_leave(0)
        self.step_s = BLOCK_S + REST_S
        self.start_s = STARTED_S
        self._servers, self._generator, self._found = servers, generator, found
        self._urls: dict[Settings, str] = {}
        self._pools: dict[Settings, Pool] = {}
        self._lags: list[float] = []
        self._timeout_s = max(LEAST_TIMEOUT_S, TIMEOUT_LIMITS * order.limit_ms / 1e3)
        random = np.random.default_rng(order.seed)
        self.race: Race[Settings] = Race(PRESENT, self.measure, random, self._may_go_on, self._tell_round)

    def must_leave(self, kept_s: float) -> None:
        """Whatever follows must end so many seconds before the budget does."""
        self._ends_s = self._began_s + self.order.budget_s - kept_s

    @property
    def left_s(self) -> float:
        """Until what goes on must end."""
        return self._ends_s - time.monotonic()

    def start(self, candidates: Sequence[Settings]) -> list[Settings]:
        """Starts a server for each; those that run. One that does not start is noted, unless it is the present one."""
        for at, one in enumerate(candidates):
            if one in self._urls:
                continue
            if one != PRESENT and self.left_s < self.start_s + (at + 2) * 2 * self.step_s:
                self.leave_out(candidates[at:])  # starting took longer than foreseen: rather measure what runs
                break
            began_s = time.monotonic()
            try:
                self._urls[one] = self._servers.start(self._yaml(one))
                self.start_s = max(self.start_s, time.monotonic() - began_s)
                self._pools[one] = self._pool(self._urls[one])
            except CannotLoad as error:
                if one == PRESENT:
                    raise
                self._found.failed[one] = str(error)
                continue
            self._generator.prepare({str(one): self._pools[one]})
            self.tell(f"started: {one}")
        return [one for one in candidates if one in self._pools]

    def leave_out(self, candidates: Sequence[Settings]) -> None:
        """Notes those for which there is no time."""
        self._found.left_out += len(candidates)
        if candidates:
            self.tell(f"no time for {len(candidates)} of the settings: raise --budget")

    def keep(self, candidates: Sequence[Settings]) -> None:
        """Ends the servers of all others."""
        for one in [one for one in self._urls if one not in candidates]:
            self._servers.end(self._urls.pop(one))
            self._pools.pop(one, None)

    def choose_objective(self) -> None:
        """Makes the objective; what it needs to know of the present configuration is measured, roughly."""
        order = self.order
        if order.rate is not None:
            self._found.objective = objective_for(
                order.objective, carried=order.rate, rate=order.rate, limit_ms=order.limit_ms, block_s=BLOCK_S
            )
            return
        probe = PROBE(self.order.limit_ms)
        seen = [self._block(PRESENT, probe, number) for number in range(PROBES)]
        carried = max(probe.score(one) for one in seen)
        if not carried:
            raise CannotLoad(f"the present configuration answers no request within {self.order.limit_ms:g} ms.")
        self.tell(f"the present configuration carries about {carried:.0f} requests/s within {self.order.limit_ms:g} ms")
        self._found.objective = objective_for(
            order.objective, carried=carried, rate=None, limit_ms=order.limit_ms, block_s=BLOCK_S
        )

    def measure(self, one: Settings, number: int) -> float:
        """Score of one block."""
        assert self._found.objective is not None  # noqa: S101
        began_s = time.monotonic()
        seen = self._block(one, self._found.objective, number)
        score = max(self._found.objective.score(seen), self._found.objective.least)
        # Later on a load beyond what is carried waits for connections, and not for the generator.
        lag_ms = seen.sent.lag_s[seen.sent.planned_s < BLOCK_S / 2] * 1e3
        self._lags.extend(lag_ms[np.isfinite(lag_ms)].tolist())
        time.sleep(REST_S)
        self.step_s = max(self.step_s, 0.7 * self.step_s + 0.3 * (time.monotonic() - began_s))
        return score

    def note(self) -> None:
        """Writes down what was measured so far."""
        self._found.tried = {
            one: (float(np.exp(np.log(ratios).mean())), len(ratios)) for one, ratios in self.race.ratios.items()
        }
        self._found.lag_p99_ms = float(np.percentile(self._lags, 99)) if self._lags else 0.0

    def _block(self, one: Settings, objective: Objective, number: int) -> Observed:
        random = np.random.default_rng((self.order.seed, number))  # the same traffic for all in a round
        planned = objective.draw(random)
        pool = self._pools[one]
        rows = random.integers(0, len(pool.requests), len(planned)).astype(np.int32)
        sent = self._generator.send(Block(str(one), planned, rows, self._timeout_s))
        return Observed(str(one), number, sent, duration_s(objective.profile), ServerSide())

    def _pool(self, url: str) -> Pool:
        order, server = self.order, Server(url)
        try:
            signature = server.signature(order.model, order.version)
            if self._pools:
                rows = self._pools[PRESENT].rows
            else:
                rows = rows_for(order.model, server.metadata(order.model, order.version), order.data, seed=order.seed)
                rows = rows.take(ROWS, np.random.default_rng(order.seed))
                rows = with_reference(rows, server, order.model, order.version, signature)
        finally:
            server.close()
        host, port = server.address
        path = infer_path(order.model, order.version)
        ready = requests_of(rows, signature, host=f"{host}:{port}", path=path, encoding="binary")
        return Pool(server.address, ready, rows, signature, next(iter(signature.outputs)), order.version)

    def _yaml(self, one: Settings) -> str:
        text = edited(self.order.yaml(), one)
        return only(text, self.order.version) if self.order.version else text

    def _may_go_on(self, blocks: int) -> bool:
        return self.left_s > blocks * self.step_s

    def _tell_round(self, scores: dict[Settings, float]) -> None:
        leader = max(scores, key=lambda one: scores[one])
        self.tell(f"round {self.race.rounds}: {len(scores)} settings, ahead: {leader}")
