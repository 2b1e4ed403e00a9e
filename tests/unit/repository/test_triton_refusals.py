from __future__ import annotations

import pytest
from tritonclient.grpc import model_config_pb2

from service.repository import triton_refusals
from tests.unit.repository.triton_texts import problem, read, tensor

REFUSED = [
    ('name: "other"', "'name' is 'other', expected 'm'"),
    ('platform: "tensorrt_plan"', "'platform' is not supported: 'tensorrt_plan' is not onnxruntime_onnx"),
    ('backend: "python"', "'backend' is not supported: 'python' is not onnxruntime"),
    ('runtime: "libtriton_mine.so"', "'runtime' is not supported"),
    ("ensemble_scheduling { }", "'ensemble_scheduling' is not supported"),
    ('batch_input [ { target_name: "x" } ]', "'batch_input' is not supported"),
    ('batch_output [ { target_name: "x" } ]', "'batch_output' is not supported"),
    ('cc_model_filenames { key: "7.5" value: "a.onnx" }', "'cc_model_filenames' is not supported"),
    ('model_repository_agents { agents [ { name: "checksum" } ] }', "'model_repository_agents' is not supported"),
    ('model_operations { op_library_filename: "ops.so" }', "'model_operations' is not supported"),
    ("model_transaction_policy { decoupled: true }", "decoupled' is not supported"),
    ("sequence_batching { iterative_sequence: true }", "iterative_sequence' is not supported"),
    ("version_policy { specific { } }", "must hold version numbers"),
    ("version_policy { specific { versions: [0] } }", "must hold version numbers of 1 or more"),
    ("instance_group [ { kind: KIND_MODEL } ]", "KIND_MODEL"),
    ("instance_group [ { kind: KIND_CPU }, { kind: KIND_GPU } ]", "groups of different kinds"),
    ("instance_group [ { kind: KIND_CPU gpus: [0] } ]", "beside KIND_CPU"),
    ("instance_group [ { count: -1 } ]", "is -1, expected 1 or more"),
    ("instance_group [ { count: 2000000000 } ]", "more than 256 instances"),
    ("instance_group [ { gpus: [-1] } ]", "numbers of devices"),
    ("instance_group [ { passive: true } ]", "passive' is not supported"),
    ("instance_group [ { secondary_devices [ { device_id: 1 } ] } ]", "secondary_devices' is not supported"),
    ("optimization { graph { level: 3 } }", "'optimization.graph.level' is 3"),
    (
        'optimization { execution_accelerators { cpu_execution_accelerator [ { name: "openvino" } ] } }',
        "there is no 'openvino' here",
    ),
    (
        'optimization { execution_accelerators { gpu_execution_accelerator [ { name: "gpu_io" } ] } }',
        "there is no 'gpu_io' here, only tensorrt and cuda",
    ),
    ('default_model_filename: "../model.onnx"', "'onnx_file'"),
    ('parameters { key: "execution_mode" value { string_value: "2" } }', "expected 0 to 1"),
    ('parameters { key: "intra_op_thread_count" value { string_value: "two" } }', "expected a whole number"),
    ('parameters { key: "intra_op_thread_count" value { string_value: "5000" } }', "'threads'"),
    ('parameters { key: "enable_mem_arena" value { string_value: "maybe" } }', "expected true, false, 1 or 0"),
    ('parameters { key: "retort_config" value { string_value: "[]" } }', "must be a JSON object"),
    (
        'parameters { key: "retort_config" value { string_value: "{\\"labels\\": [\\"\\\\ud800\\"]}" } }',
        "must be a JSON object",
    ),
    ('parameters { key: "retort_config" value { string_value: "{\\"gat\\": 1}" } }', "unknown key 'gat'"),
]


FIELDS = [field.name for field in model_config_pb2.ModelConfig.DESCRIPTOR.fields]


def test_every_field_of_the_message_is_sorted() -> None:
    known = triton_refusals._HONOURED | triton_refusals._REFUSED.keys() | triton_refusals._IGNORED.keys()
    assert known == set(FIELDS)
    optimization = {field.name for field in model_config_pb2.ModelOptimizationPolicy.DESCRIPTOR.fields}
    assert triton_refusals._IGNORED_OPTIMIZATION.keys() | {"graph", "execution_accelerators"} == optimization


def test_a_field_that_nobody_sorted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_refusals, "_IGNORED", {})
    assert "'metric_tags' is not supported: it is newer" in problem('metric_tags { key: "a" value: "b" }')


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(text: str, words: str) -> None:
    sentence = problem(text)
    assert words in sentence
    assert sentence.startswith("m/config.pbtxt: ")


ADVICE = [
    ('metric_tags { key: "a" value: "b" }', "'metric_tags'"),
    ("model_metrics { metric_control [ { } ] }", "'model_metrics'"),
    ("optimization { priority: PRIORITY_MAX }", "'optimization.priority'"),
    ("optimization { cuda { graphs: true } }", "'optimization.cuda'"),
    ("optimization { input_pinned_memory { enable: false } }", "'optimization.input_pinned_memory'"),
    ("optimization { gather_kernel_buffer_threshold: 9 }", "'optimization.gather_kernel_buffer_threshold'"),
    ("optimization { eager_batching: true }", "'optimization.eager_batching'"),
    ("instance_group [ { rate_limiter { priority: 1 } } ]", "rate_limiter'"),
    ('instance_group [ { profile: "0" } ]', "profile'"),
    ('instance_group [ { host_policy: "p" } ]', "host_policy'"),
    (tensor("data_type: TYPE_FP32 dims: [1] optional: true"), "input 'x'.optional"),
    ('parameters { key: "mine" value { string_value: "1" } }', "parameters 'mine'"),
    (
        'parameters { key: "memory.enable_memory_arena_shrinkage" value { string_value: "cpu:0" } }',
        "memory.enable_memory_arena_shrinkage",
    ),
    ("sequence_batching { direct { minimum_slot_utilization: 0.5 } }", "minimum_slot_utilization'"),
    ("sequence_batching { oldest { preferred_batch_size: [4] } }", "oldest.preferred_batch_size'"),
    ("sequence_batching { oldest { preserve_ordering: true } }", "oldest.preserve_ordering'"),
]


@pytest.mark.parametrize(("text", "words"), ADVICE)
def test_advice_has_no_effect_and_that_is_told(text: str, words: str) -> None:
    [warning] = read(text).warnings
    assert words in warning
    assert warning.startswith("m/config.pbtxt: ")
    assert "has no effect here: " in warning


@pytest.mark.parametrize(
    "text", ["optimization { input_pinned_memory { enable: true } }", "model_transaction_policy { decoupled: false }"]
)
def test_what_triton_fills_in_itself_is_no_news(text: str) -> None:
    assert read(text).warnings == ()
