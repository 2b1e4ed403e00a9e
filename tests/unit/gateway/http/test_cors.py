"""Which web pages may read the answers: none, unless their origin is named."""

from __future__ import annotations

from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from service.gateway.http import build
from tests.unit.gateway.conftest import LOOPBACK, PEER
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth

PAGE = "https://app.example.com"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, inference-header-content-length, retort-timeout-ms",
}


def client_of(catalog: FakeCatalog, health: FakeHealth, *origins: str) -> TestClient:
    app = build(cast("Any", catalog), cast("Any", health), max_body_bytes=1000, cors_origins=origins)
    return TestClient(cast("Any", app), base_url=LOOPBACK, client=PEER)


@pytest.mark.parametrize("origins", [(PAGE,), ("https://other.example.com", PAGE), ("*",)])
def test_a_page_of_a_named_origin_may_ask_and_read(
    catalog: FakeCatalog, health: FakeHealth, origins: tuple[str, ...]
) -> None:
    client = client_of(catalog, health, *origins)
    allowed = client.options("/v2/models/m/infer", headers=PREFLIGHT)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] in (PAGE, "*")
    assert "retort-timeout-ms" in allowed.headers["access-control-allow-headers"].lower()
    answer = client.get("/v2/models/m", headers={"Origin": PAGE})
    assert answer.headers["access-control-allow-origin"] in (PAGE, "*")
    assert "inference-header-content-length" in answer.headers["access-control-expose-headers"].lower()


def test_an_error_may_be_read_too(catalog: FakeCatalog, health: FakeHealth) -> None:
    answer = client_of(catalog, health, PAGE).post("/v2/models/m/infer", content=b"{", headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (400, PAGE)


@pytest.mark.parametrize("origins", [(), ("https://other.example.com",)])
def test_every_other_page_is_told_nothing(catalog: FakeCatalog, health: FakeHealth, origins: tuple[str, ...]) -> None:
    client = client_of(catalog, health, *origins)
    refused = client.options("/v2/models/m/infer", headers=PREFLIGHT)
    assert refused.status_code in (400, 405)
    assert "access-control-allow-origin" not in refused.headers
    assert "access-control-allow-origin" not in client.get("/v2", headers={"Origin": PAGE}).headers


MODEL, REGION = "/v2/repository/models/m", "/v2/systemsharedmemory/region/r"
ADMIN = [
    ("POST", f"{MODEL}/load", {}),
    ("POST", f"{MODEL}/unload", {}),
    ("POST", f"{MODEL}/swap", {"version": "1-int8"}),
    ("POST", f"{MODEL}/rollback", {}),
    ("POST", "/v2/logging", {"log_info": False}),
    ("POST", "/v2/trace/setting", {"trace_rate": "1"}),
    ("POST", "/v2/models/m/trace/setting", {"trace_rate": "1"}),
    ("POST", f"{REGION}/register", {"key": "/k", "byte_size": 1}),
    ("POST", f"{REGION}/unregister", {}),
    ("POST", "/v2/systemsharedmemory/unregister", {}),
    ("GET", "/v2/systemsharedmemory/status", None),
    ("GET", f"{REGION}/status", None),
    ("POST", "/v2/cudasharedmemory/region/r/register", {}),
    ("GET", "/v2/cudasharedmemory/status", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ADMIN)
@pytest.mark.parametrize("origins", [(PAGE,), ("*",)])
def test_a_named_page_in_a_browser_of_this_machine_changes_nothing(
    catalog: FakeCatalog, health: FakeHealth, origins: tuple[str, ...], method: str, path: str, body: Any
) -> None:
    client = client_of(catalog, health, *origins)
    assert client.options(path, headers=PREFLIGHT).status_code == 200, "so that the browser sends what it likes"
    answer = client.request(method, path, json=body, headers={"Origin": PAGE, "Content-Type": "application/json"})
    assert (answer.status_code, catalog.calls) == (403, [])
    assert "by no web page" in answer.json()["error"]
    assert client.request(method, path, json=body).status_code != 403


READ_BY_ALL = [("get", f"/v2/{of}") for of in ("logging", "trace/setting", "models/{model}/trace/setting")]


def test_every_route_that_is_for_this_machine_is_held_against_pages(catalog: FakeCatalog, health: FakeHealth) -> None:
    paths = client_of(catalog, health, "*").get("/openapi.json").json()["paths"]
    told = [
        (method, path.replace("{model}", "m").replace("{region}", "r"))
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "409" in operation["responses"] and (method, path) not in READ_BY_ALL
    ]
    assert len(told) == 17
    for method, path in told:
        answer = client_of(catalog, health, "*").request(
            method, path, headers={"Origin": PAGE, "Content-Type": "application/json"}
        )
        assert answer.status_code == 403, path


def test_a_named_page_reads_no_shared_memory(catalog: FakeCatalog, health: FakeHealth) -> None:
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    tensor = {"name": "x", "shape": [1, 1], "datatype": "FP32", "parameters": parameters}
    headers = {"Origin": PAGE, "Content-Type": "application/json"}
    client = client_of(catalog, health, "*")
    assert client.post("/v2/models/m/infer", json={"inputs": [tensor]}, headers=headers).status_code == 403
    assert client.post("/v2/models/m/infer", json={"inputs": [tensor]}).status_code == 400, "off: no such region"


def test_a_named_page_changes_no_model_from_elsewhere(catalog: FakeCatalog, health: FakeHealth) -> None:
    app = build(cast("Any", catalog), cast("Any", health), max_body_bytes=1000, cors_origins=("*",))
    client = TestClient(cast("Any", app), base_url=LOOPBACK, client=("192.0.2.7", 1))
    answer = client.post("/v2/repository/models/m/swap", json={"version": "1-int8"}, headers={"Origin": PAGE})
    assert answer.status_code == 403
