from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.gateway.http.schemas import CONTENT, SCHEMAS

# The table of routes in the protocol's document, as far as it is served today.
ROUTES = {
    ("get", "/v2"),
    ("get", "/v2/health/live"),
    ("get", "/v2/health/ready"),
    ("get", "/v2/models/stats"),
    ("get", "/v2/models/{model}"),
    ("get", "/v2/models/{model}/versions/{version}"),
    ("get", "/v2/models/{model}/ready"),
    ("get", "/v2/models/{model}/versions/{version}/ready"),
    ("get", "/v2/models/{model}/config"),
    ("get", "/v2/models/{model}/versions/{version}/config"),
    ("get", "/v2/models/{model}/stats"),
    ("get", "/v2/models/{model}/versions/{version}/stats"),
    ("post", "/v2/models/{model}/infer"),
    ("post", "/v2/models/{model}/versions/{version}/infer"),
    ("post", "/v2/repository/index"),
    ("post", "/v2/repository/models/{model}/load"),
    ("post", "/v2/repository/models/{model}/unload"),
    ("post", "/v2/repository/models/{model}/swap"),
    ("post", "/v2/repository/models/{model}/rollback"),
    ("get", "/v2/models/{model}/versions"),
    ("get", "/v2/models/{model}/versions/{version}/card"),
    ("get", "/v1/models"),
    ("get", "/v1/models/{model}"),
    ("post", "/v1/models/{model}:predict"),
    ("post", "/v1/models/{model}/versions/{version}:predict"),
    ("get", "/metrics"),
    *((m, path) for m in ("get", "post") for path in ("/v2/logging", "/v2/trace/setting")),
    ("get", "/v2/models/{model}/trace/setting"),
    ("post", "/v2/models/{model}/trace/setting"),
    *(
        (method, f"/v2/{kind}sharedmemory{path}")
        for kind in ("system", "cuda")
        for method, path in [
            ("get", "/status"),
            ("get", "/region/{region}/status"),
            ("post", "/region/{region}/register"),
            ("post", "/region/{region}/unregister"),
            ("post", "/unregister"),
        ]
    ),
}


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    return client.get("/openapi.json").json()  # type: ignore[no-any-return]


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, told) for path, methods in document["paths"].items() for method, told in methods.items()]


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*(references(part) for part in value.values()))
    return set().union(*(references(part) for part in value)) if isinstance(value, list) else set()


def test_the_document_is_the_same_each_time(client: TestClient, document: dict[str, Any]) -> None:
    assert client.get("/openapi.json").json() == document


def test_every_route_is_described_and_no_other(document: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(document)} == ROUTES


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [told["operationId"] for _, _, told in operations(document)]
    assert len(names) == len(set(names))


def test_every_name_in_a_path_is_a_parameter(document: dict[str, Any]) -> None:
    for _, path, told in operations(document):
        named = {p["name"] for p in told.get("parameters", []) if p["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known
    assert len(references(document)) > 20


def test_no_422_is_promised_and_every_refusal_has_the_error_body(document: dict[str, Any]) -> None:
    for _, path, told in operations(document):
        assert "422" not in told["responses"], path
        for code, answer in told["responses"].items():
            assert answer["description"]
            if code != "200":
                assert answer["content"] == CONTENT["Error"], (path, code)


@pytest.mark.parametrize(
    ("method", "path", "codes"),
    [
        ("post", "/v2/models/{model}/infer", {"200", "400", "401", "403", "404", "413", "429"}),
        (
            "post",
            "/v2/repository/models/{model}/swap",
            {"200", "400", "401", "403", "404", "409", "413", "429"},
        ),
        ("get", "/v2/health/ready", {"200"}),
        ("post", "/v2/systemsharedmemory/unregister", {"200", "400", "401", "403", "409", "429"}),
        ("get", "/v2", {"200", "401", "403", "429"}),
    ],
)
def test_the_codes_a_client_may_meet_are_told(
    document: dict[str, Any], method: str, path: str, codes: set[str]
) -> None:
    assert set(document["paths"][path][method]["responses"]) == codes | {"408", "431", "500", "503"}


def test_both_forms_of_inference_are_told(document: dict[str, Any]) -> None:
    infer = document["paths"]["/v2/models/{model}/infer"]["post"]
    assert set(infer["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    assert set(infer["responses"]["200"]["content"]) == {"application/json", "application/octet-stream"}
    headers = {p["name"] for p in infer["parameters"] if p["in"] == "header"}
    assert headers == {
        "Inference-Header-Content-Length",
        "Retort-Timeout-Ms",
        "X-Request-Id",
        "traceparent",
    }
    assert "Content-Encoding" in infer["requestBody"]["description"]
    lengths = [p["schema"]["minimum"] for p in infer["parameters"] if p["name"] == "Inference-Header-Content-Length"]
    assert lengths == [0], "0 is a raw request"


@pytest.mark.parametrize(
    ("path", "required"),
    [
        ("/v2/models/{model}/infer", True),
        ("/v2/repository/models/{model}/swap", True),
        ("/v2/repository/models/{model}/rollback", False),
        ("/v2/systemsharedmemory/region/{region}/register", True),
        ("/v2/repository/models/{model}/load", False),
        ("/v2/repository/index", False),
    ],
)
def test_a_body_is_needed_only_where_it_says_something(document: dict[str, Any], path: str, required: bool) -> None:
    assert document["paths"][path]["post"]["requestBody"]["required"] is required


def test_every_schema_is_used(document: dict[str, Any]) -> None:
    used = {reference.rpartition("/")[2] for reference in references(document)}
    assert used == SCHEMAS.keys()


def test_the_page_lists_every_route_and_loads_nothing(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for _, path in ROUTES:
        assert f"<code>{path}</code>" in page.text
    assert not re.search(r"<script|<link|src=|https?://", page.text)
