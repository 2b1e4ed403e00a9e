"""Blocks of traffic made up for tests: latencies in milliseconds, one request a value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadtests.generator.block import OK, RIGHT, Sent
from loadtests.measures.observed import Observed, ServerSide


def block(
    latency_ms: Sequence[float] | np.ndarray,
    *,
    version: str = "1",
    number: int = 0,
    status: Sequence[int] | None = None,
    checked: int = RIGHT,
    lag_ms: float = 0.0,
    lasts_s: float = 1.0,
    classes: Sequence[int] | None = None,
    labels: np.ndarray | None = None,
) -> Observed:
    """A block; requests are planned evenly, rows are 0, 1, 2, ..."""
    latency_s = np.asarray(latency_ms, float) / 1e3
    count = len(latency_s)
    planned = np.arange(count) * lasts_s / max(count, 1)
    sent = Sent(
        began_s=100.0 + number,
        planned_s=planned,
        sent_s=planned + lag_ms / 1e3,
        done_s=planned + latency_s,
        status=np.full(count, OK, np.int16) if status is None else np.array(status, np.int16),
        rows=np.arange(count, dtype=np.int32),
        checked=np.full(count, checked, np.int8),
        classes=np.full(count, -1, np.int32) if classes is None else np.array(classes, np.int32),
    )
    return Observed(version, number, sent, lasts_s, ServerSide(), labels)
