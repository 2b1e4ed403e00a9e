"""The figures of one version over a run, each with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loadtests.measures.observed import Observed
from loadtests.measures.resampling import Figure, Rounds, figure

PERCENTS = (50.0, 90.0, 99.0, 99.9)
# A percentile needs that many requests beyond it to be worth a name.
LEAST_BEYOND = 5


@dataclass(frozen=True, slots=True)
class Summary:
    """One version.

    Attributes:
        version: its label.
        rounds: blocks that were kept.
        requests: sent in them.
        offered: planned requests a second.
        achieved: good answers a second.
        latency_ms: percent -> of the good answers; absent where there were too few.
        goodput: answers a second that were good and within the objective.
        in_time: share of all requests that were.
        effective_accuracy: share of all requests whose answer was in time and right; None without labels.
        errors: kind -> number.
        mean_batch: rows a run, by the server's count.
        queue_ms: mean wait, by the server.
        compute_ms: mean run, by the server.
        cpu_ms: CPU time of the server for each good answer.
        joules: of the package for each good answer.
        resident_bytes: largest that was seen.
        lag_p99_ms: of the generator.
    """

    version: str
    rounds: int
    requests: int
    offered: float
    achieved: Figure
    latency_ms: Mapping[float, Figure]
    goodput: Figure
    in_time: Figure
    effective_accuracy: Figure | None
    errors: Mapping[str, int]
    mean_batch: float | None
    queue_ms: float | None
    compute_ms: float | None
    cpu_ms: float | None
    joules: float | None
    resident_bytes: int | None
    lag_p99_ms: float


def summarise(version: str, blocks: Sequence[Observed], *, limit_ms: float | None, seed: int = 0) -> Summary:
    """The figures of a version's blocks, one a round; there is at least one."""
    n = len(blocks)
    lasts_s = np.array([block.lasts_s for block in blocks])
    good = np.array([block.good.sum() for block in blocks], float)
    timely = np.array([block.in_time(limit_ms).sum() for block in blocks], float)
    sent = np.array([len(block.good) for block in blocks], float)
    errors: Counter[str] = sum((block.errors() for block in blocks), Counter())
    right = np.array([block.right_in_time(limit_ms) for block in blocks]) * sent

    def per(part: np.ndarray, whole: np.ndarray) -> Figure:
        return figure(lambda at: float(part[at].sum() / max(whole[at].sum(), 1e-9)), n, seed=seed)

    answers = max(good.sum(), 1.0)
    return Summary(
        version=version,
        rounds=n,
        requests=int(sent.sum()),
        offered=float(sent.sum() / lasts_s.sum()),
        achieved=per(good, lasts_s),
        latency_ms=percentiles(blocks, seed=seed),
        goodput=per(timely, lasts_s),
        in_time=per(timely, sent),
        effective_accuracy=None if blocks[0].labels is None else per(right, sent),
        errors=dict(errors),
        mean_batch=_ratio(blocks, "rows", "executions"),
        queue_ms=_weighted(blocks, "queue_ms"),
        compute_ms=_weighted(blocks, "compute_ms"),
        cpu_ms=_spent(blocks, "cpu_s", answers / 1e3),
        joules=_spent(blocks, "joules", answers),
        resident_bytes=max((b.server.resident_bytes for b in blocks if b.server.resident_bytes), default=None),
        lag_p99_ms=lag_p99_ms(blocks),
    )


def percentiles(blocks: Sequence[Observed], *, seed: int = 0) -> dict[float, Figure]:
    """Percent -> milliseconds, of those percents for which there are enough answers."""
    total = sum(len(block.latency_ms) for block in blocks)
    enough = [percent for percent in PERCENTS if total * (100 - percent) / 100 >= LEAST_BEYOND]
    return {percent: figure(percentile_of(blocks, percent), len(blocks), seed=seed) for percent in enough}


def percentile_of(blocks: Sequence[Observed], percent: float):  # type: ignore[no-untyped-def]
    """A statistic of rounds: this percentile of all their good answers together, NaN where there is none."""

    def statistic(rounds: Rounds) -> float:
        pooled = np.concatenate([blocks[at].latency_ms for at in rounds])
        return float(np.percentile(pooled, percent)) if len(pooled) else float("nan")

    return statistic


def lag_p99_ms(blocks: Sequence[Observed]) -> float:
    """How late the generator was, over all requests that it wrote."""
    lags = np.concatenate([block.sent.lag_s for block in blocks])
    lags = lags[np.isfinite(lags)]
    return float(np.percentile(lags, 99) * 1e3) if len(lags) else 0.0


def _ratio(blocks: Sequence[Observed], part: str, whole: str) -> float | None:
    pairs = [(getattr(block.server, part), getattr(block.server, whole)) for block in blocks]
    if any(one is None or other is None for one, other in pairs):
        return None
    total = sum(other for _, other in pairs)
    return sum(one for one, _ in pairs) / total if total else None


def _weighted(blocks: Sequence[Observed], name: str) -> float | None:
    pairs = [(getattr(block.server, name), block.server.requests) for block in blocks]
    if any(value is None or requests is None for value, requests in pairs):
        return None
    total = sum(requests for _, requests in pairs)
    return sum(value * requests for value, requests in pairs) / total if total else None


def _spent(blocks: Sequence[Observed], name: str, answers: float) -> float | None:
    values = [getattr(block.server, name) for block in blocks]
    return None if any(value is None for value in values) else float(sum(values) / answers)
