"""Triton's load generator, unchanged, against a running server: it measures, and prints the server's own split.

Run by `make perf-analyzer`, or with PERF_ANALYZER naming the binary.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.perf_analyzer import Failed, Level, measure
from tests.support.process import ServerProcess
from tests.wire.digits import INPUT, ROWS

BINARY = os.environ.get("PERF_ANALYZER", "")
pytestmark = pytest.mark.skipif(
    not BINARY, reason="PERF_ANALYZER names no perf_analyzer; make perf-analyzer fetches one"
)


def check(level: Level, rows_a_request: int = 1) -> None:
    assert level.requests > 0
    # What is under way at the edges of a window is counted by one side only: its runs, or its requests, or its rows.
    assert level.successes == pytest.approx(level.requests, rel=0.05, abs=8)
    assert level.rows == pytest.approx(level.successes * rows_a_request, rel=0.05, abs=8 * rows_a_request)
    assert 0 < level.runs <= level.successes + 8
    assert level.queue_us > 0
    assert level.infer_us > 0
    parts = level.overhead_us + level.queue_us + level.input_us + level.infer_us + level.output_us
    assert level.server_us == pytest.approx(parts, abs=5)  # each is cut to whole microseconds
    assert level.server_us < level.latency_us


def run(server: ServerProcess, *arguments: str, protocol: str = "http") -> list[Level]:
    address = server.grpc if protocol == "grpc" else f"127.0.0.1:{server.port}"
    return measure(BINARY, "digits", address, *arguments, protocol=protocol)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_levels_of_concurrency(server: ServerProcess, protocol: str) -> None:
    levels = run(server, "--concurrency-range", "1:4:3", protocol=protocol)
    assert len(levels) == 2
    for level in levels:
        check(level)


def test_asynchronous_requests_share_batches(server: ServerProcess) -> None:
    [level] = run(server, "--async", "--concurrency-range", "8")
    check(level)
    assert level.runs < level.successes


@pytest.mark.parametrize(("batch", "form"), [(8, "binary"), (1, "json")])
def test_batches_and_forms_of_tensors(server: ServerProcess, batch: int, form: str) -> None:
    arguments = ["-b", str(batch), f"--input-tensor-format={form}", f"--output-tensor-format={form}"]
    [level] = run(server, *arguments)
    check(level, batch)


def test_streams(server: ServerProcess) -> None:
    [level] = run(server, "--streaming", "--async", "--concurrency-range", "4", protocol="grpc")
    check(level)


def test_a_rate_of_requests(server: ServerProcess) -> None:
    [level] = run(server, "--request-rate-range", "200", "--request-distribution", "poisson")
    check(level)


def test_data_of_ones_own(server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    rows = [{INPUT: {"content": row.reshape(-1).tolist(), "shape": list(row.shape)}} for row in ROWS[:3]]
    file.write_text(json.dumps({"data": rows}))
    [level] = run(server, "--input-data", str(file))
    check(level)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="/dev/shm cannot be written here")
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_shared_memory(sharing: ServerProcess, protocol: str) -> None:
    arguments = ["-b", "4", "--shared-memory", "system", "--output-shared-memory-size", "4096"]
    [level] = run(sharing, *arguments, protocol=protocol)
    check(level, 4)
    assert sharing.http.get("/v2/systemsharedmemory/status").json() == []


def test_a_run_that_fails_is_no_measurement(server: ServerProcess) -> None:
    with pytest.raises(Failed, match="there is no model 'none' here"):
        measure(BINARY, "none", f"127.0.0.1:{server.port}")
