from __future__ import annotations

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.core.errors import Rejected
from service.repository.model_config import ModelConfig
from tests.unit.gateway.conftest import LIMIT_BYTES
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeServable

PREDICT = "/v1/models/m:predict"
ROWS = {"instances": [[0, 1, 2, 3]]}


def test_rows_give_predictions_and_columns_give_outputs(client: TestClient) -> None:
    assert client.post(PREDICT, json=ROWS).json() == {"predictions": [[0, 2, 4, 6]]}
    assert client.post(PREDICT, json={"inputs": {"x": [[0, 1, 2, 3]]}}).json() == {"outputs": [[0, 2, 4, 6]]}


def test_a_header_of_the_other_protocol_says_nothing_here(client: TestClient) -> None:
    assert client.post(PREDICT, json=ROWS, headers={"Inference-Header-Content-Length": "x"}).status_code == 200


def test_a_version_may_be_named(client: TestClient, catalog: FakeCatalog) -> None:
    assert client.post("/v1/models/m/versions/1-int8:predict", json=ROWS).status_code == 200
    assert [len(servable.seen) for servable in catalog.servables] == [0, 1]
    assert client.post("/v1/models/m/versions/2:predict", json=ROWS).status_code == 404


def test_labels_come_when_they_are_asked_for(client: TestClient, servable: FakeServable) -> None:
    servable.config = ModelConfig(labels=("zero", "one", "two", "three"))
    assert client.post(PREDICT, json={**ROWS, "labels": True}).json() == {"labels": ["three"], "scores": [6.0]}
    assert "predictions" in client.post(PREDICT, json={**ROWS, "labels": False}).json()


def test_labels_that_are_not_there_are_refused_before_anything_runs(client: TestClient, servable: FakeServable) -> None:
    answer = client.post(PREDICT, json={**ROWS, "labels": True})
    assert answer.status_code == 400
    assert "no labels" in answer.json()["error"]
    assert servable.seen == []


@pytest.mark.parametrize("body", [{}, {"instances": []}, {"instances": [[1]]}, {"instances": [{"z": 1}]}])
def test_a_wrong_request_is_refused_and_counted_once(
    client: TestClient, servable: FakeServable, body: dict[str, object]
) -> None:
    answer = client.post(PREDICT, json=body)
    assert answer.status_code == 400
    assert servable.statistics.failures["OTHER"].count == 1


def test_deadline_and_limit_hold_here_too(client: TestClient, servable: FakeServable) -> None:
    client.post(PREDICT, json=ROWS, headers={"Retort-Timeout-Ms": "100"})
    assert servable.seen[0][1].at_s < float("inf")
    assert servable.seen[0][2] == "127.0.0.1"
    assert client.post(PREDICT, content=b" " * (LIMIT_BYTES + 1)).status_code == 413


def test_an_answer_that_is_not_finite_is_refused(client: TestClient, servable: FakeServable) -> None:
    servable.answer = lambda arrays: {"y": arrays["x"] + np.float32("inf")}
    assert client.post(PREDICT, json=ROWS).status_code == 400
    assert (servable.statistics.failures["OTHER"].count, servable.statistics.success.count) == (1, 0)


def test_models_are_listed_with_the_version_that_answers(client: TestClient) -> None:
    assert client.get("/v1/models").json() == {"models": [{"name": "m", "active_version": "1"}]}


def test_the_state_of_versions_is_in_tensorflow_serving_s_words(client: TestClient, catalog: FakeCatalog) -> None:
    catalog.states["1-int8"] = "FAILED"
    fine = {"error_code": "OK", "error_message": ""}
    assert client.get("/v1/models/m").json() == {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": fine},
            {"version": "1-int8", "state": "END", "status": fine},
        ]
    }
    assert client.get("/v1/models/none").status_code == 404


def test_a_stateful_model_is_refused_with_the_route_that_takes_it(client: TestClient, servable: FakeServable) -> None:
    servable.sequencer = object()
    answer = client.post(PREDICT, json=ROWS)
    assert answer.status_code == 400
    assert "/v2/models/m/infer with a 'sequence_id'" in answer.json()["error"]
    assert servable.seen == []


def test_while_nobody_is_let_in_a_request_is_refused_unread(client: TestClient, servable: FakeServable) -> None:
    servable.full = Rejected("the model is overloaded", 3)
    for path in (PREDICT, "/v2/models/m/infer"):
        answer = client.post(path, content=b"{ no JSON at all")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "3"), path
    assert servable.seen == []
    assert servable.statistics.failures["REJECTED"].count == 2
