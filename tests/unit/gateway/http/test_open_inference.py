from __future__ import annotations

import gzip
import zlib
from typing import Any

import numpy as np
import orjson
import pytest
from starlette.testclient import TestClient

from service.core.contract import TensorSpec
from service.core.errors import Expired, Rejected, RunFailed
from tests.unit.gateway.conftest import LIMIT_BYTES
from tests.unit.gateway.fake_catalog import ROW, FakeCatalog, FakeServable

X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 1, 2, 3]}
INFER = "/v2/models/m/infer"


def failures(servable: FakeServable) -> dict[str, int]:
    return {reason: failed.count for reason, failed in servable.statistics.failures.items() if failed.count}


def test_a_json_request_is_answered_by_the_active_version(client: TestClient, servable: FakeServable) -> None:
    answer = client.post(INFER, json={"id": "7", "inputs": [X]})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "id": "7",
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [0, 2, 4, 6]}],
    }
    assert servable.leases == 0


def test_a_version_is_answered_by_itself(client: TestClient) -> None:
    answer = client.post("/v2/models/m/versions/1-int8/infer", json={"inputs": [X]})
    assert answer.json()["model_version"] == "1-int8"


def test_binary_in_and_binary_out(client: TestClient) -> None:
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    answer = client.post(
        INFER, content=head + ROW.tobytes(), headers={"Inference-Header-Content-Length": str(len(head))}
    )
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    assert orjson.loads(answer.content[:length])["outputs"][0]["parameters"] == {"binary_data_size": 16}
    np.testing.assert_array_equal(np.frombuffer(answer.content[length:], np.float32), ROW * 2)


def test_the_deadline_and_the_peer_reach_the_version(client: TestClient, servable: FakeServable) -> None:
    client.post(INFER, json={"inputs": [X]})
    client.post(INFER, json={"inputs": [X]}, headers={"Retort-Timeout-Ms": "250"})
    client.post(INFER, json={"inputs": [X], "parameters": {"timeout": 1000}}, headers={"Retort-Timeout-Ms": "250000"})
    (_, never, peer), (_, soon, _), (asked, later, _) = servable.seen
    assert peer == "127.0.0.1"
    assert never.at_s == float("inf")
    assert soon.at_s < float("inf")
    assert later.at_s > soon.at_s + 100
    assert asked.timeout_us == 1000


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/none/infer", 404),
        ("/v2/models/m/versions/2/infer", 404),
        ("/v2/models/..%2F..%2Fetc/infer", 404),
        ("/v2/models/%2e%2e/infer", 404),
        ("/v2/models/..;/infer", 404),
        ("/v2/models/m%00/infer", 404),
        ("/v2/models/m%0A/infer", 404),
        ("/v2/models/" + "m" * 300 + "/infer", 404),
        ("/v2/models/" + "%00" * 2000 + "/infer", 404),
        ("/v2/models//infer", 404),
        ("/v2/models/m/infer/", 404),
        ("/v2/models/m%ff/infer", 404),
    ],
)
def test_a_name_that_is_none_is_not_found(client: TestClient, path: str, status: int) -> None:
    answer = client.post(path, json={"inputs": [X]})
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the request is empty"),
        (b'{"inputs":[NaN]}', "not valid JSON"),
        (orjson.dumps({"inputs": [{**X, "shape": [1, 5]}]}), "has 4 elements, expected 5"),
        (orjson.dumps({"inputs": [{**X, "shape": [2, 2]}]}), "expected [-1, 4]"),
        (orjson.dumps({"inputs": [X], "outputs": [{"name": "z"}]}), "no output 'z'"),
    ],
)
def test_a_wrong_request_is_refused_and_counted_once(
    client: TestClient, servable: FakeServable, content: bytes, words: str
) -> None:
    answer = client.post(INFER, content=content)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert failures(servable) == {"OTHER": 1}
    assert servable.leases == 0
    assert client.post(INFER, json={"inputs": [X]}).status_code == 200


@pytest.mark.parametrize("name", ["Inference-Header-Content-Length", "Retort-Timeout-Ms"])
def test_a_header_that_is_no_number_is_refused_and_counted(
    client: TestClient, servable: FakeServable, name: str
) -> None:
    answer = client.post(INFER, json={"inputs": [X]}, headers={name: "ten"})
    assert answer.status_code == 400
    assert name in answer.json()["error"]
    assert failures(servable) == {"OTHER": 1}


def test_a_body_over_the_limit_is_refused(client: TestClient, servable: FakeServable) -> None:
    assert client.post(INFER, content=b" " * (LIMIT_BYTES + 1)).status_code == 413

    def pieces() -> Any:
        for _ in range(11):
            yield b" " * (LIMIT_BYTES // 10)

    assert client.post(INFER, content=pieces()).status_code == 413
    assert client.post(INFER, content=b" " * LIMIT_BYTES).status_code == 400
    assert servable.seen == []


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [(Rejected("queue full", 2), 503, "2"), (Expired("too late"), 503, "1"), (RunFailed("it failed"), 500, None)],
)
def test_what_the_version_raises_becomes_its_status(
    client: TestClient, servable: FakeServable, error: Exception, status: int, retry: str | None
) -> None:
    servable.error = error
    answer = client.post(INFER, json={"inputs": [X]})
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry)
    assert answer.json() == {"error": str(error)}
    assert servable.leases == 0


def test_a_version_that_is_not_ready_is_unavailable(client: TestClient, catalog: FakeCatalog) -> None:
    catalog.states["1"] = "LOADING"
    answer = client.post(INFER, json={"inputs": [X]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_an_answer_that_json_cannot_carry_asks_for_binary_and_is_no_success(
    client: TestClient, servable: FakeServable
) -> None:
    servable.answer = lambda arrays: {"y": arrays["x"] * np.float32("nan")}
    answer = client.post(INFER, json={"inputs": [X]})
    assert answer.status_code == 400
    assert "ask for binary" in answer.json()["error"]
    assert (failures(servable), servable.statistics.success.count) == ({"OTHER": 1}, 0)
    assert client.post(INFER, json={"inputs": [X], "parameters": {"binary_data_output": True}}).status_code == 200
    assert (failures(servable), servable.statistics.success.count) == ({"OTHER": 1}, 1)


def test_the_server_names_the_extensions_that_work(client: TestClient) -> None:
    described = client.get("/v2").json()
    assert described["name"] == "retort"
    assert set(described["extensions"]) == {
        "binary_tensor_data",
        "classification",
        "logging",
        "trace",
        "parameters",
        "schedule_policy",
        "sequence",
        "model_configuration",
        "model_repository",
        "model_repository(unload_dependents)",
        "statistics",
    }


def test_metadata_and_configuration_are_those_of_the_version_named(client: TestClient, catalog: FakeCatalog) -> None:
    catalog.servables[1].inputs = {"other": TensorSpec("other", "INT64", ("n", 7))}
    assert client.get("/v2/models/m").json()["inputs"][0]["name"] == "x"
    assert client.get("/v2/models/m").json()["versions"] == ["1", "1-int8"]
    assert client.get("/v2/models/m/versions/1-int8").json()["inputs"][0]["name"] == "other"
    assert client.get("/v2/models/m/config").json()["input"][0]["dims"] == [4]
    assert client.get("/v2/models/m/versions/1-int8/config").json()["input"][0]["dims"] == [7]
    assert client.get("/v2/models/none").status_code == client.get("/v2/models/none/config").status_code == 404


def test_statistics_are_of_all_of_one_model_or_of_one_version(client: TestClient) -> None:
    client.post(INFER, json={"inputs": [X]})

    def named(path: str) -> list[tuple[str, str, int]]:
        stats = client.get(path).json()["model_stats"]
        return [(s["name"], s["version"], s["inference_stats"]["success"]["count"]) for s in stats]

    both = [("m", "1", 1), ("m", "1-int8", 0)]
    assert named("/v2/models/stats") == named("/v2/models/m/stats") == both
    assert named("/v2/models/m/versions/1/stats") == both[:1]
    assert client.get("/v2/models/none/stats").status_code == 404


def test_an_output_is_answered_as_its_highest_classes(client: TestClient, servable: FakeServable) -> None:
    servable.config = servable.config.model_copy(update={"labels": ("zero", "one", "two")})
    wanted = {"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": 2}}]}
    assert client.post(INFER, json=wanted).json()["outputs"] == [
        {"name": "y", "datatype": "BYTES", "shape": [1, 2], "data": ["6.000000:3", "4.000000:2:two"]}
    ]


def test_a_raw_request_is_answered_in_binary(client: TestClient) -> None:
    answer = client.post(INFER, content=ROW.tobytes(), headers={"Inference-Header-Content-Length": "0"})
    length = int(answer.headers["inference-header-content-length"])
    np.testing.assert_array_equal(np.frombuffer(answer.content[length:], np.float32), ROW * 2)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(client: TestClient, coding: str) -> None:
    rows = 500
    tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16 * rows}}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    plain = head + ROW.tobytes() * rows
    packed = gzip.compress(plain) if coding == "gzip" else zlib.compress(plain)
    headers = {"Content-Encoding": coding, "Accept-Encoding": coding, "Inference-Header-Content-Length": str(len(head))}
    with client.stream("POST", INFER, content=packed, headers=headers) as answer:
        sent = b"".join(answer.iter_raw())
    assert (answer.status_code, answer.headers["content-encoding"]) == (200, coding)
    assert answer.headers["content-length"] == str(len(sent))
    body = gzip.decompress(sent) if coding == "gzip" else zlib.decompress(sent)
    length = int(answer.headers["inference-header-content-length"])
    np.testing.assert_array_equal(np.frombuffer(body[length:], np.float32).reshape(-1, 4), np.tile(ROW * 2, (rows, 1)))


def test_an_answer_is_not_compressed_unasked_nor_when_small(client: TestClient) -> None:
    small = client.post(INFER, json={"inputs": [X]}, headers={"Accept-Encoding": "gzip"})
    large = client.post(
        INFER,
        json={"inputs": [X | {"shape": [500, 4], "data": [0, 1, 2, 3] * 500}]},
        headers={"Accept-Encoding": "identity"},
    )
    assert "content-encoding" not in small.headers
    assert "content-encoding" not in large.headers


def test_a_body_that_grows_over_the_limit_is_413(client: TestClient) -> None:
    answer = client.post(INFER, content=gzip.compress(b" " * (LIMIT_BYTES + 1)), headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    assert "once decoded" in answer.json()["error"]


def test_a_sequence_goes_on_with_the_version_that_began_it(client: TestClient, catalog: FakeCatalog) -> None:
    active, older = catalog.servables
    catalog.began["abc"] = older
    answer = client.post(INFER, json={"inputs": [X], "parameters": {"sequence_id": "abc"}})
    assert (answer.json()["model_version"], len(active.seen), len(older.seen)) == ("1-int8", 0, 1)
    assert (active.statistics.success.count, older.statistics.success.count) == (0, 1)
    assert "sequence" in client.get("/v2").json()["extensions"]
