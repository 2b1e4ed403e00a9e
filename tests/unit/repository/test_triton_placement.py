from __future__ import annotations

from typing import Any

import pytest

from service.repository.config_tensors import Latest
from tests.unit.repository.triton_texts import problem, read, told


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
