"""Whatever is sent to any route, its answer is one that the OpenAPI document tells, and none is a failure of ours (H4).

Each route gets values that its description allows, values that are wrong in a place, other JSON, and bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.json_schema import path_of, violations
from tests.support.process import ServerProcess
from tests.support.schema_values import ANYTHING, values
from tests.wire.conftest import REPOSITORY
from tests.wire.digits import INFER, OUTPUT, ROWS, is_answer_of, tensor

ANSWER_LIMIT_BYTES = 4096
LEAKS = ("Traceback", "Error:", "site-packages", "service.", ".py", str(REPOSITORY), "/tmp", "object at 0x")
SHORT, LONG = 20, 1500

MODELS = st.sampled_from(
    ["digits", "none", "..", "%2e%2e", "digits/../digits", "digits\0", "ü", "a:predict"]
) | st.text(min_size=1, max_size=300)
VERSIONS = st.sampled_from(["1", "1-int8", "9", "-1", "01", "..", "1e0"]) | st.text(min_size=1, max_size=300)


def mostly(usual: str, others: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 4).flatmap(lambda drawn: st.just(usual) if drawn else others)


JSON = {"Content-Type": "application/json"}
USUAL = {"model": "digits", "version": "1", "region": "none"}
NAMES = {"model": mostly("digits", MODELS), "version": mostly("1", VERSIONS), "region": MODELS}
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip)


GOOD: dict[str, Any] = {
    "InferRequest": {
        "id": "1",
        "parameters": {"priority": 1, "timeout": 10**7, "binary_data_output": False},
        "inputs": [tensor(ROWS[:1])],
        "outputs": [{"name": OUTPUT, "parameters": {"classification": 2}}],
    },
    "PredictRequest": {"instances": ROWS[:2].tolist(), "labels": True},
    "SwapOrder": {"version": "1-int8", "force": True, "watch_s": 1, "max_error_rate": 0.5},
    "LoadOrder": {"parameters": {"config": "{}", "unload_dependents": False}},
    "RegionOrder": {"key": "/none", "byte_size": 64, "offset": 0},
}


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("fuzz")
    env = {"RETORT_TRACE_FILE": str(folder / "trace.json"), "RETORT_ACCESS_LOG": "true"}
    with ServerProcess(["--repository", str(REPOSITORY), "--shared-memory"], folder, env=env) as running:
        yield running
        reload(running)
        answer = running.http.post(
            f"{INFER.replace('/infer', '/versions/1/infer')}", json={"inputs": [tensor(ROWS[:1])]}
        )
        assert is_answer_of("1", answer.json()["outputs"][0]["data"], 1)
        check_log(running.log())


@pytest.fixture(scope="module")
def document(fuzzed: ServerProcess) -> dict[str, Any]:
    return fuzzed.http.get("/openapi.json").json()  # type: ignore[no-any-return]


def check_log(log: str) -> None:
    """Every line is one object, and none tells of an error that nobody meant."""
    lines = [json.loads(line) for line in log.split("\n")[:-1]]
    assert {"level", "event", "timestamp"} <= set.intersection(*map(set, lines))
    assert [line for line in lines if "internal error" in line["event"] or line["level"] == "error"] == []


def operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(method, path) for path, methods in document["paths"].items() for method in methods]


@st.composite
def changed(draw: st.DrawFn, good: Any) -> Any:
    """`good` with anything in the place of one of its parts."""
    if not isinstance(good, dict | list) or not good or draw(st.integers(0, 4)) == 0:
        return draw(ANYTHING)
    keys = list(good) if isinstance(good, dict) else list(range(len(good)))
    at = draw(st.sampled_from(keys))
    copy = good.copy()
    copy[at] = draw(changed(good[at]))
    return copy


def body_of(told: dict[str, Any]) -> str:
    """The name of an operation's body, "" for none."""
    content = told.get("requestBody", {}).get("content", {})
    return str(content["application/json"]["schema"]["$ref"].rpartition("/")[2]) if content else ""


def bodies(told: dict[str, Any], schemas: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """What may be sent to an operation: as it is described, nearly so, and anything."""
    content = told.get("requestBody", {}).get("content", {})
    if not content:
        return st.just(b"")
    schema = content["application/json"]["schema"]
    documents = values(schema, schemas) | values(schema, schemas, wrong=False) | ANYTHING
    name = body_of(told)
    if name in GOOD:
        documents = st.just(GOOD[name]) | changed(GOOD[name]) | documents
    as_json = documents.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    return as_json | st.binary(max_size=200) | st.just(b"")


def headers(told: dict[str, Any]) -> st.SearchStrategy[dict[str, str]]:
    """Its headers, with values of any kind."""
    named = [one for one in told.get("parameters", []) if one["in"] == "header"]
    optional = {one["name"]: _header_values(one["schema"]) for one in named}
    kind = mostly("application/json", HEADER_TEXT)
    more = {"Accept-Encoding": HEADER_TEXT, "Connection": st.sampled_from(["close", "keep-alive", "x"])}
    return st.fixed_dictionaries({"Content-Type": kind}, optional=optional | more)


def _header_values(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    return (
        values(schema, {}, wrong=False).map(str).filter(str.isascii).filter(str.isprintable).map(str.strip)
        | HEADER_TEXT
    )


def check(document: dict[str, Any], told: dict[str, Any], answer: Any) -> None:
    """An answer that is told, of the shape that is told, and that gives nothing away."""
    assert str(answer.status_code) in told["responses"], (answer.request.url, answer.status_code, answer.text)
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    content = told["responses"][str(answer.status_code)]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content
    if kind == "application/json":
        found = list(violations(answer.json(), content[kind]["schema"], document["components"]["schemas"]))
        assert found == [], answer.request.url
    if answer.status_code >= 400:
        assert len(answer.content) <= ANSWER_LIMIT_BYTES
        assert [leak for leak in LEAKS if leak in answer.text] == [], answer.text


def fuzz(server: ServerProcess, document: dict[str, Any], examples: int) -> None:
    for method, path in operations(document):
        seen = fuzz_one(server, document, method, path, examples)
        # A request that is refused for its name says nothing of its body; no region is there to be asked for.
        assert 200 in seen or "sharedmemory" in path, (method, path, seen)


def fuzz_one(server: ServerProcess, document: dict[str, Any], method: str, path: str, examples: int) -> set[int]:
    """The status codes that came."""
    told = document["paths"][path][method]
    seen: set[int] = set()
    names = {name: of_it for name, of_it in NAMES.items() if f"{{{name}}}" in path}

    # The short form sends the same every time, so that it means the same every time.
    @settings(
        derandomize=examples == SHORT,
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        chosen=st.fixed_dictionaries(names),
        body=bodies(told, document["components"]["schemas"]),
        sent=headers(told),
    )
    def one(chosen: dict[str, str], body: bytes, sent: dict[str, str]) -> None:
        quoted = {name: quote(value.encode("utf-8", "replace"), safe="") for name, value in chosen.items()}
        answer = server.http.request(method, path_of(path, quoted), content=body, headers=sent)
        seen.add(answer.status_code)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        if not any(leads_elsewhere(value) for value in quoted.values()):
            check(document, told, answer)

    one()
    reload(server)
    usual = server.http.request(
        method, path_of(path, USUAL), content=json.dumps(GOOD.get(body_of(told), {})), headers=JSON
    )
    check(document, told, usual)
    seen.add(usual.status_code)
    return seen


def reload(server: ServerProcess) -> None:
    """Brings back what may have been unloaded, with a version to go back to."""
    assert server.http.post("/v2/repository/models/digits/load", json={}).status_code == 200
    for version in ("1-int8", "1"):
        order = {"version": version, "force": True}
        assert server.http.post("/v2/repository/models/digits/swap", json=order).status_code == 200


def leads_elsewhere(name: str) -> bool:
    """Whether a path with this name in it is another route's, or nobody's, once its %2F and %3A are decoded."""
    return "%2F" in name or "%3A" in name or name in (".", "..")


def test_every_answer_is_told(fuzzed: ServerProcess, document: dict[str, Any]) -> None:
    assert len(operations(document)) > 30
    fuzz(fuzzed, document, SHORT)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_answer_is_told_in_the_long_form(fuzzed: ServerProcess, document: dict[str, Any]) -> None:
    fuzz(fuzzed, document, LONG)


def test_the_check_finds_what_is_not_told(fuzzed: ServerProcess, document: dict[str, Any]) -> None:
    """Negative control: each kind of fault that is looked for."""
    path = "/v2/models/{model}/infer"
    told = document["paths"][path]["post"]
    check(document, told, fuzzed.http.post(INFER, content=b"{"))
    without = {"responses": {code: one for code, one in told["responses"].items() if code != "400"}}
    with pytest.raises(AssertionError):
        check(document, without, fuzzed.http.post(INFER, content=b"{"))
    for wrong in (
        {"error": "Traceback (most recent"},
        {"error": "x" * ANSWER_LIMIT_BYTES},
        {"detail": 1, "error": "x"},
    ):
        with pytest.raises(AssertionError):
            check(document, told, httpx.Response(400, json=wrong, request=httpx.Request("POST", INFER)))
    with pytest.raises(AssertionError):
        check(document, told, httpx.Response(500, json={"error": "x"}, request=httpx.Request("POST", INFER)))
    for log in ("no object\n", '{"event": "internal error", "level": "error", "timestamp": "x"}\n'):
        with pytest.raises((AssertionError, ValueError)):
            check_log(log)
