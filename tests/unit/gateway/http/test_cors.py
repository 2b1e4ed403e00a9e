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


def test_a_named_page_still_changes_no_model_from_elsewhere(catalog: FakeCatalog, health: FakeHealth) -> None:
    app = build(cast("Any", catalog), cast("Any", health), max_body_bytes=1000, cors_origins=("*",))
    client = TestClient(cast("Any", app), base_url=LOOPBACK, client=("192.0.2.7", 1))
    answer = client.post("/v2/repository/models/m/swap", json={"version": "1-int8"}, headers={"Origin": PAGE})
    assert answer.status_code == 403
