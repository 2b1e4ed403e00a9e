from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.gateway.budget import ByteBudget
from service.gateway.http import build
from service.gateway.shared_memory import SharedMemory
from tests.unit.gateway.conftest import LIMIT_BYTES, LOOPBACK, PEER
from tests.unit.gateway.fake_catalog import ROW, FakeCatalog, FakeHealth

ALL, ONE = "/v2/systemsharedmemory", "/v2/systemsharedmemory/region/r"
CUDA = "/v2/cudasharedmemory"
ORDER = {"key": "object", "offset": 16, "byte_size": 64}
IN_REGION = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
REQUEST = {
    "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": IN_REGION}],
    "outputs": [{"name": "y", "parameters": IN_REGION | {"shared_memory_offset": 32}}],
}
EVERY_ROUTE = [
    ("GET", f"{ALL}/status"),
    ("GET", f"{ONE}/status"),
    ("POST", f"{ONE}/register"),
    ("POST", f"{ONE}/unregister"),
    ("POST", f"{ALL}/unregister"),
    ("GET", f"{CUDA}/status"),
    ("GET", f"{CUDA}/region/r/status"),
    ("POST", f"{CUDA}/region/r/register"),
    ("POST", f"{CUDA}/region/r/unregister"),
    ("POST", f"{CUDA}/unregister"),
]


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    (tmp_path / "object").write_bytes(bytes(16) + ROW.tobytes() + bytes(100))
    return tmp_path / "object"


@pytest.fixture
def shared(memory: Path) -> SharedMemory:
    return SharedMemory(True, LIMIT_BYTES, folder=memory.parent)


@pytest.fixture
def app(shared: SharedMemory, catalog: FakeCatalog, health: FakeHealth) -> Any:
    return build(cast("Any", catalog), cast("Any", health), max_body_bytes=LIMIT_BYTES, shared_memory=shared)


@pytest.fixture
def sharing(app: Any) -> Iterator[TestClient]:
    """A client of a server that has shared memory on."""
    with TestClient(app, base_url=LOOPBACK, client=PEER) as client:
        yield client


def test_a_region_is_registered_told_and_forgotten(sharing: TestClient) -> None:
    assert sharing.post(f"{ONE}/register", json=ORDER).json() == {}
    assert sharing.get(f"{ALL}/status").json() == sharing.get(f"{ONE}/status").json() == [{"name": "r", **ORDER}]
    assert sharing.post(f"{ONE}/register", json=ORDER).status_code == 409
    assert sharing.post(f"{ONE}/unregister").json() == {}
    assert sharing.get(f"{ONE}/status").status_code == 404
    assert sharing.post(f"{ALL}/unregister").json() == {}
    assert sharing.get(f"{ALL}/status").json() == []


def test_what_a_request_reads_counts_for_the_bytes_in_flight(
    memory: Path, shared: SharedMemory, catalog: FakeCatalog, health: FakeHealth
) -> None:
    memory.write_bytes(bytes(1 << 16))
    budget = ByteBudget(2000)
    app = build(
        cast("Any", catalog), cast("Any", health), max_body_bytes=LIMIT_BYTES, shared_memory=shared, budget=budget
    )
    with TestClient(app, base_url=LOOPBACK, client=PEER) as client:
        client.post(f"{ONE}/register", json={"key": "object", "offset": 0, "byte_size": 1 << 16})
        for rows, status in ((1, 200), (128, 413)):
            region = IN_REGION | {"shared_memory_byte_size": 16 * rows}
            x = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "parameters": region}
            request = {"inputs": [x], "outputs": [{"name": "y", "parameters": region}]}
            assert client.post("/v2/models/m/infer", json=request).status_code == status
        assert budget.used_bytes == 0


def test_the_form_that_triton_s_c_client_sends_is_taken_from_it_and_from_no_page(sharing: TestClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert sharing.post(f"{ALL}/unregister", headers=form).status_code == 200
    for page in ({"origin": "http://example.com"}, {"sec-fetch-site": "cross-site"}):
        assert sharing.post(f"{ALL}/unregister", headers=form | page).status_code == 403


def test_the_offset_may_be_left_out(sharing: TestClient) -> None:
    sharing.post(f"{ONE}/register", json={"key": "object", "byte_size": 8})
    assert sharing.get(f"{ONE}/status").json()[0]["offset"] == 0


def test_tensors_go_through_the_region_and_back(sharing: TestClient, memory: Path) -> None:
    sharing.post(f"{ONE}/register", json=ORDER)
    answer = sharing.post("/v2/models/m/infer", json=REQUEST)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 4]}]
    np.testing.assert_array_equal(np.frombuffer(memory.read_bytes(), np.float32, 4, 48), ROW * 2)


def test_a_region_unregistered_while_the_model_runs_still_gets_the_answer(
    shared: SharedMemory, sharing: TestClient, memory: Path, catalog: FakeCatalog
) -> None:
    sharing.post(f"{ONE}/register", json=ORDER)
    double = catalog.servables[0].answer

    def answer(arrays: Any) -> Any:
        shared.unregister("r")
        return double(arrays)

    catalog.servables[0].answer = answer
    assert sharing.post("/v2/models/m/infer", json=REQUEST).status_code == 200
    np.testing.assert_array_equal(np.frombuffer(memory.read_bytes(), np.float32, 4, 48), ROW * 2)
    refused = sharing.post("/v2/models/m/infer", json=REQUEST)
    assert (refused.status_code, refused.json()) == (400, {"error": "Unable to find shared memory region: 'r'"})


def test_an_answer_that_does_not_fit_is_a_failure(sharing: TestClient, catalog: FakeCatalog) -> None:
    sharing.post(f"{ONE}/register", json=ORDER)
    small = REQUEST | {"outputs": [{"name": "y", "parameters": IN_REGION | {"shared_memory_byte_size": 15}}]}
    refused = sharing.post("/v2/models/m/infer", json=small)
    assert refused.status_code == 400
    assert "output 'y' has 16 bytes, more than the 15" in refused.json()["error"]
    statistics = catalog.servables[0].statistics.to_triton()["inference_stats"]
    assert (statistics["success"]["count"], statistics["fail"]["count"]) == (0, 1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "'offset' of the region|'byte_size' of the region"),
        (ORDER | {"key": "../object"}, "expected the plain name of an object"),
        (ORDER | {"byte_size": 1 << 40}, "the object has 132 bytes"),
        (ORDER | {"offset": -1}, "'offset' of the region must be a whole number"),
        (ORDER | {"size": 5}, "'size' of the request is not known"),
        ([], "expected a JSON object"),
        (ORDER | {"key": "k" * 5000}, "larger than the limit"),
    ],
)
def test_a_wrong_registration_is_refused_in_words(sharing: TestClient, body: Any, words: str) -> None:
    refused = sharing.post(f"{ONE}/register", json=body)
    assert refused.status_code in (400, 413)
    assert any(part in refused.json()["error"] for part in words.split("|"))


@pytest.mark.parametrize(("method", "path"), EVERY_ROUTE)
def test_every_route_says_how_to_turn_it_on(client: TestClient, method: str, path: str) -> None:
    refused = client.request(method, path, json=ORDER if path.endswith("register") else None)
    assert refused.status_code == 400
    assert "--shared-memory" in refused.json()["error"]


def test_tensors_say_how_to_turn_it_on(client: TestClient) -> None:
    for request in (
        REQUEST,
        {"inputs": [{**REQUEST["inputs"][0], "parameters": {}, "data": [0, 1, 2, 3]}]}
        | {"outputs": REQUEST["outputs"]},
    ):
        refused = client.post("/v2/models/m/infer", json=request)
        assert refused.status_code == 400
        assert "--shared-memory" in refused.json()["error"]


@pytest.mark.parametrize(("method", "path"), [*EVERY_ROUTE, ("POST", "/v2/models/m/infer")])
def test_only_this_machine_may(app: Any, sharing: TestClient, method: str, path: str) -> None:
    sharing.post(f"{ONE}/register", json=ORDER)
    with TestClient(app, base_url=LOOPBACK, client=("10.0.0.1", 5)) as far:
        refused = far.request(method, path, json=REQUEST if path.endswith("infer") else ORDER)
    assert refused.status_code == 403
    assert "comes from elsewhere" in refused.json()["error"]


def test_another_machine_may_still_send_its_tensors(app: Any) -> None:
    sent = {"inputs": [{**REQUEST["inputs"][0], "parameters": {}, "data": [0, 1, 2, 3]}]}
    with TestClient(app, base_url=LOOPBACK, client=("10.0.0.1", 5)) as far:
        assert far.post("/v2/models/m/infer", json=sent).status_code == 200


def test_cuda_regions_are_none_and_are_refused(sharing: TestClient) -> None:
    assert sharing.get(f"{CUDA}/status").json() == []
    assert sharing.get(f"{CUDA}/region/r/status").status_code == 404
    assert sharing.post(f"{CUDA}/unregister").json() == sharing.post(f"{CUDA}/region/r/unregister").json() == {}
    order = {"raw_handle": {"b64": "AAAA"}, "device_id": 0, "byte_size": 64}
    refused = sharing.post(f"{CUDA}/region/r/register", json=order)
    assert (refused.status_code, "CUDA shared memory is not supported" in refused.json()["error"]) == (400, True)


def test_the_extension_is_listed_only_where_it_works(client: TestClient, sharing: TestClient) -> None:
    assert "system_shared_memory" in sharing.get("/v2").json()["extensions"]
    for server in (client, sharing):
        assert "cuda_shared_memory" not in server.get("/v2").json()["extensions"]
    assert "system_shared_memory" not in client.get("/v2").json()["extensions"]
