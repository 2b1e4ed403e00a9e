"""A Triton repository served as it is, and loads that bring a configuration and files, with Triton's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from tests.support.process import ServerProcess
from tests.unit.serving.models import rows, scales

SCALES = """
name: "scales"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 100 }
version_policy { latest { num_versions: 1 } }
optimization { graph { level: 1 } input_pinned_memory { enable: false } }
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
model_warmup [ { name: "full" batch_size: 8
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 2, 2 ] input_data_file: "rows" } } } ]
"""
FILES = {"labels.txt": b"a\nb\nc\nd\n", "warmup/rows": np.ones(32, np.float32).tobytes(), "1/model.onnx": scales(2)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root, folder = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("server")
    put(root / "scales", {**FILES, "3/model.onnx": scales(3), "config.pbtxt": SCALES.encode()})
    put(root / "wrong", {"1/model.onnx": scales(2), "config.pbtxt": b'name: "wrong"\nmax_batch: 4\n'})
    put(root / "torch", {"1/model.onnx": scales(2), "config.pbtxt": b'platform: "pytorch_libtorch"'})
    with ServerProcess(["--repository", str(root)], folder, env={"RETORT_MAX_BODY_BYTES": "300000"}) as running:
        yield running


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as connected:
        yield connected
        connected.load_model("scales")


def factor(client: Any, shape: tuple[int, ...] = (2, 2)) -> float:
    sent = triton.InferInput("x", [1, *shape], "FP32")
    sent.set_data_from_numpy(rows(1).reshape(1, *shape))
    return float(client.infer("scales", [sent]).as_numpy("y")[0, 0])


def test_the_repository_is_served_as_it_is(client: Any, server: ServerProcess) -> None:
    assert factor(client) == 3
    index = {(entry["name"], entry["version"]): entry for entry in client.get_model_repository_index()}
    assert {key: entry["state"] for key, entry in index.items() if key[0] == "scales"} == {
        ("scales", "1"): "UNAVAILABLE",
        ("scales", "3"): "READY",
    }
    assert "line 2: ModelConfig has no field 'max_batch'" in index["wrong", ""]["reason"]
    assert "'platform' is not supported" in index["torch", ""]["reason"]
    assert "'optimization.input_pinned_memory' has no effect here" in server.log()
    assert client.get_model_metadata("scales")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2, 2]}]


def test_the_configuration_is_told_whole(client: Any) -> None:
    config = client.get_model_config("scales")
    message = json_format.ParseDict(config, model_config_pb2.ModelConfig())
    assert (message.max_batch_size, message.instance_group[0].count) == (8, 2)
    assert (list(message.input[0].dims), list(message.input[0].reshape.shape)) == ([2, 2], [4])
    assert message.output[0].label_filename == "labels.txt"
    assert message.model_warmup[0].inputs["x"].input_data_file == "rows"
    assert message.optimization.graph.level == 1
    client.load_model("scales", config=json.dumps(config))
    assert client.get_model_config("scales") == config


def test_a_configuration_is_overridden_until_the_next_load(client: Any) -> None:
    client.load_model("scales", config=json.dumps({"max_batch_size": 2, "instance_group": [{"count": 1}]}))
    assert client.get_model_config("scales")["max_batch_size"] == 2
    assert factor(client, (4,)) == 3
    client.load_model("scales")
    assert client.get_model_config("scales")["max_batch_size"] == 8


def test_files_are_served_in_place_of_the_repository_s(client: Any) -> None:
    config = json.dumps({"max_batch_size": 4})
    client.load_model("scales", config=config, files={"file:7/model.onnx": scales(7)})
    assert factor(client, (4,)) == 7
    assert client.get_model_metadata("scales")["versions"] == ["7"]
    client.load_model("brought", config=config, files={"file:1/model.onnx": scales(9)})
    assert client.is_model_ready("brought")
    client.unload_model("brought", unload_dependents=True)
    assert not client.is_model_ready("brought")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"files": {"file:1/model.onnx": b""}}, "need the parameter 'config' beside them"),
        ({"config": "{"}, "the given config of scales"),
        ({"config": '{"backend": "python"}'}, "'backend' is not supported"),
        ({"config": '{"max_batch": 4}'}, "ModelConfig has no field 'max_batch'"),
        ({"config": "{}", "files": {"file:1/model.onnx": b"no model"}}, "model.onnx"),
        ({"config": "{}", "files": {"file:../model.onnx": b""}}, "is not a plain path"),
        ({"config": "{}", "files": {"file:2/other.onnx": scales(2)}}, "model.onnx"),
        ({"config": '{"input": [{"name": "w", "data_type": "TYPE_FP32", "dims": [4]}]}'}, "is not in the graph"),
    ],
)
def test_a_load_that_fails_leaves_what_served(client: Any, arguments: dict[str, Any], words: str) -> None:
    config = client.get_model_config("scales")
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("scales", **arguments)
    assert words in caught.value.message()
    assert caught.value.status() == "400"
    assert client.get_model_config("scales") == config
    assert factor(client) == 3


def test_the_body_of_a_load_holds_files_up_to_the_limit_of_a_body(client: Any) -> None:
    config = json.dumps({"max_batch_size": 4})
    client.load_model("scales", config=config, files={"file:7/model.onnx": scales(7), "file:7/x": b"\0" * 290_000})
    assert factor(client, (4,)) == 7
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("scales", config=config, files={"file:8/model.onnx": scales(8), "file:8/x": b"\0" * 400_000})
    assert caught.value.status() == "413"
    assert factor(client, (4,)) == 7


def test_grpc_loads_and_tells_the_same(client: Any, server: ServerProcess) -> None:
    with triton_grpc.InferenceServerClient(server.grpc) as other:
        told = other.get_model_config("scales").config
        assert told == json_format.ParseDict(client.get_model_config("scales"), model_config_pb2.ModelConfig())
        config = json.dumps({"max_batch_size": 4})
        other.load_model("scales", config=config, files={"file:7/model.onnx": scales(7)})
        assert factor(client, (4,)) == 7
        for arguments, words in [
            ({"files": {"file:1/model.onnx": b"x"}}, "need the parameter 'config' beside them"),
            ({"config": "{", "files": {}}, "the given config of scales"),
            ({"config": "{}", "files": {"file:../1/model.onnx": b"x"}}, "is not a plain path"),
        ]:
            with pytest.raises(InferenceServerException, match=words) as caught:
                other.load_model("scales", **arguments)
            assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        assert factor(client, (4,)) == 7
        other.unload_model("scales", unload_dependents=True)
        assert not other.is_model_ready("scales")
