"""The provider options that model.yaml may set, by name and kind; whatever is not here is refused.

Left out on purpose: addresses (streams, allocators), libraries and paths, and CUDA graphs, which need fixed buffers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

# A tuple lists the texts that are allowed.
OptionKind = Literal["bool", "int", "text"] | tuple[str, ...]

_CPU: dict[str, OptionKind] = {
    "allow_spinning": "bool",
}
_CUDA: dict[str, OptionKind] = {
    "device_id": "int",
    "gpu_mem_limit": "int",
    "arena_extend_strategy": ("kSameAsRequested", "kNextPowerOfTwo"),
    "cudnn_conv_algo_search": ("HEURISTIC", "EXHAUSTIVE", "DEFAULT"),
    "cudnn_conv_use_max_workspace": "bool",
    "cudnn_conv1d_pad_to_nc1d": "bool",
    "do_copy_in_default_stream": "bool",
    "enable_skip_layer_norm_strict_mode": "bool",
    "fuse_conv_bias": "bool",
    "prefer_nhwc": "bool",
    "sdpa_kernel": "int",
    "tunable_op_enable": "bool",
    "tunable_op_tuning_enable": "bool",
    "tunable_op_max_tuning_duration_ms": "int",
    "use_ep_level_unified_stream": "bool",
}
_TENSORRT: dict[str, OptionKind] = {
    "device_id": "int",
    "trt_auxiliary_streams": "int",
    "trt_build_heuristics_enable": "bool",
    "trt_builder_optimization_level": "int",
    "trt_context_memory_sharing_enable": "bool",
    "trt_detailed_build_log": "bool",
    "trt_dla_core": "int",
    "trt_dla_enable": "bool",
    "trt_engine_hw_compatible": "bool",
    "trt_force_sequential_engine_build": "bool",
    "trt_force_timing_cache": "bool",
    "trt_layer_norm_fp32_fallback": "bool",
    "trt_max_partition_iterations": "int",
    "trt_max_workspace_size": "int",
    "trt_min_subgraph_size": "int",
    "trt_op_types_to_exclude": "text",
    "trt_preview_features": "text",
    "trt_profile_max_shapes": "text",
    "trt_profile_min_shapes": "text",
    "trt_profile_opt_shapes": "text",
    "trt_sparsity_enable": "bool",
    "trt_tactic_sources": "text",
}

OPTIONS: Mapping[str, dict[str, OptionKind]] = {"cpu": _CPU, "cuda": _CUDA, "tensorrt": _TENSORRT}

# What would change the precision that the graph asks for.
BAKED_IN = frozenset(
    {
        "trt_bf16_enable",
        "trt_fp16_enable",
        "trt_int8_calibration_table_name",
        "trt_int8_enable",
        "trt_int8_use_native_calibration_table",
        "use_tf32",
    }
)
