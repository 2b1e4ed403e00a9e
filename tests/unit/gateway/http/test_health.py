from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from service.serving.reports import Readiness
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth


def test_a_server_that_is_well_says_so(client: TestClient) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


def test_a_server_that_is_not_ready_is_alive_and_says_why(client: TestClient, health: FakeHealth) -> None:
    health.readiness = Readiness(False, "the server is draining")
    answer = client.get("/v2/health/ready")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {"ready": False, "error": "the server is draining"}
    assert client.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/v2/models/m/ready", 503), ("/v2/models/m/versions/1-int8/ready", 200)])
def test_readiness_of_models_is_their_own(client: TestClient, catalog: FakeCatalog, path: str, status: int) -> None:
    assert client.get(path).status_code == 200
    catalog.states["1"] = "LOADING"
    assert client.get(path).status_code == status
    assert client.get("/v2/health/ready").status_code == 200


def test_an_unknown_model_or_version_is_not_found(client: TestClient) -> None:
    assert client.get("/v2/models/none/ready").status_code == 404
    assert client.get("/v2/models/m/versions/9/ready").status_code == 404
