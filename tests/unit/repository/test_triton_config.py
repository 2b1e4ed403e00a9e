"""Every field of Triton's configuration: honoured, noted as without effect, or refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from service.core.errors import BadModel
from service.repository import triton_refusals
from service.repository.config_files import read_config, read_given_config
from service.repository.config_sections import DynamicBatching, QueuePolicy
from service.repository.config_tensors import Latest
from service.repository.memory_folder import MemoryFolder
from service.repository.model_config import ModelConfig
from service.repository.triton_text import CONFIG_LIMIT_BYTES, read_config_json, read_pbtxt

BATCHED = """
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] format: FORMAT_NCHW } ]
output [ { name: "scores" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
"""
FILES = {"labels.txt": b"cat\r\ndog\n", "warmup/x.bin": b"\0" * 8}


def read(text: str, **files: bytes) -> ModelConfig:
    named = {name.replace("_", "."): data for name, data in files.items()}
    return read_config(MemoryFolder({"config.pbtxt": text.encode(), **FILES, **named}, "m"), "m")


def problem(text: str, **files: bytes) -> str:
    with pytest.raises(BadModel) as caught:
        read(text, **files)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def told(config: ModelConfig, *keys: str) -> tuple[Any, ...]:
    return tuple(getattr(config, key) for key in keys)


# Name, tensors, batch


@pytest.mark.parametrize(
    "text",
    ["", 'name: "m"', 'platform: "onnxruntime_onnx"', 'backend: "onnxruntime"', 'runtime: "onnxruntime.dll"'],
)
def test_what_says_nothing_new_leaves_the_defaults_but_for_triton_s_residency(text: str) -> None:
    assert read(text).versions == Latest(latest=1)
    assert read(text).model_copy(update={"versions": "all"}) == ModelConfig()


def test_tensors_are_taken_as_they_are_declared() -> None:
    config = read(BATCHED)
    assert (config.batched, config.max_batch_size) == (True, 8)
    [x], [scores] = config.inputs, config.outputs
    assert (x.name, x.datatype, x.dims, x.reshape, x.format) == ("x", "FP32", (3, 224, 224), None, "nchw")
    assert (scores.labels, scores.label_file) == (("cat", "dog"), "labels.txt")
    assert config.labels == config.labels_of("scores") == ("cat", "dog")
    assert config.warnings == ()


def test_without_a_maximum_declared_tensors_have_no_batch_and_no_tensors_leave_it_open() -> None:
    assert read(BATCHED.replace("max_batch_size: 8", "")).batched is False
    assert read("max_batch_size: 0").batched is None
    assert read("max_batch_size: 4").batched is True


def test_labels_of_two_outputs_stay_apart() -> None:
    more = 'output [ { name: "b" data_type: TYPE_FP32 dims: [ 1 ] label_filename: "other.txt" } ]'
    config = read(BATCHED + more, other_txt=b"one\ntwo")
    assert config.labels is None
    assert (config.labels_of("scores"), config.labels_of("b")) == (("cat", "dog"), ("one", "two"))
    assert config.labels_of("c") is None


@pytest.mark.parametrize(
    ("dims", "reshape", "kept"),
    [("1", "", ()), ("-1, 4", "-1, 2, 2", (-1, 2, 2)), ("2, -1, 6", "2, -1, 3, 2", (2, -1, 3, 2))],
)
def test_a_reshape_with_the_same_elements_is_taken(dims: str, reshape: str, kept: tuple[int, ...]) -> None:
    tensor = f'input [ {{ name: "x" data_type: TYPE_INT64 dims: [ {dims} ] reshape {{ shape: [ {reshape} ] }} }} ]'
    assert read("max_batch_size: 2 " + tensor).inputs[0].reshape == kept


def tensor(more: str, kind: str = "input", head: str = "") -> str:
    return f'{head} {kind} [ {{ name: "x" {more} }} ]'


WRONG_TENSORS = [
    (tensor("data_type: TYPE_FP32"), "input 'x'.dims' is empty"),
    (tensor("dims: [1]"), "input 'x'.data_type' is TYPE_INVALID"),
    (tensor("data_type: TYPE_BF16 dims: [1]"), "is TYPE_BF16, expected a datatype that is served"),
    (tensor("data_type: TYPE_FP32 dims: [0]"), "holds 0, expected sizes of 1 or more, or -1"),
    (tensor("data_type: TYPE_FP32 dims: [-2]"), "holds -2"),
    (tensor("data_type: TYPE_FP32 dims: [4] reshape { shape: [5] }"), "another number of elements than dims"),
    (tensor("data_type: TYPE_FP32 dims: [-1,4] reshape { shape: [4,-1] }"), "another number of elements than dims"),
    (tensor("data_type: TYPE_FP32 dims: [1] reshape { }"), "is empty, which needs a max_batch_size above 0"),
    (tensor("data_type: TYPE_FP32 dims: [1] reshape { shape: [0] }"), "reshape' holds 0"),
    (tensor("data_type: TYPE_FP32 dims: [1] allow_ragged_batch: true"), "allow_ragged_batch' is not supported"),
    (tensor("data_type: TYPE_FP32 dims: [1] is_shape_tensor: true"), "is_shape_tensor' is not supported"),
    (tensor("data_type: TYPE_FP32 dims: [1] is_non_linear_format_io: true"), "is_non_linear_format_io' is not supp"),
    (tensor("data_type: TYPE_FP32 dims: [1] is_shape_tensor: true", "output"), "is_shape_tensor' is not supported"),
    (tensor("data_type: TYPE_FP32 dims: [1] format: FORMAT_NHWC"), "format' wants 3 dims, got 1"),
    (tensor("data_type: TYPE_FP32 dims: [1]") * 2, "'input' names a tensor twice"),
    ("input [ { data_type: TYPE_FP32 dims: [1] } ]", "'input' holds a tensor without a name"),
    ("max_batch_size: -1", "'max_batch_size' is -1"),
    ("max_batch_size: 100000", "'max_batch_size': Input should be less than or equal to 65536"),
    (tensor('data_type: TYPE_FP32 dims: [1] label_filename: "../l"', "output"), "is not a plain path"),
    (tensor('data_type: TYPE_FP32 dims: [1] label_filename: "none"', "output"), "no readable file 'none'"),
]


@pytest.mark.parametrize(("text", "words"), WRONG_TENSORS)
def test_a_tensor_that_cannot_be_is_refused_by_name(text: str, words: str) -> None:
    assert words in problem(text)


def test_labels_that_are_no_text_are_refused() -> None:
    assert "not UTF-8 text" in problem(
        tensor('data_type: TYPE_FP32 dims: [1] label_filename: "b"', "output"), b=b"\xff"
    )


# What is refused whole, and what is advice


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
    ('parameters { key: "retort_config" value { string_value: "{\\"gat\\": 1}" } }', "unknown key 'gat'"),
]


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
    (tensor("data_type: TYPE_FP32 dims: [1] optional: true"), "input 'x'.optional'"),
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


# Scheduling


def test_dynamic_batching_is_taken_with_its_policies() -> None:
    config = read("""
      max_batch_size: 16
      dynamic_batching {
        preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 preserve_ordering: true
        priority_levels: 2 default_priority_level: 2
        default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 7 max_queue_size: 3 }
        priority_queue_policy { key: 1 value { allow_timeout_override: true } }
      }""")
    assert config.dynamic_batching == DynamicBatching(
        preferred_batch_size=(4, 8),
        max_queue_delay_microseconds=100,
        preserve_ordering=True,
        priority_levels=2,
        default_priority_level=2,
        timeout_action="DELAY",
        default_timeout_microseconds=7,
        allow_timeout_override=False,
        max_queue_size=3,
        priority_queue_policy={1: QueuePolicy(allow_timeout_override=True)},
    )


def test_a_queue_without_a_limit_gets_ours() -> None:
    config = read("max_batch_size: 2 dynamic_batching { default_queue_policy { } }")
    assert config.dynamic_batching == DynamicBatching(allow_timeout_override=False)
    assert read("max_batch_size: 2 dynamic_batching { }").dynamic_batching == DynamicBatching()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("priority_levels: 2", "'dynamic_batching.default_priority_level' is 0, expected 1 to 2"),
        ("priority_levels: 2 default_priority_level: 3", "is 3, expected 1 to 2"),
        ("priority_levels: 99 default_priority_level: 1", "'dynamic_batching.priority_levels'"),
        ("preferred_batch_size: [99]", "a preferred_batch_size is larger than max_batch_size"),
        (
            "priority_levels: 1 default_priority_level: 1 priority_queue_policy { key: 2 value { } }",
            "above priority_le",
        ),
        ("max_queue_delay_microseconds: 99999999999", "'dynamic_batching.max_queue_delay_microseconds'"),
    ],
)
def test_dynamic_batching_that_cannot_be_is_refused(section: str, words: str) -> None:
    assert words in problem(f"max_batch_size: 8 dynamic_batching {{ {section} }}")


SEQUENCES = """
  sequence_batching {
    max_sequence_idle_microseconds: 5000000
    oldest { max_candidate_sequences: 4 max_queue_delay_microseconds: 9 }
    control_input [
      { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
      { name: "END" control [ { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } ] },
      { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ -1, 2 ] } ] },
      { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }
    ]
    state [
      { input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 2, -1 ]
        initial_state { data_type: TYPE_FP32 dims: [ 2, 64 ] zero_data: true name: "zero" } },
      { input_name: "c" output_name: "cn" data_type: TYPE_FP32 dims: [ 8 ] }
    ]
  }"""


def test_sequences_are_taken_with_controls_and_states() -> None:
    sequences = read(SEQUENCES).sequences
    assert sequences is not None
    assert told(sequences, "strategy", "max_sequence_idle_microseconds") == ("oldest", 5_000_000)  # type: ignore[arg-type]
    assert (sequences.max_candidate_sequences, sequences.max_queue_delay_microseconds) == (4, 9)
    assert [(c.input, c.kind, c.false_value, c.true_value) for c in sequences.controls] == [
        ("START", "start", 0, 1),
        ("END", "end", 0, 1),
        ("READY", "ready", -1, 2),
        ("ID", "corrid", 0, 1),
    ]
    assert [(s.input, s.output, s.shape, s.initial) for s in sequences.states] == [
        ("h", "hn", (2, 64), 0),
        ("c", "cn", (8,), 0),
    ]


def test_sequences_without_more_are_direct_and_idle_for_a_second() -> None:
    sequences = read("sequence_batching { }").sequences
    assert sequences is not None
    assert (sequences.strategy, sequences.max_sequence_idle_microseconds) == ("direct", 1_000_000)
    assert read("sequence_batching { direct { max_queue_delay_microseconds: 3 } }").sequences is not None
    assert read("max_batch_size: 1").sequences is None


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ('control_input [ { name: "s" } ]', "it holds 0 controls"),
        ('control_input [ { name: "s" control [ { kind: CONTROL_SEQUENCE_END } ] } ]', "must have two values"),
        (
            'control_input [ { name: "s" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [1] } ] } ]',
            "must have two values",
        ),
        (
            'control_input [ { name: "s" control [ { kind: CONTROL_SEQUENCE_CORRID int32_false_true: [0, 1] } ] } ]',
            "which a correlation id does not have",
        ),
        ('state [ { input_name: "h" output_name: "n" initial_state [ {}, {} ] } ]', "is given more than once"),
        (
            'state [ { input_name: "h" output_name: "n" initial_state [ { data_file: "h.bin" } ] } ]',
            "data_file' is not supported",
        ),
        ('state [ { input_name: "h" } ]', "'sequences.states.0.output'"),
    ],
)
def test_sequences_that_cannot_be_said_are_refused(section: str, words: str) -> None:
    assert words in problem(f"sequence_batching {{ {section} }}")


def test_the_response_cache_is_switched_on() -> None:
    assert read("response_cache { enable: true }").response_cache is not None
    assert read("response_cache { enable: false }").response_cache is None


# Versions, instances, accelerators


@pytest.mark.parametrize(
    ("policy", "versions", "active"),
    [
        ("", Latest(latest=1), None),
        ("version_policy { latest { num_versions: 3 } }", Latest(latest=3), None),
        ("version_policy { all { } }", "all", None),
        ("version_policy { specific { versions: [ 2, 10 ] } }", ("2", "10"), "10"),
    ],
)
def test_the_version_policy_is_residency(policy: str, versions: Any, active: str | None) -> None:
    assert told(read("max_batch_size: 1 " + policy), "versions", "active") == (versions, active)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("{ }", (1, "auto", ())),
        ("{ count: 3 kind: KIND_CPU }", (3, "cpu", ())),
        ("{ count: 2 kind: KIND_CPU }, { kind: KIND_CPU }", (3, "cpu", ())),
        ("{ kind: KIND_GPU }", (1, "cuda", ())),
        ("{ count: 2 kind: KIND_GPU gpus: [ 0, 1 ] }", (4, "cuda", (0, 0, 1, 1))),
        ("{ kind: KIND_GPU gpus: [ 1 ] }, { count: 2 kind: KIND_GPU gpus: [ 0 ] }", (3, "cuda", (1, 0, 0))),
    ],
)
def test_instance_groups_are_instances_of_one_provider(groups: str, expected: Any) -> None:
    assert told(read(f"instance_group [ {groups} ]"), "instances", "provider", "devices") == expected


def accelerated(*parameters: tuple[str, str], name: str = "tensorrt", more: str = "") -> str:
    listed = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in parameters)
    accelerator = f'gpu_execution_accelerator [ {{ name: "{name}" {listed} }} ]'
    return f"optimization {{ execution_accelerators {{ {accelerator} }} }} {more}"


@pytest.mark.parametrize(
    ("kind", "provider"), [("KIND_GPU", "tensorrt"), ("KIND_AUTO", "auto-tensorrt"), ("KIND_CPU", "cpu")]
)
def test_tensorrt_is_taken_where_the_instances_are(kind: str, provider: str) -> None:
    config = read(accelerated(more=f"instance_group [ {{ kind: {kind} }} ]"))
    assert config.provider == provider
    assert bool(config.warnings) is (provider == "cpu")


def test_options_of_accelerators_are_the_providers() -> None:
    config = read(
        accelerated(
            ("precision_mode", "FP32"),
            ("max_workspace_size_bytes", "1073741824"),
            ("trt_engine_cache_enable", "true"),
            ("trt_builder_optimization_level", "3"),
            ("trt_force_sequential_engine_build", "1"),
            ("trt_tactic_sources", "-CUDNN"),
            ("trt_cuda_graph_enable", "0"),
        )
    )
    assert config.accelerator_options == {
        "trt_max_workspace_size": 1 << 30,
        "trt_builder_optimization_level": 3,
        "trt_force_sequential_engine_build": True,
        "trt_tactic_sources": "-CUDNN",
    }
    assert config.warnings == ()
    cuda = read(accelerated(("use_ep_level_unified_stream", "1"), name="cuda"))
    assert (cuda.provider, cuda.accelerator_options) == (None, {"use_ep_level_unified_stream": True})


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("precision_mode", "FP16", "'FP16'; precision is baked into the graph"),
        ("int8_calibration_table_name", "t", "precision is baked into the graph"),
        ("trt_extra_plugin_lib_paths", "/x.so", "libraries of plugins are not loaded"),
        ("trt_cuda_graph_enable", "true", "CUDA graphs"),
        ("use_tf32", "1", "precision is baked"),
        ("trt_nonsense", "1", "no such option"),
        ("trt_dla_core", "one", "expected a whole number"),
    ],
)
def test_options_that_change_answers_or_load_code_are_refused(key: str, value: str, words: str) -> None:
    sentence = problem(accelerated((key, value)))
    assert words in sentence
    assert f"tensorrt.parameters '{key}'" in sentence


@pytest.mark.parametrize(
    ("key", "value"),
    [("trt_engine_cache_path", "/tmp"), ("trt_engine_cache_enable", "false"), ("trt_dump_subgraphs", "0")],
)
def test_where_engines_are_kept_is_the_server_s_affair(key: str, value: str) -> None:
    [warning] = read(accelerated((key, value))).warnings
    assert key in warning


def parameters(**values: str) -> str:
    return " ".join(f'parameters {{ key: "{k}" value {{ string_value: "{v}" }} }}' for k, v in values.items())


def test_parameters_of_the_onnx_runtime_backend() -> None:
    config = read(
        parameters(
            intra_op_thread_count="4",
            inter_op_thread_count="2",
            execution_mode="1",
            enable_mem_arena="0",
            enable_mem_pattern="true",
            cudnn_conv_algo_search="1",
            arena_extend_strategy="0",
            gpu_mem_limit="4294967200",
            do_copy_in_default_stream="0",
        )
        + 'parameters { key: "session.use_device_allocator_for_initializers" value { string_value: "1" } }'
        + "optimization { graph { level: 1 } }"
    )
    assert config.threads == 4
    assert config.session.model_dump() == {
        "graph_optimization": "extended",
        "parallel": True,
        "inter_op_threads": 2,
        "mem_arena": False,
        "mem_pattern": True,
        "device_allocator": True,
    }
    assert config.accelerator_options == {
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kNextPowerOfTwo",
        "gpu_mem_limit": 4294967200,
        "do_copy_in_default_stream": False,
    }


def test_zero_threads_and_all_the_memory_are_defaults() -> None:
    config = read(
        parameters(intra_op_thread_count="0", inter_op_thread_count="0", gpu_mem_limit="18446744073709551615")
    )
    assert told(config, "threads", "accelerator_options") == (None, {})
    assert config.session.inter_op_threads is None


@pytest.mark.parametrize(("level", "name"), [(-1, "basic"), (0, "all"), (1, "extended"), (2, "disabled")])
def test_levels_of_the_graph_optimization(level: int, name: str) -> None:
    assert read(f"optimization {{ graph {{ level: {level} }} }}").session.graph_optimization == name


def test_the_file_has_the_name_that_is_given() -> None:
    assert read('default_model_filename: "net.onnx"').onnx_file == "net.onnx"


# Warm-up


def test_warm_up_samples_are_taken_with_their_files() -> None:
    config = read("""
      model_warmup [ { name: "w" batch_size: 2 count: 3
        inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 1 ] input_data_file: "x.bin" } }
        inputs { key: "y" value { data_type: TYPE_INT64 dims: [ 4 ] zero_data: true } }
        inputs { key: "z" value { data_type: TYPE_STRING dims: [ 1 ] random_data: true } } } ]""")
    [sample] = config.warmup_samples
    assert (sample.name, sample.batch_size, sample.count) == ("w", 2, 3)
    assert {name: (i.datatype, i.dims, i.data, i.file) for name, i in sample.inputs.items()} == {
        "x": ("FP32", (1,), b"\0" * 8, "x.bin"),
        "y": ("INT64", (4,), "zero", ""),
        "z": ("BYTES", (1,), "random", ""),
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("data_type: TYPE_FP32 dims: [ 1 ]", "must have one of zero_data, random_data and input_data_file"),
        ("data_type: TYPE_FP32 dims: [ 1 ] zero_data: false", "must have one of"),
        ("data_type: TYPE_FP32 dims: [ -1 ] zero_data: true", "must hold sizes of 1 or more"),
        ("dims: [ 1 ] zero_data: true", "is TYPE_INVALID"),
        ('data_type: TYPE_FP32 dims: [ 1 ] input_data_file: "../labels.txt"', "is not a plain path"),
        ('data_type: TYPE_FP32 dims: [ 1 ] input_data_file: "none.bin"', "no readable file 'warmup/none.bin'"),
    ],
)
def test_a_sample_that_cannot_be_is_refused(value: str, words: str) -> None:
    assert words in problem(f'model_warmup [ {{ name: "w" inputs {{ key: "x" value {{ {value} }} }} }} ]')


def test_a_sample_without_inputs_is_refused() -> None:
    assert "model_warmup 'w'.inputs' is empty" in problem('model_warmup [ { name: "w" } ]')


# Beside model.yaml, and as JSON


def test_keys_of_model_yaml_win_one_by_one() -> None:
    config = read("max_batch_size: 8 instance_group [ { count: 3 } ]", model_yaml=b"max_batch_size: 4\ngate: strict\n")
    assert (config.max_batch_size, config.instances, config.gate, config.batched) == (4, 3, "strict", True)


def test_what_is_wrong_is_said_of_the_file_that_says_it() -> None:
    assert problem("max_batch_size: 8", model_yaml=b"instances: 0").startswith("m/model.yaml: 'instances'")
    assert problem("max_batch_size: 8", model_yaml=b"gat: strict").startswith("m/model.yaml: unknown key 'gat'")
    assert problem("max_batch_size: 100000", model_yaml=b"gate: strict").startswith("m/config.pbtxt: 'max_batch_size'")


def test_a_given_configuration_is_read_in_place_of_both_files() -> None:
    folder = MemoryFolder({"config.pbtxt": b"broken", "model.yaml": b"broken", **FILES}, "m")
    text = json.dumps({"maxBatchSize": 4, "parameters": {"retort_config": {"string_value": '{"gate": "strict"}'}}})
    config = read_given_config(text, folder, "m")
    assert (config.max_batch_size, config.gate, config.versions) == (4, "strict", Latest(latest=1))
    with pytest.raises(BadModel, match=r"^the given config of m: ModelConfig has no field 'max_batch'; did you mean"):
        read_given_config('{"max_batch": 1}', folder, "m")


# Text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'name: "m"\nmax_batch: 4',
            "m/config.pbtxt, line 2: ModelConfig has no field 'max_batch'; did you mean 'max_batch_size'?",
        ),
        (
            "\ninput [ { nam: 1 } ]",
            "m/config.pbtxt, line 2: ModelInput has no field 'nam'; did you mean 'name'?",
        ),
    ],
)
def test_an_unknown_field_is_named_with_its_line(text: str, sentence: str) -> None:
    assert problem(text) == sentence


@pytest.mark.parametrize("text", ["name: 'm'\n\ninput [", "name: 'm'\n\nmax_batch_size: x", "name: 'm'\n\n}"])
def test_a_mistake_is_told_with_its_line(text: str) -> None:
    assert problem(text).startswith("m/config.pbtxt, line 3: ")


def test_a_file_that_is_too_large_or_no_text_is_not_parsed() -> None:
    assert "more than the limit of" in problem("#" * (CONFIG_LIMIT_BYTES + 1))
    with pytest.raises(BadModel, match=r"^w, line 2: it is not UTF-8 text"):
        read_pbtxt(b"a\n\xff", "w")
    with pytest.raises(BadModel, match="more than the limit"):
        read_config_json(" " * (CONFIG_LIMIT_BYTES + 1), "w")
    with pytest.raises(BadModel, match="not UTF-8"):
        read_config_json("\ud800", "w")


FIELDS = [field.name for field in model_config_pb2.ModelConfig.DESCRIPTOR.fields]
WORDS = st.sampled_from(
    [
        *FIELDS,
        "{",
        "}",
        "[",
        "]",
        ":",
        '"x"',
        "-1",
        "0",
        "99999999999999999999",
        "KIND_GPU",
        "1e99",
        "nan",
        "true",
        "\n",
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(WORDS, max_size=30).map(lambda words: " ".join(words).encode())))
@example(b"input { reshape " * 2000)
@example(b"[type.googleapis.com/x] { }")
@example(b"input { [x.y]: 1 }")
def test_whatever_the_bytes_are_the_worst_is_a_bad_model(data: bytes) -> None:
    folder = MemoryFolder({"config.pbtxt": data}, "m")
    try:
        read_config(folder, "m")
    except BadModel as error:
        assert str(error).isascii()
        assert len(str(error)) < 700


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
        max_leaves=12,
    )
)
@example({"input": [{"dims": [1e30]}]})
def test_whatever_the_json_is_the_worst_is_a_bad_model(value: Any) -> None:
    try:
        read_given_config(json.dumps(value), MemoryFolder({}, "m"), "m")
    except BadModel as error:
        assert len(str(error)) < 700


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"input": ' * 20_000, '{"max_batch_size": ' + "9" * 10_000 + "}", "{"]
)
def test_hostile_json_is_a_bad_model(text: str) -> None:
    with pytest.raises(BadModel):
        read_given_config(text, MemoryFolder({}, "m"), "m")
