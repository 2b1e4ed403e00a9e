"""Triton's own gRPC clients, unchanged, against a running server; health and reflection by their own stubs."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from service.gateway.heavy import HEAVY_BYTES
from tests.support.process import ServerProcess
from tests.wire import digits
from tests.wire.conftest import REPOSITORY
from tests.wire.digits import ANSWERS, INPUT, OUTPUT, ROWS, VERSIONS, is_answer_of


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(server.grpc) as connected:
        yield connected


@pytest.fixture
def channel(server: ServerProcess) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc) as connected:
        yield connected


def image(rows: Any) -> Any:
    return digits.image(triton, rows)


def test_health_is_told(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1-int8")
    assert not client.is_model_ready("digits", "9")
    assert not client.is_model_ready("none")


def test_metadata_and_configuration_are_those_of_http(client: Any, server: ServerProcess) -> None:
    assert client.get_server_metadata(as_json=True) == server.http.get("/v2").json()
    over_http = server.http.get("/v2/models/digits").json()
    over_grpc = client.get_model_metadata("digits")
    assert (list(over_grpc.versions), over_grpc.platform) == (over_http["versions"], over_http["platform"])
    assert [(x.name, x.datatype, list(x.shape)) for x in over_grpc.inputs] == [(INPUT, "FP32", [-1, 1, 8, 8])]
    config = client.get_model_config("digits", "1-int8").config
    assert (config.max_batch_size, list(config.input[0].dims)) == (32, [1, 8, 8])
    assert config.name == server.http.get("/v2/models/digits/config").json()["name"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_inference(client: Any, version: str, compression: str | None) -> None:
    answer = client.infer("digits", [image(ROWS)], version, request_id="id-1", compression_algorithm=compression)
    assert is_answer_of(version, answer.as_numpy(OUTPUT), len(ROWS))
    assert (answer.get_response().model_version, answer.get_response().id) == (version, "id-1")


def test_more_rows_than_a_batch_are_answered_whole(client: Any) -> None:
    many = np.concatenate([ROWS] * 10)
    found = client.infer("digits", [image(many)], "1").as_numpy(OUTPUT)
    assert np.abs(found.reshape(len(many), -1) - np.concatenate([ANSWERS["1"]] * 10)).max() < 0.01


def test_the_highest_classes(client: Any) -> None:
    wanted = [triton.InferRequestedOutput(OUTPUT, class_count=2)]
    found = client.infer("digits", [image(ROWS[:3])], "1", outputs=wanted).as_numpy(OUTPUT)
    best = np.argsort(-ANSWERS["1"][:3], axis=1)[:, :2]
    assert [[int(text.split(b":")[1]) for text in row] for row in found] == best.tolist()


def test_asynchronous_inference_and_its_cancellation(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    for _ in range(20):
        client.async_infer("digits", [image(ROWS[:1])], lambda result, error: answers.put((result, error)))
    for _ in range(20):
        result, error = answers.get(timeout=20)
        assert error is None
        assert is_answer_of("1", result.as_numpy(OUTPUT), 1) or is_answer_of("1-int8", result.as_numpy(OUTPUT), 1)
    client.async_infer("digits", [image(ROWS[:1])], lambda result, error: answers.put((result, error))).cancel()
    result, error = answers.get(timeout=20)
    assert (result is None) is not (error is None)


def test_a_stream_answers_each_request_and_outlives_a_bad_one(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(50):
        client.async_stream_infer("digits", [image(ROWS[number : number + 1])], "1", request_id=str(number))
    client.async_stream_infer("none", [image(ROWS[:1])], request_id="bad")
    client.async_stream_infer("digits", [image(ROWS[:1])], "1", request_id="last", enable_empty_final_response=True)
    good, bad = {}, []
    for _ in range(52):
        result, error = answers.get(timeout=20)
        if error is None:
            assert result.get_response().parameters["triton_final_response"].bool_param
            good[result.get_response().id] = result.as_numpy(OUTPUT)
        else:
            bad.append(str(error))
    client.stop_stream()
    assert bad == ["there is no model 'none' here"]
    assert set(good) == {*map(str, range(50)), "last"}
    for number in range(50):
        assert np.abs(good[str(number)] - ANSWERS["1"][number]).max() < 0.01


@pytest.mark.parametrize("asked", ["true", "false"])
def test_an_error_ends_the_stream_by_its_code_where_the_client_asks_for_that(client: Any, asked: str) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)), headers={"triton_grpc_error": asked})
    client.async_stream_infer("none", [image(ROWS[:1])], request_id="bad")
    _, error = answers.get(timeout=20)
    assert error.message() == "there is no model 'none' here"
    assert error.status() == ("StatusCode.NOT_FOUND" if asked == "true" else None)
    client.stop_stream()


async def test_the_asyncio_client(server: ServerProcess) -> None:
    async with triton_aio.InferenceServerClient(server.grpc) as client:
        assert await client.is_server_ready()
        assert await client.is_model_ready("digits", "1")
        answer = await client.infer("digits", [image(ROWS[:5])], "1")
        assert is_answer_of("1", answer.as_numpy(OUTPUT), 5)
        statistics = await client.get_inference_statistics("digits", "1")
        assert statistics.model_stats[0].inference_stats.success.count > 0

        async def requests() -> Any:
            for number in range(10):
                yield {"model_name": "digits", "inputs": [image(ROWS[:1])], "request_id": str(number)}

        answers = [one async for one in client.stream_infer(requests())]
    assert [error for _, error in answers] == [None] * 10
    assert {result.get_response().id for result, _ in answers} == set(map(str, range(10)))


def code_of(call: Any) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        call()
    return caught.value.status(), caught.value.message()


def wrong_shape() -> Any:
    sent = triton.InferInput(INPUT, [1, 64], "FP32")
    sent.set_data_from_numpy(ROWS[:1].reshape(1, 64))
    return sent


def test_each_error_has_its_code(client: Any) -> None:
    table = {
        "StatusCode.NOT_FOUND": [
            lambda: client.infer("none", [image(ROWS[:1])]),
            lambda: client.infer("digits", [image(ROWS[:1])], "9"),
            lambda: client.get_model_metadata("none"),
            lambda: client.get_model_config("none"),
            lambda: client.get_inference_statistics("none"),
            lambda: client.load_model("none"),
        ],
        "StatusCode.INVALID_ARGUMENT": [
            lambda: client.infer("digits", [wrong_shape()]),
            lambda: client.infer("digits", [image(ROWS[:1])], outputs=[triton.InferRequestedOutput("none")]),
            lambda: client.infer("digits", [image(ROWS[:1])], sequence_id=5),
            lambda: client.infer("digits", []),
        ],
        "StatusCode.DEADLINE_EXCEEDED": [
            lambda: client.infer("digits", [image(ROWS[:1])], client_timeout=-1.0),
        ],
    }
    for code, calls in table.items():
        for call in calls:
            status, message = code_of(call)
            assert status == code, message
            assert "\n" not in message


def test_a_message_over_the_limit_is_refused_and_a_smaller_one_goes_on(client: Any) -> None:
    rows = np.concatenate([ROWS] * 75)  # 1.2 MB, where the server of these tests takes 1 MB
    assert code_of(lambda: client.infer("digits", [image(rows)]))[0] == "StatusCode.RESOURCE_EXHAUSTED"
    assert is_answer_of("1", client.infer("digits", [image(ROWS)], "1").as_numpy(OUTPUT), len(ROWS))


def test_statistics_index_load_and_unload(client: Any) -> None:
    client.infer("digits", [image(ROWS[:1])], "1-int8")
    (stats,) = client.get_inference_statistics("digits", "1-int8").model_stats
    assert (stats.name, stats.version) == ("digits", "1-int8")
    assert stats.inference_count >= 1
    assert {(m.name, m.version, m.state) for m in client.get_model_repository_index().models} >= {
        ("digits", "1", "READY"),
        ("digits", "1-int8", "READY"),
    }
    client.unload_model("digits")
    assert not client.is_model_ready("digits")
    client.load_model("digits")
    assert client.is_model_ready("digits")


def test_an_answer_and_an_error_name_the_request_s_id(channel: Any) -> None:
    stub = triton.service_pb2_grpc.GRPCInferenceServiceStub(channel)
    _, call = stub.ServerLive.with_call(triton.service_pb2.ServerLiveRequest(), metadata=[("x-request-id", "mine-7")])
    assert dict(call.trailing_metadata())["x-request-id"] == "mine-7"
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelMetadata(triton.service_pb2.ModelMetadataRequest(name="none"))
    assert dict(caught.value.trailing_metadata())["x-request-id"]


def test_models_are_changed_by_no_forwarded_call(channel: Any) -> None:
    stub = triton.service_pb2_grpc.GRPCInferenceServiceStub(channel)
    request = triton.service_pb2.RepositoryModelLoadRequest(model_name="digits")
    with pytest.raises(grpc.RpcError) as caught:
        stub.RepositoryModelLoad(request, metadata=[("x-forwarded-for", "192.0.2.1")])
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_the_health_service(channel: Any) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", "inference.GRPCInferenceService", "digits"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == serving
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="none"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="digits"))
    assert next(watch).status == serving
    watch.cancel()


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
def test_reflection_describes_the_service(channel: Any, version: str) -> None:
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService"),
    ]
    listed, described = ask(iter(asked))
    names = {service.name for service in listed.list_services_response.service}
    assert names >= {"inference.GRPCInferenceService", "grpc.health.v1.Health"}
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(text)
        for text in described.file_descriptor_response.file_descriptor_proto
    ]
    methods = {method.name for file in files for service in file.service for method in service.method}
    assert "ModelStreamInfer" in methods


def test_calls_are_counted_by_their_code(client: Any, server: ServerProcess) -> None:
    def counted(code: str) -> float:
        lines = server.http.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f'retort_grpc_calls{{code="{code}"}}'))

    before = counted("OK"), counted("NOT_FOUND")
    client.is_server_live()
    code_of(lambda: client.get_model_metadata("none"))
    assert (counted("OK"), counted("NOT_FOUND")) == (before[0] + 1, before[1] + 1)


def test_each_call_has_its_line_in_the_log(client: Any, server: ServerProcess) -> None:
    code_of(lambda: client.get_model_metadata("none", headers={"x-request-id": "line-of-a-call"}))
    lines = [json.loads(line) for line in server.log().splitlines() if "line-of-a-call" in line]
    told = {key: lines[0][key] for key in ("event", "method", "path", "status", "peer")}
    assert told == {
        "event": "request",
        "method": "gRPC",
        "path": "ModelMetadata",
        "status": "NOT_FOUND",
        "peer": "127.0.0.1",
    }


@pytest.mark.parametrize(
    "path",
    [
        "inference.GRPCInferenceService/ModelInfer",
        "inference.GRPCInferenceService/ModelStreamInfer",
        "inference.GRPCInferenceService/ServerLive",
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ],
)
def test_bytes_that_are_no_message_are_a_bad_request_and_no_error_of_ours(
    channel: Any, server: ServerProcess, path: str
) -> None:
    before = len(server.log())
    if path.endswith("ServerReflectionInfo"):
        assert list(channel.stream_stream(f"/{path}")(iter([b"\xff\xff"]), timeout=10)) == []
    else:
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.stream_stream(f"/{path}")(iter([b"\xff\xff"]), timeout=10))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == "the message is not the protobuf message that this method takes"
    assert "Traceback" not in server.log()[before:]


def test_a_large_request_of_single_values_is_read(channel: Any) -> None:
    message = service_pb2.ModelInferRequest(model_name="digits")
    tensor = message.inputs.add(name=INPUT, datatype="FP32", shape=[3000, 1, 8, 8])
    rows = np.resize(ROWS, (3000, 1, 8, 8)).astype(np.float32)
    tensor.contents.fp32_contents.extend(rows.reshape(-1).tolist())
    assert message.ByteSize() > HEAVY_BYTES
    answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message)
    typed = np.frombuffer(answer.raw_output_contents[0], np.float32)
    del tensor.contents.fp32_contents[:]
    tensor.ClearField("contents")
    message.raw_input_contents.append(rows.tobytes())
    raw = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message)
    assert np.array_equal(typed, np.frombuffer(raw.raw_output_contents[0], np.float32))


def test_a_taken_port_is_said_once_and_in_our_words(server: ServerProcess, tmp_path: Path) -> None:
    port = server.grpc.rpartition(":")[2]
    command = [sys.executable, "-m", "service", "serve", "--repository", str(REPOSITORY), "--http-port", "0"]
    more = ["--grpc-port", port, "--state-dir", str(tmp_path)]
    ended = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    (said,) = [line for line in ended.stderr.splitlines() if line and not line.startswith("{")]
    assert said.startswith(f"retort: cannot listen on 127.0.0.1:{port}: address already in use")
    assert "--grpc-port" in said
