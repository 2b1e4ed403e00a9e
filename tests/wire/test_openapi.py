"""What the OpenAPI document says of answers is what a running server answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.json_schema import path_of, violations
from tests.support.process import ServerProcess
from tests.wire.conftest import REPOSITORY
from tests.wire.digits import OUTPUT, ROWS, tensor

NAMES = {"model": "digits", "version": "1-int8", "region": "none"}
INFER, PREDICT = "/v2/models/{model}/infer", "/v1/models/{model}:predict"
MODEL, REGION = "/v2/repository/models/{model}", "/v2/systemsharedmemory/region/{region}"
INFERENCE = {"inputs": [tensor(ROWS[:2])], "id": "7"}
BINARY = {"parameters": {"binary_data_output": True}}
CLASSES = {"outputs": [{"name": OUTPUT, "parameters": {"classification": 2}}]}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with everything on that can be switched on."""
    folder = tmp_path_factory.mktemp("openapi")
    env = {"RETORT_TRACE_FILE": str(folder / "trace.json")}
    with ServerProcess(["--repository", str(REPOSITORY), "--shared-memory"], folder, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def document(local: ServerProcess) -> dict[str, Any]:
    return local.http.get("/openapi.json").json()  # type: ignore[no-any-return]


def check(document: dict[str, Any], method: str, path: str, answer: Any) -> None:
    """Holds an answer against the document."""
    told = document["paths"][path][method]["responses"]
    assert str(answer.status_code) in told, answer.text
    content = told[str(answer.status_code)]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content
    if kind == "application/json":
        schema = content[kind]["schema"]
        assert list(violations(answer.json(), schema, document["components"]["schemas"])) == [], path
    for name in answer.headers:
        if name not in ("content-length", "content-type", "date", "retry-after"):
            assert name in {header.lower() for header in told[str(answer.status_code)]["headers"]}, (path, name)


def test_each_route_that_is_read_answers_as_it_is_told(local: ServerProcess, document: dict[str, Any]) -> None:
    read = [path for path, methods in document["paths"].items() if "get" in methods]
    assert len(read) > 20
    for path in read:
        check(document, "get", path, local.http.get(path_of(path, NAMES)))
        if "{" in path:
            check(document, "get", path, local.http.get(path_of(path, NAMES | {"model": "none"})))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (INFER, INFERENCE, 200),
        (INFER, INFERENCE | BINARY, 200),
        (INFER, INFERENCE | CLASSES, 200),
        (INFER, {"inputs": []}, 400),
        (PREDICT, {"instances": ROWS[:2].tolist()}, 200),
        (PREDICT, {"inputs": ROWS[:2].tolist()}, 200),
        (PREDICT, {}, 400),
        ("/v2/repository/index", {"ready": True}, 200),
        (f"{MODEL}/load", {}, 200),
        (f"{MODEL}/load", {"parameters": {"x": 1}}, 400),
        (f"{MODEL}/swap", {"version": "1-int8"}, 200),
        (f"{MODEL}/rollback", {}, 200),
        (f"{MODEL}/swap", {"version": "9"}, 404),
        ("/v2/trace/setting", {"trace_rate": "5"}, 200),
        ("/v2/trace/setting", {"trace_level": ["NONE"]}, 400),
        ("/v2/models/{model}/trace/setting", {"trace_count": "5"}, 200),
        ("/v2/logging", {"log_verbose_level": 1}, 200),
        (f"{REGION}/register", {"key": "/nothing-of-ours", "byte_size": 1}, 400),
        (f"{REGION}/unregister", {}, 200),
        ("/v2/cudasharedmemory/unregister", {}, 200),
    ],
)
def test_each_route_that_is_posted_to_answers_as_it_is_told(
    local: ServerProcess, document: dict[str, Any], path: str, body: Any, status: int
) -> None:
    answer = local.http.post(path_of(path, NAMES), json=body, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == status, answer.text
    check(document, "post", path, answer)


@pytest.mark.parametrize("path", [INFER, PREDICT])
def test_a_compressed_answer_is_told(local: ServerProcess, document: dict[str, Any], path: str) -> None:
    body = (
        {"instances": [[[[0.0] * 8] * 8]] * 200} if path == PREDICT else {"inputs": [tensor(ROWS[:1].repeat(200, 0))]}
    )
    answer = local.http.post(path_of(path, NAMES), json=body, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    check(document, "post", path, answer)
    late = local.http.post(path_of(path, NAMES), json=body, headers={"Retort-Timeout-Ms": "0"})
    assert late.status_code == 400
    check(document, "post", path, late)


def test_the_check_finds_what_is_not_told() -> None:
    schemas = {"S": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}}
    found = [
        list(violations(value, {"$ref": "#/S"}, schemas)) for value in ({"a": 1}, {}, {"a": 0}, {"a": 1, "b": 2}, 3)
    ]
    assert [len(sentences) for sentences in found] == [0, 1, 1, 1, 1]
