"""Triton's execution accelerators and graph optimization, as ONNX Runtime's providers and options take them.

Options that would change the precision of a graph, load code or write files are refused by name. Source: the ONNX
Runtime backend's README and onnxruntime.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.repository.suggest import quoted
from service.repository.triton_reading import Reading

_GRAPH_LEVELS = {0: "all", -1: "basic", 1: "extended", 2: "disabled"}
_OURS = "engines and timings are kept in the server's state folder"
_DUMPS = "nothing is written for debugging"
_IGNORED: Mapping[str, str] = {
    "trt_engine_cache_path": _OURS,
    "trt_engine_cache_prefix": _OURS,
    "trt_timing_cache_path": _OURS,
    "trt_engine_cache_enable": _OURS,
    "trt_timing_cache_enable": _OURS,
    "trt_dump_subgraphs": _DUMPS,
    "trt_dump_ep_context_model": _DUMPS,
    "trt_ep_context_file_path": _DUMPS,
    "trt_ep_context_embed_mode": _DUMPS,
}
_REFUSED: Mapping[str, str] = {
    "trt_extra_plugin_lib_paths": "libraries of plugins are not loaded",
    "int8_calibration_table_name": "precision is baked into the graph: quantise the model",
    "int8_use_native_calibration_table": "precision is baked into the graph: quantise the model",
    "use_tf32": "precision is baked into the graph",
}
_SWITCHES = frozenset(
    {
        "cudnn_conv1d_pad_to_nc1d",
        "cudnn_conv_use_max_workspace",
        "do_copy_in_default_stream",
        "enable_skip_layer_norm_strict_mode",
        "fuse_conv_bias",
        "prefer_nhwc",
        "trt_build_heuristics_enable",
        "trt_context_memory_sharing_enable",
        "trt_detailed_build_log",
        "trt_dla_enable",
        "trt_engine_hw_compatible",
        "trt_force_sequential_engine_build",
        "trt_force_timing_cache",
        "trt_layer_norm_fp32_fallback",
        "trt_sparsity_enable",
        "tunable_op_enable",
        "tunable_op_tuning_enable",
        "use_ep_level_unified_stream",
    }
)
_NUMBERS = frozenset(
    {
        "gpu_mem_limit",
        "sdpa_kernel",
        "trt_auxiliary_streams",
        "trt_builder_optimization_level",
        "trt_dla_core",
        "trt_max_partition_iterations",
        "trt_max_workspace_size",
        "trt_min_subgraph_size",
        "tunable_op_max_tuning_duration_ms",
    }
)
_TEXTS = frozenset(
    {
        "arena_extend_strategy",
        "cudnn_conv_algo_search",
        "trt_op_types_to_exclude",
        "trt_preview_features",
        "trt_profile_max_shapes",
        "trt_profile_min_shapes",
        "trt_profile_opt_shapes",
        "trt_tactic_sources",
    }
)
_OTHER_NAMES = {"max_workspace_size_bytes": "trt_max_workspace_size"}


def read_accelerators(message: Any, reading: Reading) -> None:
    """Adds to `provider`, `accelerator_options` and `session`."""
    optimization = message.optimization
    level = optimization.graph.level
    if level not in _GRAPH_LEVELS:
        raise reading.wrong("optimization.graph.level", f"is {level}, expected -1, 0, 1 or 2")
    if level:
        reading.values.setdefault("session", {})["graph_optimization"] = _GRAPH_LEVELS[level]
    for accelerator in optimization.execution_accelerators.cpu_execution_accelerator:
        field = "optimization.execution_accelerators.cpu_execution_accelerator"
        raise reading.unsupported(
            field, f"there is no {quoted(accelerator.name)} here; leave it out for the CPU provider"
        )
    for accelerator in optimization.execution_accelerators.gpu_execution_accelerator:
        _accelerator(accelerator, reading)


def _accelerator(accelerator: Any, reading: Reading) -> None:
    where = "optimization.execution_accelerators.gpu_execution_accelerator"
    if accelerator.name not in ("tensorrt", "cuda"):
        raise reading.unsupported(where, f"there is no {quoted(accelerator.name)} here, only tensorrt and cuda")
    if accelerator.name == "tensorrt":
        _prefer_tensorrt(reading)
    options = reading.values.setdefault("accelerator_options", {})
    for key, text in sorted(accelerator.parameters.items()):
        _option(key, text, accelerator.name, reading, options)


def _prefer_tensorrt(reading: Reading) -> None:
    """An instance on the CPU has no accelerator; one that may run anywhere takes it where it is to be had."""
    asked = reading.values.get("provider", "auto")
    if asked == "cpu":
        reading.warn("gpu_execution_accelerator", "all instances run on the CPU")
    else:
        reading.values["provider"] = "tensorrt" if asked == "cuda" else "auto-tensorrt"


def _option(key: str, text: str, accelerator: str, reading: Reading, options: dict[str, Any]) -> None:
    field = f"{accelerator}.parameters {quoted(key)}"
    if key in _REFUSED:
        raise reading.unsupported(field, _REFUSED[key])
    if key in ("trt_cuda_graph_enable", "enable_cuda_graph"):
        if reading.switch(field, text):
            raise reading.unsupported(field, "CUDA graphs need buffers that never move")
    elif key == "precision_mode":
        if text != "FP32":
            raise reading.unsupported(field, f"{quoted(text)}; precision is baked into the graph: convert the model")
    elif key in _IGNORED:
        if not (key.endswith("_enable") and reading.switch(field, text)):  # on is what happens anyway
            reading.warn(field, _IGNORED[key])
    else:
        _known_option(key, text, field, reading, options)


def _known_option(key: str, text: str, field: str, reading: Reading, options: dict[str, Any]) -> None:
    name = _OTHER_NAMES.get(key, key)
    if name in _SWITCHES:
        options[name] = reading.switch(field, text)
    elif name in _NUMBERS:
        options[name] = reading.number(field, text)
    elif name in _TEXTS:
        options[name] = text
    else:
        raise reading.unsupported(field, "the provider has no such option, or it is not one for a model to set")
