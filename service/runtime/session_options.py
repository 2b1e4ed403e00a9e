"""ONNX Runtime's session options: those that every version gets, and what a model's configuration changes of them.

Knows the names of the changes, which are those of the configuration's `session` section; nothing of providers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.runtime.onnx_runtime import onnxruntime

_LEVELS = {
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


def change(settings: onnxruntime.SessionOptions, wanted: Mapping[str, Any]) -> None:
    """Sets what `wanted` names; None leaves an option alone.

    Args:
        settings: of a session that is not built yet.
        wanted: name -> value, each a name of `CHANGES`.
    """
    for name, set_to in CHANGES.items():
        if wanted.get(name) is not None:
            set_to(settings, wanted[name])


def _level(settings: onnxruntime.SessionOptions, value: Any) -> None:
    settings.graph_optimization_level = _LEVELS[value]


def _parallel(settings: onnxruntime.SessionOptions, value: Any) -> None:
    if value:
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
        settings.inter_op_num_threads = 0  # as many as there are cores


def _inter_op_threads(settings: onnxruntime.SessionOptions, value: Any) -> None:
    settings.inter_op_num_threads = value


def _mem_arena(settings: onnxruntime.SessionOptions, value: Any) -> None:
    settings.enable_cpu_mem_arena = value


def _mem_pattern(settings: onnxruntime.SessionOptions, value: Any) -> None:
    settings.enable_mem_pattern = value


def _device_allocator(settings: onnxruntime.SessionOptions, value: Any) -> None:
    settings.add_session_config_entry("session.use_device_allocator_for_initializers", "1" if value else "0")


# In this order: a number of threads wins over what `parallel` sets.
CHANGES: Mapping[str, Callable[[onnxruntime.SessionOptions, Any], None]] = {
    "graph_optimization": _level,
    "parallel": _parallel,
    "inter_op_threads": _inter_op_threads,
    "mem_arena": _mem_arena,
    "mem_pattern": _mem_pattern,
    "device_allocator": _device_allocator,
}
