"""The routes of Triton's trace and logging extensions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from service.gateway.controls import Controls
from service.gateway.http import build
from service.observe.log_settings import LogSettings
from service.observe.trace_settings import TraceSettings
from service.observe.tracing import TRACE, Arrival, Tracing
from tests.unit.gateway.conftest import opening
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth

GLOBAL, MODEL, LOGS = "/v2/trace/setting", "/v2/models/m/trace/setting", "/v2/logging"
X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 1, 2, 3]}


class Output:
    """Where lines would go."""

    levels: frozenset[int] | None = None
    text = False

    def let_through(self, levels: frozenset[int]) -> None:
        self.levels = levels

    def as_text(self, wanted: bool) -> None:
        self.text = wanted


class Trace:
    """Keeps what it is told."""

    headers: Mapping[str, str] = MappingProxyType({"traceresponse": "00-1"})

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.error: BaseException | None = None
        self.ended: tuple[dict[str, Any], bool] | None = None

    def asked(self, model: str, version: str, rows: int) -> None: ...

    def ran(self, run: Any) -> None: ...

    def failed(self, error: BaseException) -> None:
        self.error = error

    def end(self, attributes: Any, *, ok: bool) -> None:
        self.ended = (attributes, ok)


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def traces() -> list[Trace]:
    return []


@pytest.fixture
def connect(
    catalog: FakeCatalog, health: FakeHealth, output: Output, traces: list[Trace]
) -> Iterator[Callable[..., TestClient]]:
    def follow(arrival: Arrival) -> Trace:
        traces.append(Trace(arrival))
        return traces[-1]

    app = build(
        cast("Any", catalog),
        cast("Any", health),
        max_body_bytes=100_000,
        controls=Controls(Tracing(TraceSettings(spans=True), spans=follow), LogSettings(output)),
    )
    yield from opening(app)


@pytest.fixture
def client(connect: Callable[..., TestClient]) -> TestClient:
    return connect()


def test_the_trace_settings_are_read_and_changed(client: TestClient) -> None:
    changed = client.post(MODEL, json={"trace_rate": "9", "trace_level": ["OFF"]})
    assert changed.status_code == 200
    assert changed.json() == client.get(MODEL).json()
    assert (changed.json()["trace_rate"], changed.json()["trace_level"]) == ("9", ["OFF"])
    assert client.get(GLOBAL).json()["trace_rate"] == "1"
    assert client.post(GLOBAL, json={"trace_count": "5"}).json()["trace_count"] == "5"
    assert client.post(MODEL, json={"trace_rate": None, "trace_level": None}).json() == client.get(GLOBAL).json()


def test_the_log_settings_are_read_and_changed(client: TestClient, output: Output) -> None:
    assert client.get(LOGS).json()["log_info"] is True
    changed = client.post(LOGS, json={"log_info": False, "log_format": "ISO8601"})
    assert changed.json() == client.get(LOGS).json() == {**changed.json(), "log_info": False, "log_format": "ISO8601"}
    assert output.levels == {logging.WARNING, logging.ERROR, logging.CRITICAL}
    assert output.text


@pytest.mark.parametrize("path", [GLOBAL, MODEL, LOGS])
def test_an_empty_body_changes_nothing(client: TestClient, path: str) -> None:
    before = client.get(path).json()
    assert client.post(path).json() == before


@pytest.mark.parametrize("path", [GLOBAL, MODEL, LOGS])
@pytest.mark.parametrize(
    ("body", "words"),
    [(b"[]", "a JSON object"), (b"{", "not valid JSON"), (b'{"nonsense": 1}', "'nonsense' is no")],
)
def test_a_wrong_body_is_refused(client: TestClient, path: str, body: bytes, words: str) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize("path", [GLOBAL, MODEL, LOGS])
def test_a_body_is_bounded(client: TestClient, path: str) -> None:
    assert client.post(path, content=b" " * 70_000).status_code == 413


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_model_is_not_found(client: TestClient, method: str) -> None:
    assert client.request(method, "/v2/models/none/trace/setting").status_code == 404


@pytest.mark.parametrize("path", [GLOBAL, MODEL, LOGS])
def test_who_is_not_on_this_machine_reads_and_changes_nothing(connect: Callable[..., TestClient], path: str) -> None:
    elsewhere = connect(peer=("10.0.0.7", 1))
    assert elsewhere.get(path).status_code == 200
    refused = elsewhere.post(path, json={})
    assert refused.status_code == 403
    assert refused.json()["error"] == (
        "without keys, settings are changed only from the server's own machine, and this request comes from elsewhere"
    )
    assert connect().post(path, json={}).status_code == 200
    assert connect().post(path, json={}, headers={"Origin": "http://evil"}).status_code == 403


def test_the_extensions_are_told(client: TestClient) -> None:
    assert {"logging", "trace"} <= set(client.get("/v2").json()["extensions"])


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [
        ("/v2/models/m/infer", "POST /v2/models/{model}/infer", 200),
        ("/v2/models/m/versions/1-int8/infer", "POST /v2/models/{model}/versions/{version}/infer", 200),
        ("/v2/models/none/infer", "POST /v2/models/{model}/infer", 404),
        ("/v1/models/m:predict", "POST /v1/models/{model}:predict", 400),
        ("/v1/models/m/versions/1:predict", "POST /v1/models/{model}/versions/{version}:predict", 400),
    ],
)
def test_inference_is_followed(client: TestClient, traces: list[Trace], path: str, name: str, status: int) -> None:
    answer = client.post(path, json={"inputs": [X]}, headers={"X-Request-Id": "mine", "traceparent": "p"})
    assert answer.status_code == status
    assert answer.headers["traceresponse"] == "00-1"
    (trace,) = traces
    assert (trace.arrival.name, trace.arrival.request_id) == (name, "mine")
    assert trace.arrival.carrier["traceparent"] == "p"
    assert trace.arrival.attributes["http.request.method"] == "POST"
    assert trace.ended == ({"http.response.status_code": status}, True)
    assert (trace.error is None) is (status == 200)
    assert TRACE.get() is None, "nothing is left behind for the next request"


def test_a_server_s_error_is_not_ok(client: TestClient, traces: list[Trace], servable: Any) -> None:
    servable.error = ValueError("a secret")
    assert client.post("/v2/models/m/infer", json={"inputs": [X]}).status_code == 500
    assert traces[0].ended == ({"http.response.status_code": 500}, False)
    assert isinstance(traces[0].error, ValueError)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/m/infer"),
        ("GET", "/v2/models/m"),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/models/m:predict"),
        ("POST", "/v1/models/m/infer"),
    ],
)
def test_nothing_else_is_followed(client: TestClient, traces: list[Trace], method: str, path: str) -> None:
    client.request(method, path)
    assert traces == []


def test_off_follows_nothing(client: TestClient, traces: list[Trace]) -> None:
    client.post(GLOBAL, json={"trace_level": ["OFF"]})
    answer = client.post("/v2/models/m/infer", json={"inputs": [X]})
    assert (answer.status_code, traces) == (200, [])
    assert "traceresponse" not in answer.headers
