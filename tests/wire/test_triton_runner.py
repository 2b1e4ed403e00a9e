"""A server whose model another server runs: what its clients see while the remote is there, gone, hanging and back.

How soon they see it is held by tests/unit/serving/test_remote.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.http as triton

from tests.support.process import ServerProcess
from tests.support.remote import Remote
from tests.support.waiting import until
from tests.wire.digits import ANSWERS, DIGITS, INPUT, OUTPUT, ROWS, TOLERANCE, tensor

ONNX = (DIGITS / "1" / "model.onnx").read_bytes()
INFER = "/v2/models/far/infer"


@pytest.fixture
def remote() -> Iterator[Remote]:
    with Remote(ONNX, max_batch_size=16, name="digits") as running:
        yield running


@pytest.fixture
def repository(tmp_path: Path, remote: Remote) -> Path:
    folder = tmp_path / "repository"
    (folder / "far").mkdir(parents=True)
    runner = {"triton": {"url": remote.url, "model": "digits", "timeout_s": 5}}
    (folder / "far" / "model.yaml").write_text(json.dumps({"runner": runner}))
    return folder


def is_ready(server: ServerProcess) -> bool:
    return server.http.get("/v2/health/ready").status_code == 200


def ask(server: ServerProcess, rows: Any) -> Any:
    return server.http.post(INFER, json={"inputs": [tensor(rows)]})


def test_clients_see_the_remote_s_answers_under_our_name(repository: Path, tmp_path: Path) -> None:
    with ServerProcess(["--repository", str(repository)], tmp_path) as server:
        sent = triton.InferInput(INPUT, list(ROWS.shape), "FP32")
        sent.set_data_from_numpy(ROWS)
        with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            answer = client.infer("far", [sent])
            metadata, config = client.get_model_metadata("far"), client.get_model_config("far")
        assert np.abs(answer.as_numpy(OUTPUT) - ANSWERS["1"]).max() < TOLERANCE
        assert (answer.get_response()["model_name"], answer.get_response()["model_version"]) == ("far", "1")
        assert metadata["inputs"] == [{"name": INPUT, "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
        assert (metadata["platform"], config["max_batch_size"]) == ("remote", 16)
        assert server.terminate() == 0


def test_the_remote_s_life_shows_in_readiness_and_answers(repository: Path, remote: Remote, tmp_path: Path) -> None:
    with ServerProcess(["--repository", str(repository)], tmp_path) as server:
        assert is_ready(server)
        remote.stop()
        until(lambda: not is_ready(server))
        refusal = ask(server, ROWS[:1])
        assert (refusal.status_code, refusal.headers["Retry-After"]) == (503, "1")
        assert refusal.json() == {"error": "the remote server that runs this model is not reachable or not ready"}
        assert server.http.get("/v2/health/live").status_code == 200
        remote.start()
        until(lambda: is_ready(server))
        assert ask(server, ROWS[:1]).status_code == 200
        remote.fails(grpc.StatusCode.INTERNAL, "Traceback: /srv/secret.py")
        failure = ask(server, ROWS[:1])
        assert (failure.status_code, failure.json()) == (500, {"error": "the remote server failed on this request"})
        metrics = server.http.get("/metrics").text
        assert 'retort_remote_retries{model="far",version="1"}' in metrics
        assert 'retort_remote_retries{model="far",version="1"} 0\n' not in metrics
        assert server.terminate() == 0


def test_a_remote_that_hangs_holds_neither_clients_nor_the_end(
    repository: Path, remote: Remote, tmp_path: Path
) -> None:
    environment = {"RETORT_DRAIN_TIMEOUT_S": "1"}
    with ServerProcess(["--repository", str(repository)], tmp_path, env=environment) as server:
        remote.hangs()
        until(lambda: not is_ready(server))
        late = server.http.post(INFER, json={"inputs": [tensor(ROWS[:1])]}, headers={"Retort-Timeout-Ms": "300"})
        assert late.status_code == 503
        assert server.terminate() == 0


def test_a_server_starts_without_its_remote_and_finds_it_later(
    repository: Path, remote: Remote, tmp_path: Path
) -> None:
    remote.stop()
    with ServerProcess(["--repository", str(repository)], tmp_path) as server:
        index = server.http.post("/v2/repository/index", json={}).json()
        assert [(entry["state"], "not reachable" in entry["reason"]) for entry in index] == [("UNAVAILABLE", True)]
        assert not is_ready(server)
        remote.start()
        until(lambda: is_ready(server))
        assert (
            np.abs(np.reshape(ask(server, ROWS[:2]).json()["outputs"][0]["data"], (2, 10)) - ANSWERS["1"][:2]).max()
            < TOLERANCE
        )
