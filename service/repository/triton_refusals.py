"""What of Triton's configuration is refused by name, and what is advice that has no effect here.

Refused is what would change answers, run foreign code, or need another backend; ignored is what only tells Triton how
to spend time or memory. Fields that are not set say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.repository.suggest import quoted
from service.repository.triton_parameters import read_own
from service.repository.triton_reading import Reading

_PLATFORM, _BACKEND = "onnxruntime_onnx", "onnxruntime"
_REMOTE = "remote"
_RUNTIMES = ("", "libtriton_onnxruntime.so", "onnxruntime.dll", "triton_onnxruntime.dll")

_REFUSED: Mapping[str, str] = {
    "ensemble_scheduling": "a model is one ONNX file; send the requests of the steps one after the other",
    "batch_input": "inputs that are made from the whole batch are not computed",
    "batch_output": "outputs of ragged batches are not taken apart",
    "cc_model_filenames": "one file serves every device; name it in default_model_filename",
    "model_repository_agents": "agents change the files before they are loaded; put the final files there",
    "model_operations": "libraries of custom operators are not loaded",
}
# Read here or by the modules beside this one.
_HONOURED = frozenset(
    {
        "backend",
        "default_model_filename",
        "dynamic_batching",
        "input",
        "instance_group",
        "max_batch_size",
        "model_transaction_policy",
        "model_warmup",
        "name",
        "optimization",
        "output",
        "parameters",
        "platform",
        "response_cache",
        "runtime",
        "sequence_batching",
        "version_policy",
    }
)
_IGNORED: Mapping[str, str] = {
    "metric_tags": "metrics have the labels model and version",
    "model_metrics": "histograms have fixed buckets",
}
_IGNORED_OPTIMIZATION: Mapping[str, str] = {
    "priority": "all models share the machine alike",
    "cuda": "graphs, events and streams of CUDA are ONNX Runtime's own affair",
    "input_pinned_memory": "inputs go to ONNX Runtime where they lie",
    "output_pinned_memory": "outputs stay where ONNX Runtime puts them",
    "gather_kernel_buffer_threshold": "inputs are gathered on the CPU",
    "eager_batching": "batches are formed as soon as a runner is idle anyway",
}


def read_kind(message: Any, reading: Reading) -> None:
    """Refuses another model's configuration, another backend's, and what no backend does here; notes ignored advice."""
    if message.name not in ("", reading.model):
        raise reading.wrong(
            "name", f"is {quoted(message.name)}, expected {quoted(reading.model)} as the folder's, or none"
        )
    remote = message.platform == _REMOTE and "runner" in read_own(message, reading)  # as `/config` of Retort tells it
    if message.platform not in ("", _PLATFORM) and not remote:
        raise reading.unsupported("platform", f"{quoted(message.platform)} is not {_PLATFORM}")
    if message.backend not in ("", _BACKEND):
        raise reading.unsupported("backend", f"{quoted(message.backend)} is not {_BACKEND}")
    if message.runtime not in _RUNTIMES:
        raise reading.unsupported("runtime", f"{quoted(message.runtime)} is not the runtime of {_BACKEND}")
    present = {field.name for field, _ in message.ListFields()}
    for field in sorted(present - _HONOURED - _IGNORED.keys()):
        raise reading.unsupported(field, _REFUSED.get(field, "it is newer than this server"))
    if message.model_transaction_policy.decoupled:
        raise reading.unsupported("model_transaction_policy.decoupled", "a request has exactly one answer")
    _note(_IGNORED, present, "", reading)
    of_optimization = {
        field.name for field, value in message.optimization.ListFields() if not _usual(field.name, value)
    }
    _note(_IGNORED_OPTIMIZATION, of_optimization, "optimization.", reading)


def _usual(field: str, value: Any) -> bool:
    """Whether it is what Triton itself fills in where nothing is said."""
    return field.endswith("_pinned_memory") and bool(value.enable)


def _note(ignored: Mapping[str, str], present: set[str], prefix: str, reading: Reading) -> None:
    for field, why in ignored.items():
        if field in present:
            reading.warn(prefix + field, why)
