"""Turns statistics into Prometheus families at the moment of a scrape; between scrapes it costs nothing.

Knows where each number stands and under which name it goes out; how the text is written is `exposition`'s.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from prometheus_client import Metric
from prometheus_client.registry import Collector

from service.observe import names
from service.observe.exposition import number
from service.observe.histogram import Histogram
from service.observe.machine import Machine
from service.observe.names import Name
from service.observe.statistics import ModelStatistics, VersionStatistics

_NS_IN_S = 1e9
_NS_IN_US = 1000
_PART = 8  # versions of a family that are read at once

Number: TypeAlias = float | None
Versions: TypeAlias = Iterable[VersionStatistics]

_NUMBERS: tuple[tuple[Name, Callable[[VersionStatistics], Number]], ...] = (
    (names.REQUEST_SUCCESS, lambda s: s.success.count),
    (names.INFERENCE_COUNT, lambda s: s.rows),
    (names.EXEC_COUNT, lambda s: s.batches),
    (names.REQUEST_US, lambda s: s.success.ns // _NS_IN_US),
    (names.QUEUE_US, lambda s: s.queue.ns // _NS_IN_US),
    (names.INPUT_US, lambda s: s.compute.input_ns // _NS_IN_US),
    (names.INFER_US, lambda s: s.compute.infer_ns // _NS_IN_US),
    (names.OUTPUT_US, lambda s: s.compute.output_ns // _NS_IN_US),
    (names.PENDING, lambda s: s.pending()),
    (names.LOAD_S, lambda s: s.load_s),
    (names.RUN_FAILED, lambda s: s.runs_failed),
    (names.CRASHED, lambda s: s.crashes),
    (names.NON_FINITE, lambda s: s.non_finite),
    (names.CACHE_HITS, lambda s: s.cache_hit.count if s.caches else None),
    (names.CACHE_MISSES, lambda s: s.cache_miss.count if s.caches else None),
    (names.CACHE_HIT_US, lambda s: s.cache_hit.ns // _NS_IN_US if s.caches else None),
    (names.CACHE_MISS_US, lambda s: s.cache_miss.ns // _NS_IN_US if s.caches else None),
    (names.SEQUENCES_OPEN, lambda s: s.sequences.open() if s.sequences.open is not None else None),
    (names.SEQUENCES_STARTED, lambda s: s.sequences.known(s.sequences.started)),
    (names.SEQUENCES_ENDED, lambda s: s.sequences.known(s.sequences.ended)),
    (names.SEQUENCES_EXPIRED, lambda s: s.sequences.known(s.sequences.expired)),
    (names.REMOTE_RETRIES, lambda s: s.remote_retries),
    (names.PROCESS_BYTES, lambda s: s.processes.resident_bytes if s.processes is not None else None),
    (names.PROCESS_RESTARTS, lambda s: s.processes.restarts if s.processes is not None else None),
)
_BY_REASON: tuple[tuple[Name, Callable[[VersionStatistics], Mapping[str, int]]], ...] = (
    (names.REQUEST_FAILURE, lambda s: {reason: failure.count for reason, failure in s.failures.items()}),
    (names.BATCH_CLOSED, lambda s: s.close_reasons),
    (names.DROPPED, lambda s: s.drops),
    (names.REFUSED, lambda s: s.refusals),
)
_HISTOGRAMS: tuple[tuple[Name, Callable[[VersionStatistics], Histogram], float | None], ...] = (
    (names.REQUEST_S, lambda s: s.request_times, _NS_IN_S),
    (names.QUEUE_S, lambda s: s.queue_times, _NS_IN_S),
    (names.INPUT_S, lambda s: s.input_times, _NS_IN_S),
    (names.INFER_S, lambda s: s.infer_times, _NS_IN_S),
    (names.OUTPUT_S, lambda s: s.output_times, _NS_IN_S),
    (names.BATCH_ROWS, lambda s: s.batch_rows, None),
    (names.BATCH_REQUESTS, lambda s: s.batch_requests, None),
)


class StatisticsCollector(Collector):
    """The families of every version, every model, both transports and the machine.

    Args:
        versions: the statistics of every version known now.
        models: the statistics of every model known now.
        responses: HTTP status code -> answers sent.
        calls: gRPC code -> calls that ended so.
        machine: read once a scrape.
        keys: (holder of a key, what became of it) -> requests.
        certificate_left_s: until the certificate in use ends; None where there is none.
    """

    def __init__(
        self,
        versions: Callable[[], Versions],
        models: Callable[[], Iterable[ModelStatistics]],
        responses: Mapping[int, int],
        calls: Mapping[str, int],
        machine: Machine,
        keys: Mapping[tuple[str, str], int],
        certificate_left_s: Callable[[], float] | None = None,
    ) -> None:
        self._versions = versions
        self._models = models
        self._responses = responses
        self._calls = calls
        self._machine = machine
        self._keys = keys
        self._certificate_left_s = certificate_left_s

    def collect(self) -> Iterator[Metric]:
        """Every family, a long one in parts; each value is read when its part is asked for."""
        yield from _of_versions(list(self._versions()))
        yield from _of_models(list(self._models()))
        yield _family(names.RESPONSES, (({"code": str(c)}, n) for c, n in sorted(self._responses.items())))
        yield _family(names.CALLS, (({"code": c}, n) for c, n in sorted(self._calls.items())))
        keys = sorted(self._keys.items())
        yield _family(names.KEY_REQUESTS, (({"key": name, "outcome": outcome}, n) for (name, outcome), n in keys))
        left = self._certificate_left_s
        yield _family(names.CERTIFICATE_S, [] if left is None else [({}, left())])
        reading = self._machine.read()
        yield _family(names.CPU_UTILIZATION, [({}, reading.cpu_utilization)])
        yield _family(names.CPU_MEMORY_TOTAL, [({}, reading.memory_total_bytes)])
        yield _family(names.CPU_MEMORY_USED, [({}, reading.memory_used_bytes)])


def _of_versions(versions: list[VersionStatistics]) -> Iterator[Metric]:
    for name, figure in _NUMBERS:
        for some in _parts(versions):
            yield _family(name, [(_labels(version), figure(version)) for version in some])
    for name, counts in _BY_REASON:
        for some in _parts(versions):
            yield _family(
                name, (({**_labels(v), "reason": reason}, n) for v in some for reason, n in sorted(counts(v).items()))
            )
    for name, histogram, scale in _HISTOGRAMS:
        for some in _parts(versions):
            yield _histogram(name, scale, [(_labels(version), histogram(version)) for version in some])


def _parts(versions: list[VersionStatistics]) -> Iterator[list[VersionStatistics]]:
    return (versions[begin : begin + _PART] for begin in range(0, len(versions), _PART))


def _of_models(models: list[ModelStatistics]) -> Iterator[Metric]:
    yield _family(
        names.SWAPS, (({"model": m.model, "outcome": o}, n) for m in models for o, n in sorted(m.swaps.items()))
    )
    standings = Counter(model.standing for model in models)
    yield _family(names.MODELS, (({"state": standing}, standings[standing]) for standing in names.STANDINGS))
    yield _family(names.ACTIVE, (({"model": m.model, "version": m.active}, 1) for m in models if m.active is not None))


def _labels(version: VersionStatistics) -> dict[str, str]:
    return {"model": version.model, "version": version.version}


def _family(name: Name, samples: Iterable[tuple[dict[str, str], Number]]) -> Metric:
    family = Metric(name.text, name.help, name.kind)
    for labels, value in samples:
        if value is not None:
            family.add_sample(name.text, labels, value)
    return family


def _histogram(name: Name, scale: float | None, read: Iterable[tuple[dict[str, str], Histogram]]) -> Metric:
    """A family of histograms, their bounds and sums divided by `scale` where one is given."""
    family, limits = Metric(name.text, name.help, name.kind), dict[tuple[int, ...], list[str]]()
    for labels, histogram in read:
        bounds = histogram.bounds
        if bounds not in limits:
            limits[bounds] = [number(b if scale is None else b / scale) for b in (*bounds, math.inf)]
        cumulative = histogram.cumulative()
        for limit, count in zip(limits[bounds], cumulative, strict=True):
            family.add_sample(f"{name.text}_bucket", {**labels, "le": limit}, count)
        family.add_sample(f"{name.text}_count", labels, cumulative[-1])
        family.add_sample(f"{name.text}_sum", labels, histogram.total if scale is None else histogram.total / scale)
    return family
