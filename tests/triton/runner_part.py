"""A Retort whose models the real Triton runs: equal answers, and readiness that follows the remote."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.support.process import ServerProcess
from tests.triton.http_part import TEXTS, close, infer
from tests.triton.report import Report
from tests.triton.repositories import write_remote
from tests.triton.server import TritonServer

OFF_WITHIN_S, ON_WITHIN_S = 2.5, 3.0  # a probe ticks every 0.5 s, and a test asks every 0.05 s
LATE_WITHIN_S = 8.0
CALLS = 200


def compare_runner(report: Report, remote: TritonServer, folder: Path, rows: Any) -> None:
    """Runs a Retort over `remote`, kills and revives the remote under it, and notes what it saw."""
    repository = write_remote(folder / "remote", f"127.0.0.1:{remote.grpc_port}")
    with ServerProcess(["--repository", str(repository)], folder) as retort:
        for model, name, array, output in (("digits", "image", rows, "logits"), ("text", "x", TEXTS, "y")):
            answers = [infer(url, model, name, array, output, binary=True) for url in (remote.url, retort.url)]
            report.holds(f"remote runner: answers of {model}", close(*answers), f"{len(array)} rows")
        for url, what in ((remote.url, "Triton itself"), (retort.url, "Retort before Triton")):
            report.holds(f"median of one row, {what}", True, f"{median_ms(url, rows[:1]):.2f} ms")
        remote.kill()
        off_s = seconds_until(lambda: not is_ready(retort.url))
        report.holds("remote killed: not ready", off_s < OFF_WITHIN_S, f"after {off_s:.2f} s")
        status = _status(retort.url, rows[:1])
        report.holds("remote killed: a request is 503 with Retry-After", status == (503, True), str(status))
        remote.start()
        on_s = seconds_until(lambda: is_ready(retort.url))
        report.holds("remote back: ready", on_s < ON_WITHIN_S, f"after {on_s:.2f} s")
        remote.pause()
        off_s = seconds_until(lambda: not is_ready(retort.url))
        report.holds("remote hangs: not ready", off_s < OFF_WITHIN_S, f"after {off_s:.2f} s")
        remote.go_on()
        on_s = seconds_until(lambda: is_ready(retort.url))
        report.holds("remote goes on: ready", on_s < ON_WITHIN_S, f"after {on_s:.2f} s")
    compare_late_start(report, remote, folder, repository, rows)


def compare_late_start(report: Report, remote: TritonServer, folder: Path, repository: Path, rows: Any) -> None:
    """Starts a Retort while the remote is away."""
    remote.kill()
    began_s = time.monotonic()
    with ServerProcess(["--repository", str(repository)], folder) as retort:
        report.holds("started without its remote", not is_ready(retort.url), f"{time.monotonic() - began_s:.2f} s")
        remote.start()
        on_s = seconds_until(lambda: is_ready(retort.url, "/v2/models/digits/ready"))
        report.holds("remote there: loaded by itself", on_s < LATE_WITHIN_S, f"after {on_s:.2f} s")
        answers = [infer(url, "digits", "image", rows, "logits", binary=True) for url in (remote.url, retort.url)]
        report.holds("remote runner: answers of digits, loaded late", close(*answers), f"{len(rows)} rows")


def is_ready(url: str, path: str = "/v2/health/ready") -> bool:
    """What the server says of itself, or of a model."""
    return httpx.get(url + path).status_code == httpx.codes.OK


def seconds_until(holds: Callable[[], bool], within_s: float = 30.0) -> float:
    """How long it takes until `holds()`; `within_s` where it does not."""
    began_s = time.monotonic()
    while not holds() and time.monotonic() - began_s < within_s:
        time.sleep(0.05)
    return time.monotonic() - began_s


def median_ms(url: str, row: Any) -> float:
    """Of requests one after the other."""
    taken: list[float] = []
    for _ in range(CALLS):
        began_s = time.perf_counter()
        infer(url, "digits", "image", row, "logits", binary=True)
        taken.append((time.perf_counter() - began_s) * 1e3)
    return statistics.median(taken)


def _status(url: str, row: Any) -> tuple[int, bool]:
    tensor = {"name": "image", "shape": list(row.shape), "datatype": "FP32", "data": row.ravel().tolist()}
    answer = httpx.post(f"{url}/v2/models/digits/infer", json={"inputs": [tensor]})
    return answer.status_code, "Retry-After" in answer.headers
