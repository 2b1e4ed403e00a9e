"""A server without gRPC: HTTP is whole, and nothing of the other is loaded, listens or delays the end."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support.process import ServerProcess
from tests.wire.digits import DIGITS, INFER, ROWS, tensor

REPOSITORY = ["--repository", str(DIGITS.parent)]


@pytest.mark.parametrize(("arguments", "ports"), [(["--grpc-port", "-1"], 1), ([], 2)], ids=["without", "control"])
def test_http_is_whole_and_nothing_of_grpc_is_there(tmp_path: Path, arguments: list[str], ports: int) -> None:
    with ServerProcess([*REPOSITORY, *arguments], tmp_path) as server:
        process = psutil.Process(server.process.pid)
        listening = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
        loaded = any("cygrpc" in mapped.path for mapped in process.memory_maps())
        assert (len(listening), loaded, bool(server.grpc)) == (ports, ports == 2, ports == 2)
        answer = server.http.post(INFER, json={"inputs": [tensor(ROWS[:1])]})
        assert answer.status_code == 200
        assert server.http.get("/metrics").status_code == 200
        assert server.http.get("/v2/health/ready").status_code == 200
        assert server.terminate() == 0
