"""Whoever reads the log or the ready line may stand still or leave: the server serves and ends well (promise S5)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.process import READY, ServerProcess

REPOSITORY = Path(__file__).parents[2] / "models" / "repository"
LINES = 1000  # of more than 200 bytes: three pipes full
LIVE = "/v2/health/live"


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that writes a line for each request, and the end of its log that nobody reads."""
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "service", "serve", "--repository", str(REPOSITORY), "--state-dir", str(tmp_path)]
    ports = ["--http-port", "0", "--grpc-port", "0"]
    environment = {**os.environ, "RETORT_ACCESS_LOG": "true"}
    with subprocess.Popen(
        [*command, *ports], stdout=subprocess.PIPE, stderr=writer, env=environment, text=True
    ) as process:
        os.close(writer)
        yield process, reader
        process.kill()


@pytest.mark.parametrize("leaves", [False, True])
def test_nobody_waits_for_a_reader_of_the_log(unread: tuple[subprocess.Popen[str], int], leaves: bool) -> None:
    process, reader = unread
    assert process.stdout is not None
    found = READY.search(process.stdout.readline())
    assert found is not None
    if leaves:
        os.close(reader)
    with httpx.Client(base_url=found[1], timeout=20) as client:
        for _ in range(LINES):
            assert client.get("/" + "x" * 100).status_code == 404
        assert client.get(LIVE).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    if not leaves:
        os.close(reader)


def test_a_crash_is_told_in_the_log(tmp_path: Path) -> None:
    with ServerProcess(["--repository", str(REPOSITORY)], tmp_path) as server:
        server.process.send_signal(signal.SIGSEGV)
        assert server.process.wait(20) == -signal.SIGSEGV
        told = server.log().partition("Fatal Python error: Segmentation fault")[2]
        assert "most recent call first" in told and "in serve" in told


def test_a_crash_ends_the_process_though_nobody_reads(unread: tuple[subprocess.Popen[str], int]) -> None:
    process, reader = unread
    assert process.stdout is not None
    assert READY.search(process.stdout.readline())
    filler = os.open(f"/proc/self/fd/{reader}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(filler, b"x")
    process.send_signal(signal.SIGSEGV)
    assert process.wait(20) == -signal.SIGSEGV
    os.close(filler)
    os.close(reader)


def test_a_server_serves_though_nobody_reads_that_it_is_ready(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "service", "serve", "--repository", str(REPOSITORY), "--state-dir", str(tmp_path)]
    with subprocess.Popen(
        [*command, "--http-port", "0", "--grpc-port", "0"], stdout=writer, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(writer)
        assert process.stderr is not None
        for line in process.stderr:
            if "nobody took the ready line" in line:
                break
            assert "could not be loaded" not in line
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(20) == 0


def test_what_libraries_write_to_a_closed_standard_error_goes_into_no_socket(tmp_path: Path) -> None:
    closed = ["bash", "-c", 'exec "$@" <&- 2>&-', "closed"]
    with ServerProcess(["--repository", str(REPOSITORY)], tmp_path, within=closed) as server:
        held = [os.readlink(f"/proc/{server.process.pid}/fd/{number}") for number in (0, 2)]
        assert server.http.get("/nothing").status_code == 404
        assert server.terminate() == 0
    assert held == [os.devnull, os.devnull]
