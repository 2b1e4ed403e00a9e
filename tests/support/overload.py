"""A server that is asked for more than it can: one core for it, another for an open-loop generator, one slow model.

Health checks travel among the inferences over HTTP, on the generator's own clock: a client beside it measures its wait
for the generator's core too, as it does beside inferences over gRPC. Figures are those of one block; whoever asks
judges them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from loadtests import arrivals
from loadtests.generator.block import GRPC, OK, Block, Sent
from loadtests.generator.process import Generator
from loadtests.grpc_messages import messages_of
from loadtests.pools import Pool, Protocol, Rows, Signature
from tests.support.probing import PROBES_PER_S, Prober
from tests.support.process import ServerProcess
from tests.unit.runtime import graphs

MODEL = "burner"
LAG_LIMIT_S = 0.005
FOREIGN_LIMIT = 0.05
PROBES = ("/v2/health/live", "/v2/health/ready", "/metrics")
REFUSALS = (503, GRPC + 14)
ROW = [0.1, 0.2, 0.3, 0.4]
INFER_JSON = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]}).encode()
_SIGNATURE = Signature({"x": "FP32"}, {"y": "FP32"})


def write_repository(folder: Path, *, links: int = 40, **queueing: int) -> Path:
    """A repository whose one model burns a core for some milliseconds a row, with these knobs of its queue."""
    version = folder / MODEL / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(graphs.burner(links))
    knobs = {"max_batch_size": 4, "threads": 1, "dynamic_batching": queueing}
    (folder / MODEL / "model.yaml").write_text(json.dumps(knobs))
    return folder


@dataclass(frozen=True)
class Figures:
    """What one block showed; latencies in seconds from the planned send time.

    Attributes:
        rate: requests planned per second.
        lasts_s: of the block.
        answered: latency of each good answer.
        refused: of each refusal.
        others: statuses that were neither.
        probes: latency of each health check.
        lag_s: of the generator, at p99.
        ends_s: when each good answer was there, from the block's begin.
        waited_ms: mean wait in the server's queue of those that were answered.
        foreign: share of the server's core that others took.
        counted: answers and refusals by the server's own counters.
    """

    rate: float
    lasts_s: float
    answered: np.ndarray[Any, Any]
    refused: np.ndarray[Any, Any]
    others: Sequence[int]
    probes: np.ndarray[Any, Any]
    lag_s: float
    ends_s: np.ndarray[Any, Any]
    waited_ms: float
    foreign: float
    counted: tuple[int, int]

    @property
    def goodput(self) -> float:
        """Good answers per second."""
        return len(self.answered) / self.lasts_s

    @property
    def valid(self) -> bool:
        """Whether the generator kept its own times, and the server had its core to itself."""
        return self.lag_s <= LAG_LIMIT_S and self.foreign <= FOREIGN_LIMIT

    def __str__(self) -> str:
        def told(values: np.ndarray[Any, Any]) -> str:
            return f"{p(values, 50) * 1e3:.1f}/{p(values, 99) * 1e3:.1f}" if len(values) else "-"

        return (
            f"{self.rate:.0f}/s offered, {self.goodput:.1f}/s answered; p50/p99 ms: answers {told(self.answered)}, "
            f"refusals {told(self.refused)} ({len(self.refused)}), probes {told(self.probes)}; "
            f"waited {self.waited_ms:.1f} ms; lag {self.lag_s * 1e3:.2f} ms; foreign {self.foreign:.0%}; "
            f"others {sorted(set(self.others))}"
        )


def p(values: np.ndarray[Any, Any], percent: float) -> float:
    """A percentile, `inf` of nothing."""
    return float(np.percentile(values, percent, method="higher")) if len(values) else float("inf")


class Traffic:
    """Sends blocks to one server.

    Args:
        server: with the model of `write_repository`.
        generator: prepared here.
        protocol: of the inferences.
    """

    def __init__(self, server: ServerProcess, generator: Generator, protocol: Protocol = "http") -> None:
        self._server = server
        self._generator = generator
        self._protocol = protocol
        rows = Rows({"x": np.array([ROW], np.float32)})
        if protocol == "grpc":
            requests: tuple[bytes, ...] = messages_of(rows, _SIGNATURE, model=MODEL, version="")
            address = ("127.0.0.1", int(server.grpc.rpartition(":")[2]))
        else:
            requests = (_infer(), *(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in PROBES))
            address = ("127.0.0.1", server.port)
        generator.prepare({protocol: Pool(address, requests, rows, _SIGNATURE, "y", "", protocol=protocol)})

    def send(self, profile: arrivals.Profile, *, seed: int = 0, answer_within_s: float = 5.0) -> Figures:
        """One block of Poisson arrivals, with health checks among them over HTTP, or beside them over both transports.

        Args:
            profile: seconds and rates.
            seed: of the arrivals.
            answer_within_s: after the last of them; what is not answered then counts as lost.
        """
        random = np.random.default_rng(seed)
        planned_s = arrivals.poisson(profile, random)
        kinds = np.zeros(len(planned_s), np.int32)
        lasts_s = sum(stretch.duration_s for stretch in profile)
        if self._protocol == "http":
            probes_s = np.arange(0.01, lasts_s, 1 / PROBES_PER_S)
            kinds = np.concatenate([kinds, 1 + np.arange(len(probes_s), dtype=np.int32) % len(PROBES)])
            order = np.argsort(np.concatenate([planned_s, probes_s]), kind="stable")
            planned_s, kinds = np.concatenate([planned_s, probes_s])[order], kinds[order]
        block = Block(self._protocol, planned_s, kinds, answer_within_s, 64)
        before = self._look()
        if self._protocol == "http":
            return _figures(self._generator.send(block), lasts_s, before, self._look())
        with Prober(self._server) as prober:
            sent = self._generator.send(block)
        return replace(_figures(sent, lasts_s, before, self._look()), probes=prober.latencies_s)

    def _look(self) -> _Look:
        lines = self._server.http.get("/metrics").text.splitlines()
        found = {line.partition("{")[0]: line.rpartition(" ")[2] for line in lines}
        core = min(os.sched_getaffinity(self._server.process.pid))
        [user, nice, system, *_] = next(
            line.split()[1:] for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} ")
        )
        return _Look(
            waited_us=float(found["nv_inference_queue_duration_us"]),
            answered=float(found["nv_inference_request_success"]),
            refused=sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("retort_refused{")),
            cpu_s=sum(psutil.Process(self._server.process.pid).cpu_times()[:2]),
            core_s=(int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK"),
            now_s=time.monotonic(),
        )


class _Look(NamedTuple):
    """The server's counters and its core's."""

    waited_us: float
    answered: float
    refused: float
    cpu_s: float
    core_s: float
    now_s: float


def _figures(sent: Sent, lasts_s: float, before: _Look, after: _Look) -> Figures:
    took = _Look(*np.subtract(after, before))
    infer, status, latency_s = sent.rows == 0, sent.status, sent.latency_s
    good, refused = infer & (status == OK), infer & np.isin(status, REFUSALS)
    return Figures(
        rate=float(infer.sum() / lasts_s),
        lasts_s=lasts_s,
        answered=latency_s[good],
        refused=latency_s[refused],
        others=[int(one) for one in status[infer & ~good & ~refused]],
        probes=np.where(np.isnan(latency_s), np.inf, latency_s)[~infer],
        lag_s=float(np.percentile(np.nan_to_num(sent.sent_s - sent.planned_s), 99)),
        ends_s=sent.done_s[good],
        waited_ms=took.waited_us / 1e3 / max(1.0, took.answered),
        counted=(int(took.answered), int(took.refused)),
        foreign=max(0.0, took.core_s - took.cpu_s) / took.now_s,
    )


def _infer() -> bytes:
    head = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(INFER_JSON)}\r\n\r\n".encode() + INFER_JSON
