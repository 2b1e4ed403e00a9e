"""Times the ways of running a network by turns, once each has shown that it answers what the CPU does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from service.runtime.providers import Provider
from tests.bench.gpu.networks import Network
from tests.bench.gpu.sessions import DEVICES, session_of
from tests.bench.gpu.ways import WAYS, Feed, Way

_WARM_UPS = 10


class Timed(NamedTuple):
    """One way of one network at one size of batch.

    Attributes:
        network, precision, provider, way, rows: which.
        p50_ms, p99_ms: of a run, from arrays in the host's memory to arrays there; the median of the rounds.
        off: how far its answers lie from the CPU's, as a share of the largest.
        refused: why there is nothing to tell, "" where there is.
    """

    network: str
    precision: str
    provider: str
    way: str
    rows: int
    p50_ms: float = float("nan")
    p99_ms: float = float("nan")
    off: float = float("nan")
    refused: str = ""

    @property
    def rows_per_s(self) -> float:
        """Rows a second, one run behind the other."""
        return self.rows / self.p50_ms * 1e3


def measure(
    network: Network, provider: Provider, rows: int, *, engines: Path | None, rounds: int, seconds: float
) -> list[Timed]:
    """Every way at one size, `seconds` of each in each round."""
    feed = {name: array[:rows] for name, array in network.rows.items()}
    expected = session_of(network.onnx, "cpu", rows).run(None, feed)
    found: dict[str, Timed] = {}
    ready: dict[str, Way] = {}
    for name in WAYS:
        blank = Timed(network.name, network.precision, provider, name, rows)
        try:
            ready[name], off = _checked(network, provider, name, feed, expected, engines)
            found[name] = blank._replace(off=off)
        except Exception as error:  # of ONNX Runtime, CUDA or this network: the others are measured all the same
            found[name] = blank._replace(refused=f"{type(error).__name__}: {str(error).splitlines()[0]}")
    looks: dict[str, list[tuple[float, float]]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, way in ready.items():
            looks[name].append(_timed_ms(way, feed, seconds))
    for name, seen in looks.items():
        p50_ms, p99_ms = map(median, zip(*seen, strict=True))
        found[name] = found[name]._replace(p50_ms=p50_ms, p99_ms=p99_ms)
    for way in ready.values():
        way.close()
    return list(found.values())


def _checked(
    network: Network, provider: Provider, name: str, feed: Feed, expected: Sequence[Any], engines: Path | None
) -> tuple[Way, float]:
    """The way, and how far off it is. Raises ValueError where that is too far."""
    most = len(next(iter(feed.values())))
    session = session_of(network.onnx, provider, most, engines, recorded=name == "recorded")
    way = WAYS[name](session, feed, DEVICES[provider])
    other = {given: array[::-1].copy() for given, array in feed.items()}
    way.run(other)  # a replay that forgot to take its input would answer this
    off = max(_off(answer, of_cpu) for answer, of_cpu in zip(way.run(feed), expected, strict=True))
    if not off <= network.tolerance:
        way.close()
        raise ValueError(f"its answers lie {off:.2g} of the largest beside the CPU's, expected {network.tolerance}")
    return way, off


def _off(answer: Any, expected: Any) -> float:
    return float(np.abs(answer.astype(np.float64) - expected).max() / np.abs(expected).max())


def _timed_ms(way: Way, feed: Feed, seconds: float) -> tuple[float, float]:
    """p50 and p99 of runs for so long."""
    for _ in range(_WARM_UPS):
        way.run(feed)
    took: list[float] = []
    began_s = ended_s = time.perf_counter()
    while ended_s - began_s < seconds:
        way.run(feed)
        before_s, ended_s = ended_s, time.perf_counter()
        took.append(ended_s - before_s)
    p50_s, p99_s = np.percentile(took, [50, 99])
    return float(p50_s) * 1e3, float(p99_s) * 1e3
