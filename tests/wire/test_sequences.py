"""Sequences and kept answers over a real server, through Triton's own client and plain JSON."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc_triton
import tritonclient.grpc.aio as grpc_triton_aio
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.support.process import ServerProcess
from tests.unit.serving import models, recurrent


@pytest.fixture(scope="module")
def stateful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves the accumulator `sums`, `voice`, and `kept`, which has a response cache."""
    folder = tmp_path_factory.mktemp("stateful")
    put(folder, "sums", recurrent.sums(), sequences=recurrent.SUMS)
    put(folder, "voice", recurrent.voice(), sequences=recurrent.VOICE)
    put(folder, "kept", models.scales(2.0), response_cache={"max_bytes": 1 << 20})
    with ServerProcess(["--repository", str(folder / "repository")], folder) as running:
        yield running


def put(folder: Path, name: str, onnx: bytes, **config: Any) -> None:
    version = folder / "repository" / name / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(onnx)
    (version.parent / "model.yaml").write_text(json.dumps(config))


def sent(name: str, array: Any, datatype: str = "FP32") -> Any:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def test_clients_see_neither_states_nor_their_outputs(stateful: ServerProcess) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{stateful.port}") as client:
        assert "sequence" in client.get_server_metadata()["extensions"]
        metadata = client.get_model_metadata("voice")
        (state,) = client.get_model_config("voice")["sequence_batching"]["state"]
    assert (state["input_name"], state["data_type"]) == ("state", "TYPE_FP32")
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["input", "sr"]
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["output"]


def test_a_voice_is_heard_as_the_graph_hears_it_step_by_step(stateful: ServerProcess) -> None:
    rng = np.random.default_rng(6)
    steps = [
        {"input": rng.standard_normal((1, 512)).astype(np.float32), "sr": np.asarray(16_000, np.int64)}
        for _ in range(8)
    ]
    state = {"state": np.zeros((2, 1, 128), np.float32)}
    expected = recurrent.offline(recurrent.voice(), state, {"state": "stateN"}, steps)
    with triton.InferenceServerClient(f"127.0.0.1:{stateful.port}") as client:
        for at, (feed, wanted) in enumerate(zip(steps, expected, strict=True)):
            tensors = [sent("input", feed["input"]), sent("sr", feed["sr"], "INT64")]
            flags = {"sequence_id": "a voice", "sequence_start": at == 0, "sequence_end": at == len(steps) - 1}
            found = client.infer("voice", tensors, **flags).as_numpy("output")
            np.testing.assert_allclose(found, wanted["output"], rtol=1e-5)


def test_sequences_of_many_clients_never_mix(stateful: ServerProcess) -> None:
    def follow(client_id: int) -> list[float]:
        with triton.InferenceServerClient(f"127.0.0.1:{stateful.port}") as client:
            x = [sent("x", np.full((1, 4), client_id, np.float32))]
            answers = []
            for at in range(10):
                step = {"sequence_id": client_id, "sequence_start": at == 0, "sequence_end": at == 9}
                answers.append(float(client.infer("sums", x, **step).as_numpy("y")[0, 0]))
        return answers

    with ThreadPoolExecutor(16) as pool:
        for client_id, answers in zip(range(1, 33), pool.map(follow, range(1, 33)), strict=True):
            assert answers == [client_id * (at + 1) for at in range(10)]


async def test_a_thousand_interleaved_sequences_never_mix(stateful: ServerProcess) -> None:
    count, steps = 1000, 4
    values = np.random.default_rng(7).integers(-50, 50, (steps, count, 1, 4)).astype(np.float32)  # sums stay exact

    async with grpc_triton_aio.InferenceServerClient(stateful.grpc) as client:

        async def step(at: int, number: int) -> Any:
            tensor = grpc_triton.InferInput("x", [1, 4], "FP32")
            tensor.set_data_from_numpy(values[at, number])
            begun, ended = at == 0, at == steps - 1
            answer = await client.infer(
                "sums", [tensor], sequence_id=f"thousand-{number}", sequence_start=begun, sequence_end=ended
            )
            return answer.as_numpy("y")

        # Step by step over all of them, so that every one is open while every other one advances.
        answers = [
            np.stack(await asyncio.gather(*(step(at, number) for number in range(count)))) for at in range(steps)
        ]
    np.testing.assert_array_equal(np.asarray(answers), np.cumsum(values, axis=0))
    assert 'retort_sequences_open{model="sums",version="1"} 0' in stateful.http.get("/metrics").text


def test_json_clients_name_sequences_too_and_errors_say_what_is_missing(stateful: ServerProcess) -> None:
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}

    def ask(**parameters: Any) -> Any:
        return stateful.http.post("/v2/models/sums/infer", json={"inputs": [x], "parameters": parameters})

    assert ask(sequence_id=5000, sequence_start=True).json()["outputs"][0]["data"] == [1, 1, 1, 1]
    assert ask(sequence_id=5000, sequence_end=True).json()["outputs"][0]["data"] == [2, 2, 2, 2]
    for answer, says in ((ask(sequence_id=5000), "START flag"), (ask(), "correlation ID")):
        assert answer.status_code == 400
        assert says in answer.json()["error"]
    assert stateful.http.post("/v1/models/sums:predict", json={"instances": [[1, 1, 1, 1]]}).status_code == 400
    with triton.InferenceServerClient(f"127.0.0.1:{stateful.port}") as client, pytest.raises(InferenceServerException):
        client.infer("kept", [sent("x", np.ones((1, 4), np.float32))], sequence_id=7, sequence_start=True)


def test_kept_answers_are_counted_where_triton_counts_them(stateful: ServerProcess) -> None:
    rows = models.rows(1, 2, 3)
    with triton.InferenceServerClient(f"127.0.0.1:{stateful.port}") as client:
        answers = [client.infer("kept", [sent("x", rows)]).as_numpy("y") for _ in range(4)]
        (told,) = client.get_inference_statistics("kept")["model_stats"]
    assert all(np.array_equal(answer, rows * 2) for answer in answers)
    stats = told["inference_stats"]
    assert (told["inference_count"], told["execution_count"]) == (3, 1)
    assert [stats[name]["count"] for name in ("success", "cache_hit", "cache_miss")] == [4, 3, 1]
    metrics = stateful.http.get("/metrics").text
    assert 'nv_cache_num_hits_per_model{model="kept",version="1"} 3' in metrics
    assert 'nv_cache_num_misses_per_model{model="kept",version="1"} 1' in metrics
    assert 'retort_sequences_open{model="sums",version="1"}' in metrics


def test_a_grpc_stream_carries_sequences_in_the_order_sent(stateful: ServerProcess) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    x = grpc_triton.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(np.ones((1, 4), np.float32))
    with grpc_triton.InferenceServerClient(stateful.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for at in range(6):
            for name in ("left", "right"):
                flags = {"sequence_id": name, "sequence_start": at == 0, "sequence_end": at == 5}
                client.async_stream_infer("sums", [x], request_id=f"{name} {at}", **flags)
        found = [answers.get(timeout=20) for _ in range(12)]
        client.stop_stream()
    assert [error for _, error in found if error is not None] == []
    sums = {result.get_response().id: float(result.as_numpy("y")[0, 0]) for result, _ in found}
    assert sums == {f"{name} {at}": at + 1 for name in ("left", "right") for at in range(6)}
