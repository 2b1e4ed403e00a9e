"""`/config` is Triton's message, whole: what it says can be read back, and means the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2

from service.core.contract import TensorSpec
from service.gateway.triton_config_json import triton_config
from service.repository.config_files import read_given_config
from service.repository.config_tensors import Latest
from service.repository.memory_folder import MemoryFolder
from service.repository.model_config import ModelConfig
from service.serving.batchability import single
from tests.unit.gateway.fake_catalog import FakeServable

FILES = {"labels.txt": b"a\nb", "warmup/x.bin": b"\0" * 16}
STEP: dict[str, Any] = {"input": "x", "kind": "start", "false_value": -1, "true_value": 2}
SAMPLE = {"name": "w", "batch_size": 2, "inputs": {"x": {"datatype": "FP32", "dims": (4,), "data": "random"}}}
FROM_FILE = {"inputs": {"x": {"datatype": "FP32", "dims": (4,), "data": b"\0" * 16, "file": "x.bin"}}}
X = {"name": "x", "datatype": "FP32", "dims": (4,)}
POLICY = {"timeout_action": "DELAY", "default_timeout_microseconds": 9, "allow_timeout_override": False}

# Every key of model.yaml, away from its default.
FIXTURES: list[dict[str, Any]] = [
    {},
    {"versions": {"latest": 3}},
    {"versions": "active", "active": "1-int8"},
    {"versions": ("1", "1-int8")},
    {"versions": ("1", "2"), "active": "2"},
    {"max_batch_size": 7, "instances": 3, "threads": 2, "labels": ("a", "b"), "warmup": False, "gate": "strict"},
    {
        "finite_outputs": True,
        "provider_options": {"allow_spinning": True},
        "accelerator_options": {"prefer_nhwc": True},
    },
    {"dynamic_batching": {**POLICY, "max_queue_size": 5, "preferred_batch_size": (2, 4), "preserve_ordering": True}},
    {"dynamic_batching": {"priority_levels": 3, "default_priority_level": 2, "priority_queue_policy": {1: POLICY}}},
    {"pad": {"axis": 1, "inputs": {"x": 0}}, "response_cache": {"max_bytes": 5}},
    {"isolation": {"process": {"memory_bytes": 1 << 30}}},
    {"sequences": {"controls": [STEP, {"input": "id", "kind": "corrid"}], "max_candidate_sequences": 3}},
    {"sequences": {"strategy": "direct", "states": [{"input": "h", "output": "y", "shape": (2, 3)}]}},
    {"sequences": {"states": [{"input": "h", "output": "y", "shape": (2,), "initial": 0.5}]}},
    {"runner": {"triton": {"url": "other:8001"}}},
    {"session": {"graph_optimization": "basic", "parallel": True, "inter_op_threads": 2, "mem_arena": False}},
    {"session": {"mem_pattern": True, "device_allocator": True}, "onnx_file": "net.onnx"},
    {"warmup_samples": [SAMPLE, FROM_FILE]},
    {"inputs": [{**X, "reshape": (2, 2), "format": "none"}], "batched": True},
    {"outputs": [{**X, "name": "y", "labels": ("a", "b"), "label_file": "labels.txt"}], "labels": ("a", "b")},
]
# What the message always says, so that it is given back as said.
RESOLVED = {"provider", "batched", "inputs", "outputs", "max_batch_size"}


def servable_of(values: dict[str, Any]) -> Any:
    servable = FakeServable()
    servable.config = ModelConfig.model_validate(values)
    if servable.config.runner is not None:
        servable.provider = "remote"
    return servable


def back(described: dict[str, Any]) -> ModelConfig:
    return read_given_config(json.dumps(described), MemoryFolder(FILES, "m"), "m")


@pytest.mark.parametrize("values", FIXTURES, ids=[",".join(values) or "defaults" for values in FIXTURES])
@pytest.mark.parametrize("mixes", [True, False])
def test_what_is_told_is_triton_s_message_and_reads_back_as_it_was(values: dict[str, Any], mixes: bool) -> None:
    servable = servable_of(values)
    if not mixes:
        servable.batchability = single("the probe says no")
    described = triton_config(servable)
    json_format.ParseDict(described, model_config_pb2.ModelConfig())
    config = back(described)
    assert config.warnings == ()
    said, given = config.model_dump(exclude=RESOLVED), servable.config.model_dump(exclude=RESOLVED)
    if not mixes or servable.config.sequences is not None:
        assert said["dynamic_batching"] == given["dynamic_batching"]
    if given["dynamic_batching"]["priority_levels"] == 0:
        said["dynamic_batching"]["default_priority_level"] = 0
    assert said == given


def test_reading_it_back_and_telling_it_again_changes_nothing() -> None:
    for values in FIXTURES:
        servable = servable_of(values)
        described = triton_config(servable)
        servable.config = back(described)
        again = triton_config(servable)
        for tensor in described["input"]:
            tensor.setdefault("format", "FORMAT_NONE")
        for tensor in described["output"]:
            tensor.setdefault("label_filename", "")
        assert again == described


def test_an_edit_of_what_was_told_counts() -> None:
    servable = servable_of({"max_batch_size": 8, "gate": "strict", "labels": ("a",)})
    described = triton_config(servable)
    described["max_batch_size"] = 2
    described["instance_group"][0]["count"] = 5
    config = back(described)
    assert (config.max_batch_size, config.instances, config.gate, config.labels) == (2, 5, "strict", ("a",))


def test_reshape_shows_what_clients_send_and_what_the_graph_takes() -> None:
    servable = servable_of({"batched": True, "inputs": [{**X, "reshape": (2, 2)}]})
    assert triton_config(servable)["input"][0]["reshape"] == {"shape": [2, 2]}
    servable.batchability = single("no")
    described = triton_config(servable)["input"][0]
    assert (described["dims"], described["reshape"]) == ([-1, 4], {"shape": [-1, 2, 2]})


def test_the_fields_that_triton_always_tells_are_there() -> None:
    described = triton_config(servable_of({}))
    assert described["optimization"]["input_pinned_memory"] == {"enable": True}
    assert described["input"][0] == {
        "name": "x",
        "data_type": "TYPE_FP32",
        "dims": [4],
        "is_shape_tensor": False,
        "is_non_linear_format_io": False,
        "allow_ragged_batch": False,
        "optional": False,
    }
    assert described["response_cache"] == {"enable": False}
    assert described["model_transaction_policy"] == {"decoupled": False}


def test_a_sequence_model_has_the_sequence_batcher_and_no_other() -> None:
    servable = servable_of({"sequences": {"strategy": "direct", "controls": [STEP], "states": []}})
    described = triton_config(servable)
    assert "dynamic_batching" not in described
    message = json_format.ParseDict(described, model_config_pb2.ModelConfig())
    assert message.sequence_batching.WhichOneof("strategy_choice") == "direct"
    assert list(message.sequence_batching.control_input[0].control[0].fp32_false_true) == [-1, 2]  # as "x" is FP32


@pytest.mark.parametrize(("datatype", "field"), [("INT32", "int32"), ("FP32", "fp32"), ("BOOL", "bool")])
def test_controls_have_the_datatype_of_their_input(datatype: str, field: str) -> None:
    servable = servable_of({"sequences": {"controls": [{"input": "x", "kind": "start"}]}})
    servable.inputs = {"x": TensorSpec("x", datatype, ("N", 1))}
    [control] = triton_config(servable)["sequence_batching"]["control_input"]
    assert control["control"][0][f"{field}_false_true"] == [0, 1]


def test_instances_are_grouped_by_their_device() -> None:
    servable = servable_of({"instances": 3, "devices": (1, 0, 1), "accelerator_options": {"prefer_nhwc": True}})
    servable.provider = "cuda"
    described = triton_config(servable)
    assert [(g["count"], g["gpus"]) for g in described["instance_group"]] == [(1, [0]), (2, [1])]
    [accelerator] = described["optimization"]["execution_accelerators"]["gpu_execution_accelerator"]
    assert accelerator == {"name": "cuda", "parameters": {"prefer_nhwc": "true"}}
    assert (back(described).provider, back(described).devices) == ("cuda", (0, 1, 1))
    assert back(described).accelerator_options == {"prefer_nhwc": True}


def test_latest_is_latest() -> None:
    described = triton_config(servable_of({"versions": Latest(latest=2)}))
    assert described["version_policy"] == {"latest": {"num_versions": 2}}
    assert described["parameters"]["retort_versions"] == {"string_value": "latest 2"}
