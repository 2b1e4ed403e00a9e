"""Whoever should read the log has stopped: the server answers on, and ends when it is told to."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.support.process import ServerProcess

REPOSITORY = Path(__file__).parents[2] / "models" / "repository"


@pytest.mark.timeout(120)
def test_a_reader_of_the_log_that_stops_holds_up_neither_requests_nor_the_end(tmp_path: Path) -> None:
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 16)
    within = ("sh", "-c", 'exec "$@" 2>"$0"', str(fifo))
    arguments = ("--repository", str(REPOSITORY))
    with ServerProcess(arguments, tmp_path, env={"RETORT_ACCESS_LOG": "true"}, within=within) as server:
        for _ in range(1000):
            assert server.http.get("/v2/health/live", timeout=5).status_code == 200
        assert len(os.read(reader, 1 << 20)) > 1 << 15  # it was full, or nearly
        assert server.terminate() == 0
    os.close(reader)
