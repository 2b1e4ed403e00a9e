from __future__ import annotations

from starlette.testclient import TestClient

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
