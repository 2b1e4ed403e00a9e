"""What the check of a key costs a request, asked in turns of an application with keys and of one without.

In one process: two servers differ from each other by more than the check costs. The model is a plain function, so that
the share of a real request is smaller.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any, cast

import pytest

from service.core.clock import MonotonicClock
from service.gateway.http import build
from service.gateway.keyring import Keyring
from service.observe import logs
from tests.support.keys import KEYS, bearer, write_keys
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth, FakeServable

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
ROUNDS, ASKED = 100, 50
DEARER_LIMIT = 1.5  # 1.06 on a quiet machine; a slow hash would make it a thousand


def app_of(keyring: Keyring | None) -> Any:
    catalog = FakeCatalog(FakeServable())
    return build(cast("Any", catalog), cast("Any", FakeHealth()), max_body_bytes=10_000, keyring=keyring)


async def ask(app: Any) -> None:
    headers = [(name.encode(), value.encode()) for name, value in bearer(KEYS["app"]).items()]
    headers += [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"user-agent", b"test")]
    path = "/v2/models/m/infer"
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "client": ("127.0.0.1", 1)}
    statuses = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status"))

    await app(scope, receive, send)
    assert statuses[0] == 200


@pytest.mark.slow
def test_the_check_of_a_key_is_a_small_part_of_a_request(tmp_path: Path) -> None:
    keyring = Keyring(write_keys(tmp_path / "keys"), MonotonicClock(), logs.logger("test"))
    apps = {"without": app_of(None), "with": app_of(keyring)}
    took_s: dict[str, list[float]] = {name: [] for name in apps}

    async def turns() -> None:
        for _ in range(ROUNDS):
            for name, app in apps.items():
                began_s = time.perf_counter()
                for _ in range(ASKED):
                    await ask(app)
                took_s[name].append((time.perf_counter() - began_s) / ASKED)

    asyncio.run(turns())
    ratio = statistics.median(dear / cheap for cheap, dear in zip(took_s["without"], took_s["with"], strict=True))
    assert ratio < DEARER_LIMIT, f"{ratio:.3f} times as long"
