"""The table of routes and rights, and what is behind a door once it is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from service.gateway.http import build
from service.gateway.http.door import guarded, sender_of
from service.gateway.keyring import Keyring
from service.gateway.rights import Holder, Right
from service.observe import logs
from tests.fakes import ManualClock
from tests.support.keys import KEYS, bearer, line_of, write_keys
from tests.support.logs import capture_logs
from tests.unit.gateway.conftest import LIMIT_BYTES, opening
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth, FakeServable

X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
QUOTA = "quota-1Vn6yXe4"


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    path = write_keys(tmp_path / "keys", line_of("few", QUOTA, "infer", "rate=0.1 burst=2"))
    return Keyring(path, ManualClock(), logs.logger("test"))


@pytest.fixture
def connect(catalog: FakeCatalog, health: FakeHealth, keyring: Keyring) -> Iterator[Callable[..., TestClient]]:
    app = build(cast("Any", catalog), cast("Any", health), max_body_bytes=LIMIT_BYTES, access_log=True, keyring=keyring)
    yield from opening(app)


def infer(client: TestClient, key: str) -> Any:
    return client.post("/v2/models/m/infer", json={"inputs": [X]}, headers=bearer(key))


async def handler(_request: Request) -> Response:
    return Response(b"in")


def test_without_keys_a_handler_is_its_own_door(keyring: Keyring) -> None:
    assert guarded(handler, Right.ADMIN, None) is handler
    assert guarded(handler, Right.OPEN, keyring) is handler
    assert guarded(handler, Right.INFER, keyring) is not handler


def test_who_has_a_key_may_change_what_is_served_from_anywhere(
    connect: Callable[..., TestClient], catalog: FakeCatalog
) -> None:
    far = connect(peer=("192.0.2.7", 1), base_url="https://models.example")
    headers = {**bearer(KEYS["ops"]), "x-forwarded-for": "192.0.2.9", "origin": "https://console.example"}
    assert far.post("/v2/repository/models/m/swap", json={"version": "1-int8"}, headers=headers).status_code == 200
    assert far.post("/v2/logging", json={}, headers=headers).status_code == 200
    assert [call[0] for call in catalog.calls] == ["swap"]


@pytest.mark.parametrize("headers", [{}, bearer("nobody"), bearer(KEYS["app"]), bearer(KEYS["scraper"])])
def test_sitting_on_this_machine_opens_nothing_where_there_are_keys(
    client: TestClient, catalog: FakeCatalog, headers: dict[str, str]
) -> None:
    answer = client.post("/v2/repository/models/m/swap", json={"version": "1-int8"}, headers=headers)
    assert answer.status_code in (401, 403)
    assert catalog.calls == []


def test_a_body_is_not_read_before_its_sender_is_known(client: TestClient) -> None:
    body = b"x" * (LIMIT_BYTES + 1)
    assert client.post("/v2/models/m/infer", content=body).status_code == 401
    assert client.post("/v2/models/m/infer", content=body, headers=bearer(KEYS["app"])).status_code == 413


def test_a_401_says_how_a_key_is_sent(client: TestClient) -> None:
    answer = client.get("/v2")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {"error": "a key is needed: send it in the header Authorization: Bearer KEY"}


def test_more_than_the_quota_is_429_and_others_are_unaffected(client: TestClient, servable: FakeServable) -> None:
    assert [infer(client, QUOTA).status_code for _ in range(3)] == [200, 200, 429]
    refused = infer(client, QUOTA)
    assert refused.headers["retry-after"] == "10"
    assert "'few' may make 0.1 requests a second" in refused.json()["error"]
    assert infer(client, KEYS["app"]).status_code == 200
    assert len(servable.seen) == 3


def test_a_bad_request_is_held_against_the_holder_not_the_address(client: TestClient, servable: FakeServable) -> None:
    infer(client, KEYS["app"])
    client.post("/v1/models/m:predict", json={"instances": [[1, 2, 3, 4]]}, headers=bearer(KEYS["app"]))
    assert [origin for _, _, origin in servable.seen] == ["app", "app"]
    assert sender_of({"client": ("192.0.2.7", 1)}) == "192.0.2.7"
    assert sender_of({"client": ("192.0.2.7", 1), "retort.holder": Holder("web", frozenset())}) == "web"


def test_shared_memory_in_a_request_needs_the_scope_for_shared_memory(client: TestClient) -> None:
    region = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": region}
    statuses = [
        client.post("/v2/models/m/infer", json={"inputs": [tensor]}, headers=bearer(KEYS[name])).status_code
        for name in ("app", "ops")
    ]
    assert statuses == [403, 400], "off: no such region, for who may"


def test_the_access_log_and_the_metrics_name_the_holder(client: TestClient) -> None:
    with capture_logs() as lines:
        infer(client, KEYS["app"])
        infer(client, "nobody")
    told = [line.get("key") for line in lines if line["event"] == "request"]
    assert told == ["app", None]
    scrape = client.get("/metrics", headers=bearer(KEYS["scraper"])).text.splitlines()
    assert 'retort_key_requests{key="app",outcome="accepted"} 1' in scrape
    assert 'retort_key_requests{key="",outcome="unknown"} 1' in scrape
    assert 'retort_key_requests{key="ops",outcome="accepted"} 0' in scrape


def test_the_description_says_which_routes_ask_for_a_key(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    asked = {
        path: "security" in told and "401" in told["responses"] and "429" in told["responses"]
        for path, methods in document["paths"].items()
        for told in methods.values()
    }
    assert [path for path, asks in asked.items() if not asks] == ["/v2/health/live", "/v2/health/ready"]
