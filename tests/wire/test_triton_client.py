"""Triton's own Python client, unchanged, against a running server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.support.process import ServerProcess
from tests.wire import digits
from tests.wire.digits import ANSWERS, INPUT, OUTPUT, ROWS, VERSIONS, is_answer_of

COMBINATIONS = list(itertools.product([True, False], [True, False]))


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as connected:
        yield connected


def image(rows: Any, binary: bool = True) -> Any:
    return digits.image(triton, rows, binary_data=binary)


def test_health_is_told(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1-int8")
    assert not client.is_model_ready("digits", "9")
    assert not client.is_model_ready("none")


def test_metadata_and_configuration_are_told(client: Any) -> None:
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("digits")
    assert metadata["versions"] == list(VERSIONS)
    assert metadata["inputs"] == [{"name": INPUT, "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    config = client.get_model_config("digits", "1-int8")
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (32, [1, 8, 8])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("binary_in", "binary_out"), COMBINATIONS)
def test_inference_in_every_mix_of_json_and_binary(
    client: Any, version: str, binary_in: bool, binary_out: bool
) -> None:
    wanted = [triton.InferRequestedOutput(OUTPUT, binary_data=binary_out)]
    answer = client.infer("digits", [image(ROWS[:5], binary_in)], version, outputs=wanted, request_id="id-1")
    assert is_answer_of(version, answer.as_numpy(OUTPUT), 5)
    assert (answer.get_response()["model_version"], answer.get_response()["id"]) == (version, "id-1")


def test_without_outputs_the_client_asks_for_all_of_them_in_binary(client: Any) -> None:
    answer = client.infer("digits", [image(ROWS[:1])], timeout=5_000_000, priority=1, parameters={"mine": "x"})
    assert is_answer_of("1", answer.as_numpy(OUTPUT), 1)
    assert "binary_data_size" in answer.get_response()["outputs"][0]["parameters"]


def test_a_request_larger_than_a_batch_is_answered_whole(client: Any) -> None:
    rows = np.concatenate([ROWS] * 4)[:100]
    answer = client.infer("digits", [image(rows)]).as_numpy(OUTPUT)
    expected = np.concatenate([ANSWERS["1"]] * 4)[:100]
    assert np.abs(answer - expected).max() < 0.01


def test_no_rows_are_answered_with_no_rows(client: Any) -> None:
    assert client.infer("digits", [image(ROWS[:0])]).as_numpy(OUTPUT).shape == (0, 10)


def test_many_requests_at_once(server: ServerProcess) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=8) as client:
        sent = [client.async_infer("digits", [image(ROWS[row : row + 1])]) for row in range(len(ROWS))]
        answers = np.concatenate([one.get_result().as_numpy(OUTPUT) for one in sent])
    assert is_answer_of("1", answers, len(ROWS))


async def test_the_asynchronous_client_too(server: ServerProcess) -> None:
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        answer = await client.infer("digits", [image(ROWS[:2])])
        assert is_answer_of("1", answer.as_numpy(OUTPUT), 2)


@pytest.mark.parametrize(
    ("model", "version", "status"), [("none", "", "404"), ("digits", "9", "404"), ("../digits", "", "404")]
)
def test_a_model_that_is_not_there_is_an_error(client: Any, model: str, version: str, status: str) -> None:
    with pytest.raises(InferenceServerException) as error:
        client.infer(model, [image(ROWS[:1])], version)
    assert error.value.status() == status


def test_a_wrong_shape_is_an_error_with_words(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="expected") as error:
        client.infer("digits", [image(ROWS[:1, :, :4])])
    assert error.value.status() == "400"


def test_models_are_listed_loaded_and_unloaded(client: Any) -> None:
    states = {(m["name"], m["version"]): m["state"] for m in client.get_model_repository_index()}
    assert len(states) > 2
    assert {at for at, state in states.items() if state == "READY"} == {("digits", "1"), ("digits", "1-int8")}
    client.unload_model("digits")
    try:
        assert not client.is_model_ready("digits")
        with pytest.raises(InferenceServerException) as error:
            client.infer("digits", [image(ROWS[:1])])
        assert error.value.status() == "503"
    finally:
        client.load_model("digits")
    assert client.is_model_ready("digits")
    assert is_answer_of("1", client.infer("digits", [image(ROWS[:1])]).as_numpy(OUTPUT), 1)


def test_a_configuration_of_another_backend_is_refused(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="not supported"):
        client.load_model("digits", config='{"backend": "python"}')
    assert client.is_model_ready("digits")


def test_statistics_count_what_this_client_did(client: Any) -> None:
    def success() -> int:
        (stats,) = client.get_inference_statistics("digits", "1")["model_stats"]
        return int(stats["inference_stats"]["success"]["count"])

    before = success()
    for _ in range(3):
        client.infer("digits", [image(ROWS[:1])])
    assert success() == before + 3
    assert {s["version"] for s in client.get_inference_statistics()["model_stats"]} == set(VERSIONS)
