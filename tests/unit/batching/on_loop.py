"""A batcher whose runs are quick, and its engine, which notes where each was done."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from service.batching.batcher import Batcher
from service.batching.contract import BatchConfig
from service.batching.curve import CostCurve
from service.batching.seams import USUAL, BatcherSeams
from service.core.clock import MonotonicClock
from service.core.contract import Arrays
from service.core.errors import RunFailed
from service.observe.statistics import VersionStatistics


class Where:
    """Doubles x, and notes on which thread."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.rows: list[int] = []
        self.fails = False

    def run(self, arrays: Arrays) -> dict[str, Any]:
        self.threads.add(threading.get_ident())
        self.rows.append(len(arrays["x"]))
        if self.fails:
            raise RunFailed("planted")
        return {"y": arrays["x"] * 2}

    def stop(self) -> None:
        raise AssertionError("nothing here takes long")


def started(
    engine: Where,
    inline_limit_s: float,
    max_delay_s: float = 0.0,
    seams: BatcherSeams = USUAL,
    *,
    shapes_vary: bool = False,
) -> Batcher:
    """Of at most four rows a run."""
    curve = CostCurve(4)
    curve.observe(1, 1e-6)
    curve.observe(4, 2e-6)
    batcher = Batcher(
        [engine],
        BatchConfig(4, inline_limit_s=inline_limit_s, max_delay_s=max_delay_s, shapes_vary=shapes_vary),
        curve,
        clock=MonotonicClock(),
        observer=VersionStatistics("m", "1"),
        replace=None,
        on_fatal=pytest.fail,
        run_timeout_s=5,
        seams=seams,
    )
    batcher.start()
    return batcher
