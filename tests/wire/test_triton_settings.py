"""Triton's own clients read and change what is traced and logged, and it happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.support.process import ServerProcess
from tests.wire.conftest import REPOSITORY
from tests.wire.digits import INFER, ROWS, tensor

TIMES = [
    *("REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END"),
    "REQUEST_END",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


@pytest.fixture(scope="module")
def own(folder: Path) -> Iterator[ServerProcess]:
    env = {"RETORT_TRACE_FILE": str(folder / "traces"), "RETORT_ACCESS_LOG": "true"}
    with ServerProcess(["--repository", str(REPOSITORY)], folder, env=env) as running:
        yield running


@pytest.fixture
def client(own: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{own.port}") as connected:
        yield connected


@pytest.fixture
def client_grpc(server: ServerProcess) -> Iterator[Any]:
    with triton_grpc.InferenceServerClient(server.grpc) as connected:
        yield connected


def ask(server: ServerProcess, request_id: str) -> None:
    answer = server.http.post(INFER, json={"inputs": [tensor(ROWS[:1])]}, headers={"X-Request-Id": request_id})
    assert answer.status_code == 200


def test_every_second_request_of_a_model_goes_into_triton_s_trace_file(
    own: ServerProcess, client: Any, folder: Path
) -> None:
    assert client.get_trace_settings()["trace_level"] == ["OFF"]
    wanted = {"trace_level": ["TIMESTAMPS"], "trace_rate": "2", "trace_count": "2", "log_frequency": "2"}
    told = client.update_trace_settings(model_name="digits", settings=wanted)
    assert told == client.get_trace_settings(model_name="digits")
    assert {key: told[key] for key in wanted} == wanted
    assert (told["trace_file"], told["trace_mode"]) == ("traces", "triton")
    for number in range(8):
        ask(own, f"r{number}")
    assert client.get_trace_settings(model_name="digits")["trace_count"] == "0"
    client.update_trace_settings(model_name="digits", settings=dict.fromkeys(wanted))
    assert client.get_trace_settings(model_name="digits") == client.get_trace_settings()
    client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"], "trace_rate": "1"})
    ask(own, "last")
    client.update_trace_settings(settings={"trace_level": None, "trace_rate": None})
    assert own.terminate() == 0

    entries = json.loads((folder / "traces.0").read_text())
    assert [entry["request_id"] for entry in entries[::2]] == ["r1", "r3"]
    for head, times in zip(entries[::2], entries[1::2], strict=True):
        assert (head["model_name"], head["model_version"]) == ("digits", 1)
        assert head["id"] == times["id"]
        assert [stamp["name"] for stamp in times["timestamps"]] == TIMES
        stamps = [stamp["ns"] for stamp in times["timestamps"]]
        assert stamps == sorted(stamps)
    assert json.loads((folder / "traces").read_text())[0]["request_id"] == "last"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"trace_level": ["TENSORS"]}, "TENSORS is not supported"),
        ({"trace_file": "/tmp/mine"}, "trace file location can not be updated through network protocol"),
        ({"trace_level": ["TIMESTAMPS"], "trace_mode": "opentelemetry"}, "this server has no exporter"),
        ({"trace_level": ["TIMESTAMPS"]}, "this server has no trace file"),
    ],
)
def test_what_this_server_does_not_do_is_refused(server: ServerProcess, settings: Any, words: str) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as plain:
        before = plain.get_trace_settings()
        with pytest.raises(InferenceServerException, match=words):
            plain.update_trace_settings(settings=settings)
        assert plain.get_trace_settings() == before


def test_what_is_logged_changes_at_once(tmp_path: Path) -> None:
    env = {"RETORT_ACCESS_LOG": "true"}
    with (
        ServerProcess(["--repository", str(REPOSITORY)], tmp_path, env=env) as server,
        triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client,
    ):
        start = client.get_log_settings()
        assert start == {
            "log_file": "",
            "log_info": True,
            "log_warning": True,
            "log_error": True,
            "log_verbose_level": 0,
            "log_format": "default",
        }
        ask(server, "heard")
        assert client.update_log_settings({"log_info": False}) == {**start, "log_info": False}
        ask(server, "unheard")
        client.update_log_settings({"log_info": True, "log_format": "ISO8601"})
        ask(server, "heard-as-text")
        with pytest.raises(InferenceServerException, match="log file location can not be updated"):
            client.update_log_settings({"log_file": "/tmp/mine"})
        assert client.update_log_settings(start) == start
        lines = server.log().splitlines()
    assert [json.loads(line)["event"] for line in lines if '"heard"' in line] == ["request"]
    assert not any("unheard" in line for line in lines)
    (text,) = [line for line in lines if "heard-as-text" in line]
    assert text.startswith("20")
    assert " info request " in text


def test_over_grpc_they_are_the_same_settings(server: ServerProcess, client_grpc: Any) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as plain:
        logs = client_grpc.get_log_settings(as_json=True)["settings"]
        assert logs["log_info"] == {"bool_param": True}
        assert logs["log_format"] == {"string_param": "default"}
        client_grpc.update_log_settings({"log_verbose_level": 3, "log_warning": False})
        changed = plain.get_log_settings()
        assert (changed["log_verbose_level"], changed["log_warning"]) == (3, False)
        client_grpc.update_log_settings({"log_verbose_level": 0, "log_warning": True})

        told = client_grpc.update_trace_settings("digits", {"trace_rate": "9", "trace_level": ["OFF"]}, as_json=True)
        assert told["settings"]["trace_rate"] == {"value": ["9"]}
        assert told == client_grpc.get_trace_settings("digits", as_json=True)
        assert plain.get_trace_settings("digits")["trace_rate"] == "9"
        client_grpc.update_trace_settings("digits", {"trace_rate": None, "trace_level": None})
        assert plain.get_trace_settings("digits") == plain.get_trace_settings()


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (
            lambda client: client.update_trace_settings(settings={"nonsense": "1"}),
            "INVALID_ARGUMENT",
            "no trace setting",
        ),
        (lambda client: client.update_trace_settings("none", {"trace_rate": "1"}), "NOT_FOUND", "none"),
        (lambda client: client.get_trace_settings("none"), "NOT_FOUND", "none"),
        (lambda client: client.update_log_settings({"log_format": "xml"}), "INVALID_ARGUMENT", "expected 'default'"),
        (
            lambda client: client.update_log_settings({"log_info": True}, headers={"forwarded": "for=x"}),
            "PERMISSION_DENIED",
            "settings are changed only from the server's own machine",
        ),
    ],
)
def test_over_grpc_what_is_wrong_is_told(client_grpc: Any, change: Any, status: str, words: str) -> None:
    with pytest.raises(InferenceServerException, match=words) as refused:
        change(client_grpc)
    assert refused.value.status() == f"StatusCode.{status}"


def test_the_asynchronous_client_does_the_same(server: ServerProcess) -> None:
    async def both() -> None:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            logs = await client.get_log_settings()
            assert await client.update_log_settings({"log_verbose_level": 1}) == {**logs, "log_verbose_level": 1}
            assert await client.update_log_settings({"log_verbose_level": 0}) == logs
            traces = await client.get_trace_settings("digits")
            changed = await client.update_trace_settings("digits", {"trace_rate": "7"})
            assert changed == {**traces, "trace_rate": "7"} == await client.get_trace_settings("digits")
            assert await client.update_trace_settings("digits", {"trace_rate": None}) == traces

    asyncio.run(both())
