from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from service.core.errors import BadModel, Conflict, DoesNotFit, NotFound, Refused
from service.gateway.budget import ByteBudget
from service.gateway.http import build
from service.repository.overlay import Override
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth
from tests.unit.serving.cards import card

Connect = Callable[..., TestClient]

ONE = "/v2/repository/models/m"
ADMIN = {f"{ONE}/load": {}, f"{ONE}/unload": {}, f"{ONE}/swap": {"version": "1-int8"}, f"{ONE}/rollback": {}}
INDEX = [
    {"name": "m", "version": "1", "state": "READY", "reason": ""},
    {"name": "m", "version": "1-int8", "state": "UNAVAILABLE", "reason": ""},
]


def test_the_index_lists_every_version(client: TestClient, catalog: FakeCatalog) -> None:
    catalog.states["1-int8"] = "FAILED"
    assert client.post("/v2/repository/index").json() == INDEX
    assert client.post("/v2/repository/index", json={}).json() == INDEX
    assert client.post("/v2/repository/index", json={"ready": True}).json() == INDEX[:1]


@pytest.mark.parametrize(
    ("body", "words"),
    [({"ready": 1}, "'ready' of the request"), ({"redy": True}, "'redy' of the request: is not known")],
)
def test_a_wrong_index_request_is_refused(client: TestClient, body: dict[str, Any], words: str) -> None:
    answer = client.post("/v2/repository/index", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize("parameters", [{}, {"unload_dependents": False}])
def test_load_and_unload_take_what_triton_s_client_sends(
    client: TestClient, catalog: FakeCatalog, parameters: dict[str, Any]
) -> None:
    for what in ("load", "unload"):
        answer = client.post(f"{ONE}/{what}", json={"parameters": parameters})
        assert (answer.status_code, answer.json()) == (200, {})
        assert client.post(f"{ONE}/{what}").status_code == 200
        assert client.post(f"{ONE}/{what}", content=b"{}").status_code == 200
    assert [call[0] for call in catalog.calls] == ["load"] * 3 + ["unload"] * 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"parameters": {"file:1/model.onnx": "AAAA"}}, "need the parameter 'config' beside them"),
        ({"parameters": {"config": "{}", "file:1/model.onnx": "?"}}, "must be the file's bytes in base64"),
        ({"parameters": [1]}, "'parameters' of the request is a list"),
        ([], "expected a JSON object"),
    ],
)
def test_a_wrong_load_changes_nothing(client: TestClient, catalog: FakeCatalog, body: Any, words: str) -> None:
    answer = client.post(f"{ONE}/load", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert catalog.calls == []


def test_a_load_hands_on_what_it_brings(client: TestClient, catalog: FakeCatalog) -> None:
    data = b"m" * 80_000  # more than the other orders may have
    parameters = {"config": "{}", "file:1/model.onnx": base64.b64encode(data).decode()}
    assert client.post(f"{ONE}/load", json={"parameters": parameters}).status_code == 200
    assert catalog.calls == [("load", "m", Override("{}", {"1/model.onnx": data}))]


def test_an_unload_takes_no_configuration(client: TestClient, catalog: FakeCatalog) -> None:
    answer = client.post(f"{ONE}/unload", json={"parameters": {"config": "{}"}})
    assert (answer.status_code, catalog.calls) == (400, [])
    assert "parameter 'config' of an unload is not known" in answer.json()["error"]


def test_a_swap_answers_with_its_report(client: TestClient, catalog: FakeCatalog) -> None:
    answer = client.post(f"{ONE}/swap", json={"version": "1-int8"})
    assert answer.json() == {
        "model": "m",
        "from": "1",
        "to": "1-int8",
        "agreement": None,
        "golden": {"n": 32, "max_abs": 0.0},
        "load_ms": 1.5,
        "warm_ms": 2.5,
        "drain_ms": 0.0,
        "warning": None,
    }
    assert catalog.calls == [("swap", "m", "1-int8", {"force": False, "watch_s": None, "max_error_rate": None})]


def test_a_swap_s_options_reach_the_catalog(client: TestClient, catalog: FakeCatalog) -> None:
    client.post(f"{ONE}/swap", json={"version": "2", "force": True, "watch_s": 60, "max_error_rate": 0.05})
    assert catalog.calls == [("swap", "m", "2", {"force": True, "watch_s": 60, "max_error_rate": 0.05})]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "'version' of the request: field required"),
        ({"version": 1}, "'version' of the request: input should be a valid string"),
        ({"version": ""}, "'version' of the request"),
        ({"version": "v" * 256}, "'version' of the request"),
        ({"version": "1", "force": "yes"}, "'force' of the request"),
        ({"version": "1", "forse": True}, "'forse' of the request: is not known"),
        ({"version": "1", "x" * 50_000: True}, "of the request: is not known"),
        ({"version": "1", "watch_s": 0}, "'watch_s' of the request"),
        ({"version": "1", "watch_s": 1e9}, "'watch_s' of the request"),
        ({"version": "1", "max_error_rate": 2}, "'max_error_rate' of the request"),
        ([], "expected a JSON object"),
        ("1", "expected a JSON object"),
    ],
)
def test_a_wrong_swap_is_refused_in_one_sentence(
    client: TestClient, catalog: FakeCatalog, body: Any, words: str
) -> None:
    answer = client.post(f"{ONE}/swap", json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]
    assert len(answer.content) < 500
    assert catalog.calls == []


def test_an_order_has_a_small_body(client: TestClient) -> None:
    assert client.post(f"{ONE}/swap", json={"version": "v" * 70_000}).status_code == 413


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("the gate says no", {"verdict": "fail", "reasons": ["too many flips"]}), 409),
        (Conflict("a newer swap took its place"), 409),
        (NotFound("there is no version '9'"), 404),
        (BadModel("model.onnx is truncated"), 400),
        (DoesNotFit("it needs 3 GiB, 1 GiB is free", 30), 503),
    ],
)
def test_a_swap_that_fails_says_why(client: TestClient, catalog: FakeCatalog, error: Exception, status: int) -> None:
    catalog.error = error
    answer = client.post(f"{ONE}/swap", json={"version": "9"})
    assert answer.status_code == status
    assert answer.json()["error"] == str(error)
    if isinstance(error, Refused):
        assert answer.json()["reasons"] == ["too many flips"]


def test_a_rollback_takes_no_arguments(client: TestClient) -> None:
    assert client.post(f"{ONE}/rollback", json={}).json()["to"] == "1"
    assert client.post(f"{ONE}/rollback", json={"version": "1"}).status_code == 400


@pytest.mark.parametrize("path", ADMIN)
def test_who_is_not_on_this_machine_changes_nothing(connect: Connect, catalog: FakeCatalog, path: str) -> None:
    body = ADMIN[path]
    assert connect().post(path, json=body).status_code == 200
    catalog.calls.clear()
    refused = [
        connect(peer=("10.0.0.7", 5)).post(path, json=body),
        connect(base_url="http://example.com").post(path, json=body),
        connect().post(path, json=body, headers={"X-Forwarded-For": "127.0.0.1"}),
        connect().post(path, json=body, headers={"Forwarded": "for=127.0.0.1"}),
        connect().post(path, content=b"{}", headers={"Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site"}),
        connect().post(path, content=b"{}", headers={"Origin": "http://example.com"}),
    ]
    assert [answer.status_code for answer in refused] == [403] * 6
    assert all(list(answer.json()) == ["error"] for answer in refused)
    assert catalog.calls == []


@pytest.mark.parametrize("path", [f"{ONE}/swap", f"{ONE}/rollback"])
def test_our_own_routes_need_a_content_type(client: TestClient, path: str) -> None:
    assert client.post(path, content=b"{}").status_code == 403
    assert client.post(path, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 403


@pytest.mark.parametrize("path", [f"{ONE}/load", f"{ONE}/unload"])
@pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-www-form-urlencoded"])
def test_triton_s_routes_take_what_its_clients_call_their_json(client: TestClient, path: str, kind: str) -> None:
    assert client.post(path, content=b"{}", headers={"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/models/m/infer"])
def test_whoever_may_ask_need_not_be_on_this_machine(connect: Connect, path: str) -> None:
    assert connect(peer=("10.0.0.7", 5), base_url="http://example.com").post(path, json={}).status_code in (200, 400)


@pytest.mark.parametrize("what", ["load", "unload", "swap", "rollback"])
def test_an_unknown_model_is_not_found(client: TestClient, what: str) -> None:
    body = {"version": "1"} if what == "swap" else {}
    assert client.post(f"/v2/repository/models/none/{what}", json=body).status_code == 404


def test_versions_are_told_with_what_their_cards_say(client: TestClient, catalog: FakeCatalog) -> None:
    catalog.cards["1-int8"] = card()
    full, variant = client.get("/v2/models/m/versions").json()["versions"]
    assert (full["version"], full["active"], full["variant_of"]) == ("1", True, None)
    assert (variant["variant_of"], variant["verdict"], variant["agreement"]) == ("1", "pass", 0.99)
    assert client.get("/v2/models/none/versions").status_code == 404


def test_versions_are_told_even_when_none_is_loaded(client: TestClient, catalog: FakeCatalog) -> None:
    for servable in catalog.servables:
        servable.model = "m"
    catalog.loaded = list  # type: ignore[method-assign]
    assert len(client.get("/v2/models/m/versions").json()["versions"]) == 2


def test_a_card_is_shown_whole(client: TestClient, catalog: FakeCatalog) -> None:
    catalog.cards["1-int8"] = card()
    shown = client.get("/v2/models/m/versions/1-int8/card")
    assert shown.headers["content-type"] == "application/json"
    assert shown.content == card().to_json()


@pytest.mark.parametrize("version", ["1", "none", "%2e%2e"])
def test_a_version_without_a_card_has_none(client: TestClient, version: str) -> None:
    assert client.get(f"/v2/models/m/versions/{version}/card").status_code == 404


def test_a_load_for_which_there_is_never_room_is_not_told_to_try_again(catalog: FakeCatalog) -> None:
    app = build(cast("Any", catalog), cast("Any", FakeHealth()), max_body_bytes=1000, budget=ByteBudget(150))
    with TestClient(cast("Any", app), client=("127.0.0.1", 1)) as client:
        answer = client.post("/v2/repository/models/m/load", content=b" " * 151, headers={"host": "localhost"})
    assert answer.status_code == 413
    assert "takes 151 bytes or more, and RETORT_MAX_IN_FLIGHT_BYTES has room for 150" in answer.json()["error"]
    assert "retry-after" not in answer.headers
