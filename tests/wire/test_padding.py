"""Texts of different lengths at once over HTTP: each is answered as it is alone, and they do share runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.support.process import ServerProcess
from tests.unit.serving import texts

TRIES = 3
LENGTHS = [1, 3, 17, 5, 9, 2, 12, 7] * 6
YAML = """\
pad: {axis: 1, inputs: {ids: 0, mask: 0}, max_waste: 0.9}
dynamic_batching: {max_queue_delay_microseconds: 20000}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("padding")
    for name, onnx in (("heeds", texts.heeds_its_mask()), ("ignores", texts.ignores_its_mask())):
        put(folder / "repository" / name, onnx)
    with ServerProcess(["--repository", str(folder / "repository")], folder) as running:
        yield running


def put(folder: Path, onnx: bytes) -> None:
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(onnx)
    (folder / "model.yaml").write_text(YAML)


def ask(server: ServerProcess, name: str, sent: dict[str, Any]) -> dict[str, Any]:
    entries = [
        {"name": key, "datatype": "INT64", "shape": list(array.shape), "data": array.ravel().tolist()}
        for key, array in sent.items()
    ]
    answer = server.http.post(f"/v2/models/{name}/infer", json={"inputs": entries})
    assert answer.status_code == 200, answer.text
    return {o["name"]: np.float32(o["data"]).reshape(o["shape"]) for o in answer.json()["outputs"]}


def executions(server: ServerProcess, name: str) -> tuple[int, int]:
    told = server.http.get(f"/v2/models/{name}/stats").json()["model_stats"][0]
    return told["inference_count"], told["execution_count"]


@pytest.mark.parametrize(("name", "onnx"), [("heeds", texts.heeds_its_mask()), ("ignores", texts.ignores_its_mask())])
def test_every_text_is_answered_as_it_is_alone(server: ServerProcess, name: str, onnx: bytes) -> None:
    sent = [texts.text(length, seed) for seed, length in enumerate(LENGTHS)]
    sent[5]["mask"][:] = 0  # of which no filling is proven
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda each: ask(server, name, each), sent))
    session = onnxruntime.InferenceSession(onnx)
    for given, found in zip(sent, answers, strict=True):
        for output, expected in zip(("hidden", "pooled"), session.run(["hidden", "pooled"], given), strict=True):
            assert found[output].shape == expected.shape
            np.testing.assert_allclose(found[output], expected, rtol=1e-4, atol=1e-5)


def test_lengths_share_runs_where_padding_is_proven(server: ServerProcess) -> None:
    lengths = list(range(1, 33))

    def runs() -> int:
        before = executions(server, "heeds")
        with ThreadPoolExecutor(len(lengths)) as clients:
            list(clients.map(lambda length: ask(server, "heeds", texts.text(length)), lengths))
        rows, taken = (now - then for now, then in zip(executions(server, "heeds"), before, strict=True))
        assert rows == len(lengths)
        return taken

    # No two of one length: without padding each is a run of its own. Clients that are held up come one by one.
    assert any(runs() < len(lengths) for _ in range(TRIES))


def test_metadata_tells_what_is_padded_and_why_not(server: ServerProcess) -> None:
    padded, refused = (server.http.get(f"/v2/models/{name}").json()["batching"] for name in ("heeds", "ignores"))
    assert padded == {"mode": "any", "max_batch_size": 32, "padding": "axis 1"}
    assert refused["padding"] == "none"
    assert "does not heed it" in refused["reason"]
    assert "padding refused" in server.log_file.read_text()
