from __future__ import annotations

import pytest
from starlette.testclient import TestClient


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/models/m", "/v2/health/ready", "/metrics", "/docs", "/openapi.json", "/v1/models"]
)
def test_head_is_get(client: TestClient, path: str) -> None:
    asked, told = client.get(path), client.head(path)
    assert told.status_code == asked.status_code == 200
    assert told.headers["content-type"] == asked.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2/health/live", "GET, HEAD"),
        ("/v2/logging", "GET, HEAD, POST"),
        ("/v2/models/m/trace/setting", "GET, HEAD, POST"),
        ("/v2/models/m/infer", "POST"),
        ("/v1/models/m", "GET, HEAD"),
        ("/v1/models/m:predict", "POST"),
        ("/v1/models/m/versions/1:predict", "POST"),
        ("/v2/models/m:n/infer", "POST"),
        ("/docs", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_known_is_told_those_that_are(client: TestClient, path: str, allowed: str) -> None:
    refused = client.request("DELETE", path)
    assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
