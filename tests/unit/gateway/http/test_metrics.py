from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.registry import Collector
from starlette.testclient import TestClient

from service.gateway.http import metrics
from service.gateway.http.metrics import Metrics

X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 1, 2, 3]}


def test_a_scrape_holds_what_just_happened(client: TestClient) -> None:
    client.post("/v2/models/m/infer", json={"inputs": [X]})
    client.post("/v2/models/m/infer", json={"inputs": []})
    client.get("/nowhere")
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert "# TYPE nv_inference_request_success counter" in lines
    assert 'nv_inference_request_success{model="m",version="1"} 1' in lines
    assert 'nv_inference_request_failure{model="m",version="1",reason="OTHER"} 1' in lines
    assert 'retort_active_version{model="m",version="1"} 1' in lines
    assert [line for line in lines if line.startswith("retort_http_responses")] == [
        'retort_http_responses{code="200"} 1',
        'retort_http_responses{code="400"} 1',
        'retort_http_responses{code="401"} 0',
        'retort_http_responses{code="403"} 0',
        'retort_http_responses{code="404"} 1',
        'retort_http_responses{code="408"} 0',
        'retort_http_responses{code="409"} 0',
        'retort_http_responses{code="413"} 0',
        'retort_http_responses{code="429"} 0',
        'retort_http_responses{code="431"} 0',
        'retort_http_responses{code="500"} 0',
        'retort_http_responses{code="503"} 0',
    ]


def test_every_family_is_told_once(client: TestClient) -> None:
    types = [line for line in client.get("/metrics").text.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    assert any("process_resident_memory_bytes" in line for line in types)


class Long(Collector):
    """Many families, each of which takes some time to collect; notes how far it was whenever others had a turn."""

    def __init__(self) -> None:
        self.collected = 0

    def collect(self) -> Iterator[Metric]:
        for number in range(200):
            family = Metric(f"m{number}", "m", "gauge")
            for sample in range(100):
                family.add_sample(family.name, {"n": str(sample)}, 0)
            self.collected += 1
            yield family


async def turns_of_others(scraped: Metrics, long: Long) -> int:
    """How often somebody else had a turn while it was collected."""
    nobody: Any = None
    scrape = asyncio.ensure_future(scraped.metrics(nobody))
    seen = set()
    while not scrape.done():
        await asyncio.sleep(0)
        seen.add(long.collected)
    assert long.collected == 200
    assert len((await scrape).body.splitlines()) == 200 * 102
    return len(seen - {0, 200})


async def test_a_long_scrape_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Long()
    assert await turns_of_others(Metrics([long]), long) >= 5
    monkeypatch.setattr(metrics, "SHARE_S", 60.0)  # the negative control
    deaf = Long()
    assert await turns_of_others(Metrics([deaf]), deaf) == 0


async def test_a_crowd_of_scrapes_is_collected_a_few_at_a_time() -> None:
    begun: list[Collecting] = []

    class Collecting(Collector):
        def collect(self) -> Iterator[Metric]:
            begun.append(self)
            return Long().collect()

    nobody: Any = None
    scraped = Metrics([Collecting()])
    scrapes = [asyncio.ensure_future(scraped.metrics(nobody)) for _ in range(3 * metrics.AT_ONCE)]
    await asyncio.sleep(0)
    assert len(begun) == metrics.AT_ONCE
    assert {(await scrape).status_code for scrape in scrapes} == {200}
    assert len(begun) == len(scrapes)
