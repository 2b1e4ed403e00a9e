"""A version's configuration as Triton's ModelConfig message in JSON, for clients that ask how a model is served.

Whole: what it says can be given back to a load. Keys of model.yaml that the message has no field for stand in the
parameter `retort_config`. Pure function of a servable. Source: Triton's model_config.proto, and its model
configuration extension for the fields that are always there.
"""

from __future__ import annotations

import json
from typing import Any

from service.core.contract import TensorSpec
from service.gateway.describe import platform
from service.gateway.triton_schedule_json import data_type, dynamic_batching, sequence_batching, warmup
from service.repository.config_sections import Sequences
from service.repository.config_tensors import Input, Latest, Output
from service.repository.model_config import ModelConfig
from service.serving.servable import Servable

_ON_CPU = "cpu"
_ELSEWHERE = "remote"
_GRAPH_LEVELS = {"all": 0, "basic": -1, "extended": 1, "disabled": 2}
_ONLY_OURS = ("finite_outputs", "gate", "isolation", "pad", "provider_options", "runner", "warmup", "active")
_NO_TENSOR_FLAGS = {"is_shape_tensor": False, "is_non_linear_format_io": False}


def triton_config(servable: Servable) -> dict[str, Any]:
    """Triton's ModelConfig; `dims` are without the batch axis where `max_batch_size` is above 0."""
    config = servable.config
    described: dict[str, Any] = {
        "name": servable.model,
        "platform": platform(servable),
        "backend": "onnxruntime" if servable.provider != _ELSEWHERE else "",
        "runtime": "",
        "version_policy": _version_policy(config),
        "max_batch_size": servable.max_batch_size,
        "input": _inputs(servable),
        "output": _outputs(servable),
        "batch_input": [],
        "batch_output": [],
        "optimization": _optimization(servable),
        "instance_group": _instances(servable),
        "default_model_filename": config.onnx_file if servable.provider != _ELSEWHERE else "",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": _parameters(servable),
        "model_warmup": warmup(config),
        "response_cache": {"enable": config.response_cache is not None},
        "model_transaction_policy": {"decoupled": False},
    }
    if config.sequences is not None:
        described["sequence_batching"] = sequence_batching(config.sequences, servable)
    elif servable.max_batch_size:
        described["dynamic_batching"] = dynamic_batching(config.dynamic_batching)
    return described


def _version_policy(config: ModelConfig) -> dict[str, Any]:
    """Triton's versions are integers: a list with any other id is told in the parameters alone."""
    versions = config.versions
    if isinstance(versions, Latest):
        return {"latest": {"num_versions": versions.latest}}
    if versions == "active":
        return {"latest": {"num_versions": 1}}
    if versions == "all" or not all(version.isdecimal() for version in versions):
        return {"all": {}}
    return {"specific": {"versions": [int(version) for version in versions]}}


def _inputs(servable: Servable) -> list[dict[str, Any]]:
    declared = {tensor.name: tensor for tensor in servable.config.inputs}
    flags = {"allow_ragged_batch": False, "optional": False}
    return [_tensor(spec, declared.get(spec.name), servable) | flags for spec in servable.inputs.values()]


def _outputs(servable: Servable) -> list[dict[str, Any]]:
    declared = {tensor.name: tensor for tensor in servable.config.outputs}
    return [_tensor(spec, declared.get(spec.name), servable) for spec in servable.outputs.values()]


def _tensor(spec: TensorSpec, declared: Input | Output | None, servable: Servable) -> dict[str, Any]:
    first_axis = 1 if servable.max_batch_size else 0
    described: dict[str, Any] = {"name": spec.name, "data_type": data_type(spec), "dims": list(spec.shape[first_axis:])}
    if declared is not None and declared.reshape is not None:
        batch = [-1] if servable.config.batched and not first_axis else []
        described["reshape"] = {"shape": [*batch, *declared.reshape]}
    if isinstance(declared, Output):
        described["label_filename"] = declared.label_file
    if isinstance(declared, Input):
        described["format"] = f"FORMAT_{declared.format.upper()}"
    return described | _NO_TENSOR_FLAGS


def _instances(servable: Servable) -> list[dict[str, Any]]:
    config, name = servable.config, servable.model
    if servable.provider == _ON_CPU:
        return [_group(f"{name}_0", "KIND_CPU", config.instances)]
    if servable.provider == _ELSEWHERE:  # where it runs is the model's affair
        return [_group(f"{name}_0", "KIND_MODEL", config.instances)]
    devices = [config.devices[i % len(config.devices)] if config.devices else 0 for i in range(config.instances)]
    return [_group(f"{name}_{i}", "KIND_GPU", devices.count(gpu), gpu) for i, gpu in enumerate(sorted(set(devices)))]


def _group(name: str, kind: str, count: int, *gpus: int) -> dict[str, Any]:
    unused = {"secondary_devices": [], "profile": [], "passive": False, "host_policy": ""}
    return {"name": name, "kind": kind, "count": count, "gpus": list(gpus), **unused}


def _optimization(servable: Servable) -> dict[str, Any]:
    described: dict[str, Any] = {
        "graph": {"level": _GRAPH_LEVELS[servable.config.session.graph_optimization]},
        "priority": "PRIORITY_DEFAULT",
        "input_pinned_memory": {"enable": True},
        "output_pinned_memory": {"enable": True},
        "gather_kernel_buffer_threshold": 0,
        "eager_batching": False,
    }
    options = servable.config.accelerator_options
    if servable.provider not in (_ON_CPU, _ELSEWHERE) and (options or servable.provider == "tensorrt"):
        texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in options.items()}
        accelerator = {"name": servable.provider, "parameters": texts}
        described["execution_accelerators"] = {
            "gpu_execution_accelerator": [accelerator],
            "cpu_execution_accelerator": [],
        }
    return described


def _parameters(servable: Servable) -> dict[str, dict[str, str]]:
    config, session = servable.config, servable.config.session
    values = {
        "execution_provider": servable.provider,
        "retort_batching": servable.batchability.mode,
        "retort_batching_reason": servable.batchability.reason,
        "retort_versions": _versions_text(config),
        "retort_gate": config.gate,
        "retort_config": _own(servable),
        "intra_op_thread_count": "" if config.threads is None else str(config.threads),
        "inter_op_thread_count": "" if session.inter_op_threads is None else str(session.inter_op_threads),
        "execution_mode": "1" if session.parallel else "",
        "enable_mem_arena": "" if session.mem_arena else "0",
        "enable_mem_pattern": "1" if session.mem_pattern else "",
        "session.use_device_allocator_for_initializers": "1" if session.device_allocator else "",
    }
    return {key: {"string_value": value} for key, value in values.items() if value}


def _versions_text(config: ModelConfig) -> str:
    if isinstance(config.versions, Latest):
        return f"latest {config.versions.latest}"
    return config.versions if isinstance(config.versions, str) else ",".join(config.versions)


def _own(servable: Servable) -> str:
    """What a load must know beside the message to serve the same again: keys of model.yaml as JSON, "" for none."""
    config = servable.config
    said = config.model_dump(mode="json", exclude_defaults=True, include={*_ONLY_OURS, "accelerator_options"})
    if servable.provider != _ON_CPU:
        said.pop("accelerator_options", None)
    if not isinstance(config.versions, Latest) and "specific" not in _version_policy(config):
        said["versions"] = config.model_dump(mode="json")["versions"]
    if config.labels is not None and not any(output.labels for output in config.outputs):
        said["labels"] = list(config.labels)
    if config.response_cache is not None:
        said["response_cache"] = config.response_cache.model_dump(mode="json")
    said |= _own_schedule(servable)
    return json.dumps(said, sort_keys=True) if said else ""


def _own_schedule(servable: Servable) -> dict[str, Any]:
    """What the message's schedulers have no field for, or what stands in none because nothing is batched."""
    config, sequences = servable.config, servable.config.sequences
    if sequences is not None:
        usual = Sequences().max_waiting_sequences
        whole = sequences.max_waiting_sequences == usual and not any(state.initial for state in sequences.states)
        return {} if whole else {"sequences": sequences.model_dump(mode="json")}
    queue = config.dynamic_batching.model_dump(mode="json", exclude_defaults=True)
    return {"dynamic_batching": queue} if queue and not servable.max_batch_size else {}
