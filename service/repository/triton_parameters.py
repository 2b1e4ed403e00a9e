"""The `parameters` of a Triton configuration: those of the ONNX Runtime backend, and what `/config` of Retort adds.

Any other key is a custom backend's and, as in Triton, no error. Source: the ONNX Runtime backend's README.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from service.repository.suggest import quoted
from service.repository.triton_reading import Reading

OWN = "retort_config"
_TOLD = frozenset({"execution_provider", "retort_batching", "retort_batching_reason", "retort_versions", "retort_gate"})
_ALGORITHMS = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")
_STRATEGIES = ("kNextPowerOfTwo", "kSameAsRequested")
_MODES = (False, True)
_ALL_MEMORY = 1 << 63  # and above: what a C program writes for "no limit"


def read_parameters(message: Any, reading: Reading) -> None:
    """Adds to `threads`, `session` and `accelerator_options`; what `OWN` says wins over all that was read before."""
    for key, parameter in sorted(message.parameters.items()):
        read = _READERS.get(key)
        if read is not None:
            read(f"parameters {quoted(key)}", parameter.string_value, reading)
        elif key not in _TOLD and key != OWN:
            reading.warn(f"parameters {quoted(key)}", "it is none of the ONNX Runtime backend's that are served")
    reading.values |= read_own(message, reading)


def read_own(message: Any, reading: Reading) -> dict[str, Any]:
    """The keys of model.yaml that `OWN` holds; none without it."""
    if OWN not in message.parameters:
        return {}
    try:
        values = json.loads(message.parameters[OWN].string_value)
        json.dumps(values, ensure_ascii=False).encode()  # half a character, which no answer could hold, is none
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise reading.wrong(f"parameters {quoted(OWN)}", "must be a JSON object with keys of model.yaml")
    return values


def _intra_op_threads(field: str, text: str, reading: Reading) -> None:
    threads = reading.number(field, text)
    if threads > 0:
        reading.values["threads"] = threads


def _inter_op_threads(field: str, text: str, reading: Reading) -> None:
    threads = reading.number(field, text)
    if threads > 0:
        _session(reading)["inter_op_threads"] = threads


def _session_switch(key: str) -> Callable[[str, str, Reading], None]:
    def read(field: str, text: str, reading: Reading) -> None:
        _session(reading)[key] = reading.switch(field, text)

    return read


def _numbered(section: str, key: str, values: tuple[Any, ...]) -> Callable[[str, str, Reading], None]:
    def read(field: str, text: str, reading: Reading) -> None:
        number = reading.number(field, text)
        if not 0 <= number < len(values):
            raise reading.wrong(field, f"is {quoted(text)}, expected 0 to {len(values) - 1}")
        reading.values.setdefault(section, {})[key] = values[number]

    return read


def _memory_limit(field: str, text: str, reading: Reading) -> None:
    if len(text) < len(str(_ALL_MEMORY)) or int_of(text) < _ALL_MEMORY:
        reading.values.setdefault("accelerator_options", {})["gpu_mem_limit"] = reading.number(field, text)


def int_of(text: str) -> int:
    """A whole number of at most 20 digits; 0 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_ALL_MEMORY * 2)) else 0


def _copy(field: str, text: str, reading: Reading) -> None:
    reading.values.setdefault("accelerator_options", {})["do_copy_in_default_stream"] = reading.switch(field, text)


def _shrinkage(field: str, _text: str, reading: Reading) -> None:
    reading.warn(field, "arenas are given back once the runs that needed them are long over")


def _session(reading: Reading) -> dict[str, Any]:
    session: dict[str, Any] = reading.values.setdefault("session", {})
    return session


_READERS: Mapping[str, Callable[[str, str, Reading], None]] = {
    "intra_op_thread_count": _intra_op_threads,
    "inter_op_thread_count": _inter_op_threads,
    "execution_mode": _numbered("session", "parallel", _MODES),
    "enable_mem_arena": _session_switch("mem_arena"),
    "enable_mem_pattern": _session_switch("mem_pattern"),
    "session.use_device_allocator_for_initializers": _session_switch("device_allocator"),
    "memory.enable_memory_arena_shrinkage": _shrinkage,
    "cudnn_conv_algo_search": _numbered("accelerator_options", "cudnn_conv_algo_search", _ALGORITHMS),
    "arena_extend_strategy": _numbered("accelerator_options", "arena_extend_strategy", _STRATEGIES),
    "gpu_mem_limit": _memory_limit,
    "do_copy_in_default_stream": _copy,
}
