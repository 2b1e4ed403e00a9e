"""Traced requests as Triton writes them to its trace file, for the tools that read it.

The file's name is the operator's, and what is kept and written is bounded: so many traces in memory, so many files,
so many threads that write. Times are monotonic nanoseconds, as Triton's are.
Source: Triton's user guide, "Trace"; what its `trace_summary.py` reads.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from service.observe import logs
from service.observe.tracing import Arrival, TracedRun

PENDING_LIMIT = 10_000
FILES_LIMIT = 100
WRITERS_LIMIT = 8  # threads at once: where a disk hangs, traces wait and are left out

_NS = 1_000_000_000
_NAME_LIMIT = 255
_COMPLETE = "REQUEST_END"
_log = logs.logger(__name__)


class TraceFile:
    """The traces that are not written yet: `observe.tracing.Follow`.

    Args:
        path: of the file; with a frequency, its name is `path.0`, `path.1` and so on, after 100 of them from 0 again.
        frequency: model -> after how many traces a file is written, 0 for none before the end.
        now_ns: monotonic nanoseconds.
    """

    def __init__(
        self, path: Path, frequency: Callable[[str], int], now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._path = path
        self._frequency = frequency
        self._now_ns = now_ns
        self._last_id = 0
        self._files = 0
        self._left_out = 0
        self._pending: list[FileTrace] = []
        self._writing: list[threading.Thread] = []

    def __call__(self, arrival: Arrival) -> FileTrace:
        """Begins the trace of a request."""
        self._last_id += 1
        return FileTrace(self._last_id, arrival, self._now_ns, self._add)

    def close(self, timeout_s: float) -> None:
        """Writes what is left, for at most so long. Blocks."""
        end_s = time.monotonic() + timeout_s
        if self._pending:
            self._write(self._path)
        for thread in self._writing:
            thread.join(max(0.0, end_s - time.monotonic()))
        if self._left_out:
            _log.warning("traces left out of the trace file: set log_frequency", traces=self._left_out)

    def _add(self, trace: FileTrace) -> None:
        if len(self._pending) >= PENDING_LIMIT:
            self._left_out += 1
            return
        self._pending.append(trace)
        if 0 < self._frequency(trace.model) <= len(self._pending):
            self._writing = [thread for thread in self._writing if thread.is_alive()]
            path = self._path.with_name(f"{self._path.name}.{self._files % FILES_LIMIT}")
            if len(self._writing) < WRITERS_LIMIT and self._write(path):
                self._files += 1

    def _write(self, path: Path) -> bool:
        """Writes what is pending, on a thread; False where none is to be had, and then it stays pending."""
        thread = threading.Thread(target=_write, args=(path, self._pending), name="trace-file", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._pending = []
        self._writing.append(thread)
        return True


class FileTrace:
    """One request: `observe.tracing.RequestTrace`."""

    __slots__ = ("_arrival", "_done", "_now_ns", "id", "model", "times", "version")

    def __init__(
        self, number: int, arrival: Arrival, now_ns: Callable[[], int], done: Callable[[FileTrace], None]
    ) -> None:
        self.id = number
        self.model = arrival.model[:_NAME_LIMIT]
        self.version = ""
        self.times: dict[str, int] = {"REQUEST_START": now_ns()}
        self._arrival = arrival
        self._now_ns = now_ns
        self._done = done

    @property
    def headers(self) -> Mapping[str, str]:
        """Nothing: Triton's file knows no trace context."""
        return {}

    def asked(self, model: str, version: str, rows: int) -> None:
        """The request goes to this version, now."""
        self.model, self.version = model, version
        self.times["QUEUE_START"] = self._now_ns()

    def ran(self, run: TracedRun) -> None:
        """Notes the times of a run in every trace in it; a request in parts has those of the last one.

        But not in one that is complete, as of a client that left meanwhile: a thread may be writing it.
        """
        start_ns, end_ns, report = int(run.started_s * _NS), int(run.ended_s * _NS), run.report
        times = {"COMPUTE_START": start_ns}
        if run.error is None:
            times["COMPUTE_INPUT_END"] = start_ns + report.input_ns
            times["COMPUTE_OUTPUT_START"] = start_ns + report.input_ns + report.infer_ns
        times["COMPUTE_END"] = end_ns
        for trace, _ in run.traces:
            if isinstance(trace, FileTrace) and _COMPLETE not in trace.times:
                trace.times.update(times)

    def failed(self, error: BaseException) -> None:
        """Nothing: Triton's file has times alone."""

    def end(self, attributes: Mapping[str, str | int], *, ok: bool) -> None:
        """The trace is complete."""
        self.times[_COMPLETE] = self._now_ns()
        self._done(self)

    def entries(self) -> list[dict[str, Any]]:
        """The two objects that Triton writes for a request."""
        version: int | str = int(self.version) if self.version.isascii() and self.version.isdigit() else self.version
        head = {"id": self.id, "model_name": self.model, "model_version": version}
        stamps = [{"name": name, "ns": ns} for name, ns in self.times.items()]
        return [{**head, "request_id": self._arrival.request_id}, {"id": self.id, "timestamps": stamps}]


def _write(path: Path, traces: list[FileTrace]) -> None:
    try:
        path.write_text(json.dumps([entry for trace in traces for entry in trace.entries()]), "utf-8")
    except OSError as error:
        _log.error("trace file not written", reason=error.strerror)
