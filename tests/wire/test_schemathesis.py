"""Schemathesis, unchanged, over the whole OpenAPI document against a running server (H4).

Run by `make schemathesis`, or with SCHEMATHESIS naming the program. `test_openapi_fuzz` does as much in every run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ServerProcess
from tests.wire.conftest import REPOSITORY

PROGRAM = os.environ.get("SCHEMATHESIS", "")
EXAMPLES = 100  # of an operation and phase
pytestmark = [
    pytest.mark.skipif(not PROGRAM, reason="SCHEMATHESIS names no schemathesis; make schemathesis fetches one"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("schemathesis")
    with ServerProcess(["--repository", str(REPOSITORY), "--shared-memory"], folder) as running:
        yield running
        assert "Traceback" not in running.log() and "internal error" not in running.log()


def run(server: ServerProcess, document: str, *more: str) -> subprocess.CompletedProcess[str]:
    configuration = Path(__file__).with_name("schemathesis.toml")
    return subprocess.run(
        [PROGRAM, "--config-file", str(configuration), "run", document, "--url", server.url, "--no-color", *more],
        capture_output=True,
        text=True,
        check=False,
        cwd=server.log_file.parent,  # it keeps what it found
    )


def test_every_answer_to_every_operation_is_told(server: ServerProcess) -> None:
    done = run(server, f"{server.url}/openapi.json", "--max-examples", str(EXAMPLES))
    assert done.returncode == 0, done.stdout
    tested = re.search(r"Tested: (\d+)", done.stdout)
    paths = server.http.get("/openapi.json").json()["paths"]
    assert tested is not None and int(tested[1]) == sum(map(len, paths.values()))


def test_an_answer_that_is_not_told_is_found(server: ServerProcess, tmp_path: Path) -> None:
    document = server.http.get("/openapi.json").json()
    path = "/v2/models/{model}"
    del document["paths"][path]["get"]["responses"]["404"]
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    done = run(server, str(tmp_path / "openapi.json"), "--include-path", path, "--max-examples", "5")
    assert done.returncode == 1 and "Undocumented status code" in done.stdout, done.stdout
