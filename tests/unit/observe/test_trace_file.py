"""Triton's trace file: what is in it, when it is written, and that it is bounded."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from service.batching.contract import BatchReport, CloseReason, TracedRun
from service.observe import trace_file
from service.observe.logs import fields_of
from service.observe.trace_file import FileTrace, TraceFile
from service.observe.tracing import Arrival

REPORT = BatchReport(2, 1, 10, 20, 30, CloseReason.FULL)


class Nanoseconds:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1
        return self.now


def traces(path: Path, frequency: int = 0) -> TraceFile:
    return TraceFile(path, lambda model: frequency, Nanoseconds())


def request(into: TraceFile, name: str = "r", version: str = "1") -> FileTrace:
    trace = into(Arrival("POST /x", "m", name, {}))
    trace.asked("m", version, 2)
    trace.ran(TracedRun(((trace, 0.0),), REPORT, 1e-6, 2e-6, None))
    trace.end({}, ok=True)
    return trace


def read(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def test_a_complete_trace_is_changed_no_more(tmp_path: Path) -> None:
    """A run outlives a client that leaves it: by then a thread may write the trace, and would lose all that it has."""
    into = traces(tmp_path / "t")
    trace = into(Arrival("POST /x", "m", "left", {}))
    trace.asked("m", "1", 2)
    trace.end({}, ok=False)
    complete = dict(trace.times)
    staying = into(Arrival("POST /x", "m", "stays", {}))
    staying.ran(TracedRun(((trace, 0.0), (staying, 0.0)), REPORT, 1e-6, 2e-6, None))
    assert trace.times == complete
    assert "COMPUTE_END" in staying.times


def test_a_request_is_written_as_triton_writes_it(tmp_path: Path) -> None:
    into = traces(tmp_path / "t")
    request(into, "mine")
    into.close(10)
    head, times = read(tmp_path / "t")
    assert head == {"id": 1, "model_name": "m", "model_version": 1, "request_id": "mine"}
    assert times["id"] == 1
    assert [(stamp["name"], stamp["ns"]) for stamp in times["timestamps"]] == [
        ("REQUEST_START", 1),
        ("QUEUE_START", 2),
        ("COMPUTE_START", 1000),
        ("COMPUTE_INPUT_END", 1010),
        ("COMPUTE_OUTPUT_START", 1030),
        ("COMPUTE_END", 2000),
        ("REQUEST_END", 3),
    ]


def test_every_request_of_a_run_gets_its_times_and_a_failed_run_has_no_phases(tmp_path: Path) -> None:
    into = traces(tmp_path / "t")
    one, two = (into(Arrival("POST /x", "m", name, {})) for name in "ab")
    one.ran(TracedRun(((one, 0.0), (two, 0.0)), REPORT, 1e-6, 2e-6, ValueError("x")))
    assert two.times.keys() - {"REQUEST_START"} == {"COMPUTE_START", "COMPUTE_END"}
    assert one.times["COMPUTE_END"] == two.times["COMPUTE_END"] == 2000


def test_a_version_that_is_no_number_stays_a_text(tmp_path: Path) -> None:
    assert request(traces(tmp_path / "t"), version="1-int8").entries()[0]["model_version"] == "1-int8"


def test_with_a_frequency_files_are_numbered(tmp_path: Path) -> None:
    into = traces(tmp_path / "t", frequency=2)
    for number in range(5):
        request(into, str(number))
    into.close(10)
    ids = {path.name: [entry["id"] for entry in read(path)] for path in tmp_path.iterdir()}
    assert ids == {"t.0": [1, 1, 2, 2], "t.1": [3, 3, 4, 4], "t": [5, 5]}


def test_no_more_than_so_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_file, "FILES_LIMIT", 2)
    into = traces(tmp_path / "t", frequency=1)
    for _ in range(5):
        request(into)
        into.close(10)  # so that writes do not overtake each other
    assert {path.name for path in tmp_path.iterdir()} == {"t.0", "t.1"}
    assert read(tmp_path / "t.0")[0]["id"] == 5


def test_no_more_than_so_many_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trace_file, "PENDING_LIMIT", 3)
    into = traces(tmp_path / "t")
    for _ in range(5):
        request(into)
    into.close(10)
    assert len(read(tmp_path / "t")) == 6
    [line] = caplog.records
    assert (line.message, fields_of(line)) == (
        "traces left out of the trace file: set log_frequency",
        {"traces": 2},
    )


def test_a_disk_that_hangs_costs_so_many_threads_and_the_end_no_more_than_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_file, "WRITERS_LIMIT", 3)
    pipes = [tmp_path / f"t.{number}" for number in range(4)]
    for pipe in pipes:
        os.mkfifo(pipe)  # whoever opens one to write waits for a reader
    into = traces(tmp_path / "t", frequency=1)
    for _ in range(9):
        request(into)
    assert len(into._writing) == 3
    began_s = time.monotonic()
    into.close(0.2)
    assert time.monotonic() - began_s < 0.4  # three times 0.2 if each thread had its own
    assert len(read(tmp_path / "t")) == 2 * 6
    for pipe in pipes[:3]:
        assert len(read(pipe)) == 2


def test_a_thread_that_the_system_refuses_fails_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    into = traces(tmp_path / "t", frequency=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        request(into)
        into.close(10)
    request(into)
    into.close(10)
    assert [entry["id"] for entry in read(tmp_path / "t.0")] == [1, 1, 2, 2]


def test_a_folder_that_is_not_there_is_told_and_hurts_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    into = traces(tmp_path / "none" / "t")
    request(into)
    into.close(10)
    [line] = caplog.records
    assert (line.message, fields_of(line)) == ("trace file not written", {"reason": "No such file or directory"})


def test_without_a_trace_no_file_is_made(tmp_path: Path) -> None:
    traces(tmp_path / "t").close(10)
    assert list(tmp_path.iterdir()) == []
