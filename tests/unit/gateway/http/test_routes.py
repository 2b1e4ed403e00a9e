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
