"""Spans, from a real server to a real collector, with the parents that real clients name."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tests.support.collector import Collector, Seen, over_grpc, over_http
from tests.support.process import ServerProcess
from tests.wire.conftest import REPOSITORY
from tests.wire.digits import INFER, ROWS, tensor

CLIENT_TRACE, CLIENT_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"
UNSAMPLED = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-00"
SERVER = 2  # SPAN_KIND_SERVER
TRIES = 3
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with over_http() as collecting:
        yield collecting


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[ServerProcess]:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_RESOURCE_ATTRIBUTES": "site=here", **QUICK}
    with serving(tmp_path_factory.mktemp("traced"), env) as running:
        yield running


def serving(folder: Path, env: dict[str, str]) -> ServerProcess:
    return ServerProcess(["--repository", str(REPOSITORY)], folder, env=env)


def body(rows: int = 1) -> dict[str, Any]:
    return {"inputs": [tensor(ROWS[:rows])]}


def of_request(spans: list[Seen], request_id: str) -> Seen:
    (found,) = [span for span in spans if span.attributes.get("retort.request.id") == request_id]
    return found


def has_request(*request_ids: str) -> Any:
    return lambda spans: set(request_ids) <= {span.attributes.get("retort.request.id") for span in spans}


def below(spans: list[Seen], parent: Seen) -> dict[str, Seen]:
    return {span.name: span for span in spans if span.parent_id == parent.span_id}


def test_one_request_is_a_tree_of_spans(traced: ServerProcess, collector: Collector) -> None:
    answer = traced.http.post(INFER, json=body(3), headers={"traceparent": PARENT, "X-Request-Id": "tree"})
    spans = collector.wait_for(has_request("tree"))
    request = of_request(spans, "tree")
    assert (request.name, request.kind) == ("POST /v2/models/{model}/infer", SERVER)
    assert (request.trace_id, request.parent_id) == (CLIENT_TRACE, CLIENT_SPAN)
    assert answer.headers["traceresponse"] == f"00-{CLIENT_TRACE}-{request.span_id}-01" == answer.headers["traceparent"]
    assert request.attributes["retort.model.name"] == "digits"
    assert (request.attributes["retort.model.version"], request.attributes["retort.request.rows"]) == ("1", 3)
    assert request.attributes["http.response.status_code"] == 200
    assert not request.failed
    assert request.resource["service.name"] == "retort"
    assert request.resource["site"] == "here"

    children = below(spans, request)
    queue, batch = children["queue"], children["batch"]
    (run,) = below(spans, batch).values()
    assert {span.trace_id for span in (queue, batch, run)} == {CLIENT_TRACE}
    assert batch.links == [request.span_id]
    assert (batch.attributes["retort.batch.rows"], batch.attributes["retort.batch.requests"]) == (3, 1)
    assert run.name == "run"
    times = [request.start_ns, queue.start_ns, queue.end_ns, batch.start_ns, run.start_ns, run.end_ns, batch.end_ns]
    assert times == sorted(times)
    assert batch.end_ns <= request.end_ns


def test_a_batch_is_linked_with_every_request_in_it(traced: ServerProcess, collector: Collector) -> None:
    assert any(crowd_is_linked(traced, collector, turn) > 1 for turn in range(TRIES)), "no two shared a batch"


def crowd_is_linked(traced: ServerProcess, collector: Collector, turn: int) -> int:
    """Requests at once, and the links of their batches; how many shared one: none if the client itself is slow."""
    names = [f"crowd-{turn}-{number}" for number in range(60)]

    async def crowd() -> None:
        async with httpx.AsyncClient(base_url=traced.url, timeout=30) as client:
            sent = [client.post(INFER, json=body(), headers={"X-Request-Id": name}) for name in names]
            assert {answer.status_code for answer in await asyncio.gather(*sent)} == {200}

    asyncio.run(crowd())
    spans = collector.wait_for(has_request(*names))
    requests = {of_request(spans, name).span_id: of_request(spans, name) for name in names}
    batches = [span for span in spans if span.name == "batch" and set(span.links) & requests.keys()]
    assert sorted(link for batch in batches for link in batch.links) == sorted(requests)
    for batch in batches:
        assert batch.parent_id == batch.links[0]
        assert batch.attributes["retort.batch.requests"] == len(batch.links)
        for other in batch.links[1:]:
            assert requests[other].links == [batch.span_id]
            assert [span.name for span in spans if span.parent_id == other] == ["queue"]
    return max(len(batch.links) for batch in batches)


def test_what_the_client_does_not_sample_is_not_traced(traced: ServerProcess, collector: Collector) -> None:
    left_out = traced.http.post(INFER, json=body(), headers={"traceparent": UNSAMPLED, "X-Request-Id": "left-out"})
    assert left_out.status_code == 200
    assert "traceresponse" not in left_out.headers
    traced.http.post(INFER, json=body(), headers={"traceparent": PARENT, "X-Request-Id": "taken"})
    spans = collector.wait_for(has_request("taken"))
    assert not has_request("left-out")(spans)


@pytest.mark.parametrize(
    ("path", "document", "status", "error"),
    [
        (INFER, {"inputs": []}, 400, "BadInput"),
        ("/v2/models/none/infer", body(), 404, "NotFound"),
        ("/v1/models/digits:predict", {"instances": [1]}, 400, "BadInput"),
    ],
)
def test_a_client_s_error_has_a_type_and_is_no_failure_of_the_server(
    traced: ServerProcess, collector: Collector, path: str, document: Any, status: int, error: str
) -> None:
    name = f"wrong-{path.count('/')}-{status}{path[1:3]}"
    assert traced.http.post(path, json=document, headers={"X-Request-Id": name}).status_code == status
    request = of_request(collector.wait_for(has_request(name)), name)
    assert request.attributes["http.response.status_code"] == status
    assert request.attributes["error.type"] == error
    assert not request.failed


def test_a_late_request_has_failed(traced: ServerProcess, collector: Collector) -> None:
    late = {**body(), "parameters": {"timeout": 1}}
    answer = traced.http.post(INFER, json=late, headers={"X-Request-Id": "late"})
    assert answer.status_code == 503
    request = of_request(collector.wait_for(has_request("late")), "late")
    assert request.failed
    assert request.attributes["error.type"] in ("Expired", "Rejected"), "late in the queue, or before it"
    assert request.message == answer.json()["error"]


def test_predict_is_traced_like_infer(traced: ServerProcess, collector: Collector) -> None:
    document = {"instances": ROWS[:2].tolist()}
    traced.http.post("/v1/models/digits:predict", json=document, headers={"X-Request-Id": "predict"})
    spans = collector.wait_for(has_request("predict"))
    request = of_request(spans, "predict")
    assert request.name == "POST /v1/models/{model}:predict"
    assert {"queue", "batch"} <= below(spans, request).keys()


def grpc_input() -> Any:
    sent = triton_grpc.InferInput("image", [1, 1, 8, 8], "FP32")
    sent.set_data_from_numpy(ROWS[:1])
    return sent


def test_over_grpc_the_parent_comes_in_the_metadata(traced: ServerProcess, collector: Collector) -> None:
    with grpc.insecure_channel(traced.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        asked = service_pb2.ModelInferRequest(model_name="digits")
        asked.inputs.add(name="image", datatype="FP32", shape=[1, 1, 8, 8])
        asked.raw_input_contents.append(ROWS[:1].tobytes())
        metadata = (("traceparent", PARENT), ("x-request-id", "by-grpc"))
        _, call = stub.ModelInfer.with_call(asked, metadata=metadata, timeout=20)
        trailing = dict(call.trailing_metadata())
    spans = collector.wait_for(has_request("by-grpc"))
    request = of_request(spans, "by-grpc")
    assert (request.name, request.kind) == ("inference.GRPCInferenceService/ModelInfer", SERVER)
    assert (request.trace_id, request.parent_id) == (CLIENT_TRACE, CLIENT_SPAN)
    assert request.attributes["rpc.grpc.status_code"] == 0
    assert request.attributes["retort.model.version"] == "1"
    assert {"queue", "batch"} <= below(spans, request).keys()
    assert trailing["traceresponse"] == f"00-{CLIENT_TRACE}-{request.span_id}-01"


def test_over_grpc_an_error_has_its_code(traced: ServerProcess, collector: Collector) -> None:
    with triton_grpc.InferenceServerClient(traced.grpc) as client, pytest.raises(InferenceServerException):
        client.infer("none", [grpc_input()], headers={"x-request-id": "no-model"})
    request = of_request(collector.wait_for(has_request("no-model")), "no-model")
    assert (request.attributes["rpc.grpc.status_code"], request.attributes["error.type"]) == (5, "NotFound")
    assert not request.failed


def test_every_request_of_a_stream_has_a_span(traced: ServerProcess, collector: Collector) -> None:
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with triton_grpc.InferenceServerClient(traced.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)), headers={"x-request-id": "stream"})
        for _ in range(3):
            client.async_stream_infer("digits", [grpc_input()])
        assert [answers.get(timeout=20)[1] for _ in range(3)] == [None] * 3
        client.stop_stream()
    name = "inference.GRPCInferenceService/ModelStreamInfer"
    spans = collector.wait_for(lambda spans: sum(span.name == name for span in spans) == 3)
    assert all("queue" in below(spans, span) for span in spans if span.name == name)


def test_nothing_but_inference_is_traced(traced: ServerProcess, collector: Collector) -> None:
    traced.http.get("/v2/models/digits", headers={"traceparent": PARENT, "X-Request-Id": "metadata"})
    traced.http.post(INFER, json=body(), headers={"X-Request-Id": "after-metadata"})
    assert not has_request("metadata")(collector.wait_for(has_request("after-metadata")))


def test_triton_s_settings_turn_spans_off_and_on(traced: ServerProcess, collector: Collector) -> None:
    def set_to(**settings: Any) -> None:
        assert traced.http.post("/v2/models/digits/trace/setting", json=settings).status_code == 200

    set_to(trace_level=["OFF"])
    traced.http.post(INFER, json=body(), headers={"X-Request-Id": "off"})
    set_to(trace_level=None)
    traced.http.post(INFER, json=body(), headers={"X-Request-Id": "on"})
    assert not has_request("off")(collector.wait_for(has_request("on")))


def test_over_grpc_and_flushed_at_the_end(tmp_path: Path) -> None:
    with over_grpc() as collector:
        env = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_SERVICE_NAME": "mine",
            "OTEL_BSP_SCHEDULE_DELAY": "3600000",
        }
        with serving(tmp_path, env) as server:
            server.http.post(INFER, json=body(), headers={"X-Request-Id": "last"})
            assert not collector.spans
            assert server.terminate() == 0
        spans = collector.wait_for(has_request("last"))
    assert sorted(span.name for span in spans) == ["POST /v2/models/{model}/infer", "batch", "queue", "run"]
    assert spans[0].resource["service.name"] == "mine"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_dead_collector_costs_no_request_and_no_long_end(tmp_path: Path, protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": nobody,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_BSP_SCHEDULE_DELAY": "10",
        "OTEL_BSP_MAX_QUEUE_SIZE": "16",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4",
        "RETORT_DRAIN_TIMEOUT_S": "2",
    }
    with serving(tmp_path, env) as server:
        answers = [server.http.post(INFER, json=body()) for _ in range(100)]
        assert {answer.status_code for answer in answers} == {200}
        assert all("traceresponse" in answer.headers for answer in answers)
        assert server.terminate(timeout_s=10) == 0
        lines = [json.loads(line) for line in server.log().splitlines()]
    assert len([line for line in lines if line["level"] in ("warning", "error")]) <= 2, lines


def test_off_means_that_nothing_of_it_is_imported() -> None:
    """Nothing but the interface package, which the web framework imports for itself."""

    def imported(env: dict[str, str]) -> bool:
        code = (
            "import os, sys; from service.app import Server; from service.settings import Settings\n"
            "Server(Settings(repository=(), state_dir=None), print)\n"
            "parts = {'.'.join(name.split('.')[:2]) for name in sys.modules}\n"
            "print(not parts.isdisjoint({'opentelemetry.sdk', 'opentelemetry.exporter', 'opentelemetry.proto'}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PATH": "/bin", **env}
        )
        return done.stdout.strip().splitlines()[-1] == "True"

    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert not imported(root)
    assert not imported({**root, "OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    assert not imported({**root, "OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"})
    assert imported({**root, "OTEL_TRACES_EXPORTER": "console"}), "the question can be answered with yes"
