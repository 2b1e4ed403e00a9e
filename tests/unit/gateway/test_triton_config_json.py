from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2

from service.core.contract import TensorSpec
from service.gateway.triton_config_json import triton_config
from service.repository.model_config import DynamicBatching, ModelConfig
from service.serving.batchability import single
from tests.unit.gateway.fake_catalog import FakeServable


def read(servable: Any) -> Any:
    """What Triton's own message makes of our JSON; an unknown field fails."""
    return json_format.ParseDict(triton_config(servable), model_config_pb2.ModelConfig())


def test_a_batched_version_leaves_the_batch_axis_out_of_its_dims() -> None:
    servable = FakeServable(
        inputs=(TensorSpec("x", "FP32", ("n", 3, None)), TensorSpec("s", "BYTES", ("n",))),
        outputs=(TensorSpec("y", "INT64", ("n", "k")),),
    )
    config = read(servable)
    assert (config.name, config.platform, config.backend) == ("m", "onnxruntime_onnx", "onnxruntime")
    assert config.max_batch_size == 32
    assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [
        ("x", model_config_pb2.TYPE_FP32, [3, -1]),
        ("s", model_config_pb2.TYPE_STRING, []),
    ]
    assert [(o.name, o.data_type, list(o.dims)) for o in config.output] == [("y", model_config_pb2.TYPE_INT64, [-1])]
    assert config.default_model_filename == "model.onnx"
    assert config.HasField("dynamic_batching")


def test_a_version_that_is_never_mixed_has_whole_dims_and_no_batcher() -> None:
    servable = FakeServable()
    servable.batchability = single("softmax over rows")
    config = read(servable)
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [-1, 4])
    assert not config.HasField("dynamic_batching")
    assert config.parameters["retort_batching"].string_value == "single-request-only"
    assert config.parameters["retort_batching_reason"].string_value == "softmax over rows"


def test_the_batcher_s_knobs_are_told() -> None:
    servable = FakeServable()
    servable.config = ModelConfig(
        dynamic_batching=DynamicBatching(
            max_queue_delay_microseconds=500,
            preferred_batch_size=(4, 8),
            max_queue_size=7,
            default_timeout_microseconds=9,
        )
    )
    batching = read(servable).dynamic_batching
    assert list(batching.preferred_batch_size) == [4, 8]
    assert batching.max_queue_delay_microseconds == 500
    assert batching.default_queue_policy.max_queue_size == 7
    assert batching.default_queue_policy.default_timeout_microseconds == 9


@pytest.mark.parametrize(
    ("versions", "kind"), [("all", "all"), ("active", "latest"), (("1", "2"), "specific"), (("1", "1-int8"), "all")]
)
def test_residency_is_triton_s_version_policy_as_far_as_that_goes(versions: Any, kind: str) -> None:
    servable = FakeServable()
    servable.config = ModelConfig(versions=versions)
    config = read(servable)
    assert config.version_policy.WhichOneof("policy_choice") == kind
    told = config.parameters["retort_versions"].string_value
    assert told == (versions if isinstance(versions, str) else ",".join(versions))
    if kind == "specific":
        assert list(config.version_policy.specific.versions) == [1, 2]


@pytest.mark.parametrize(
    ("provider", "kind", "gpus"),
    [("cpu", "KIND_CPU", []), ("cuda", "KIND_GPU", [0]), ("tensorrt", "KIND_GPU", [0])],
)
def test_instances_run_where_the_provider_is(provider: str, kind: str, gpus: list[int]) -> None:
    servable = FakeServable()
    servable.provider = provider
    servable.config = ModelConfig(instances=3, threads=2)
    config = read(servable)
    (group,) = config.instance_group
    assert (group.count, model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind), list(group.gpus)) == (3, kind, gpus)
    fields = {field.name for field in group.DESCRIPTOR.fields} - {"rate_limiter"}
    assert triton_config(servable)["instance_group"][0].keys() == fields, "each of them, as Triton does"
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert config.parameters["execution_provider"].string_value == provider
