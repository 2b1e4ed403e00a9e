"""A version's configuration as Triton's ModelConfig message in JSON, for clients that ask how a model is batched.

Pure function of a servable. Source: Triton's model_config.proto; field names are that message's.
"""

from __future__ import annotations

from typing import Any

from service.core.contract import TensorSpec
from service.gateway.describe import platform
from service.repository.model_config import ModelConfig
from service.serving.servable import Servable

_DATA_TYPES = {"BYTES": "TYPE_STRING"}
_ON_CPU = "cpu"
_ELSEWHERE = "remote"


def triton_config(servable: Servable) -> dict[str, Any]:
    """Triton's ModelConfig; `dims` are without the batch axis where `max_batch_size` is above 0."""
    config = servable.config
    first_axis = 1 if servable.max_batch_size else 0
    described: dict[str, Any] = {
        "name": servable.model,
        "platform": platform(servable),
        "backend": "onnxruntime" if servable.provider != _ELSEWHERE else "",
        "version_policy": _version_policy(config),
        "max_batch_size": servable.max_batch_size,
        "input": [_tensor(spec, first_axis) for spec in servable.inputs.values()],
        "output": [_tensor(spec, first_axis) for spec in servable.outputs.values()],
        "instance_group": [_instances(servable)],
        "default_model_filename": "model.onnx" if servable.provider != _ELSEWHERE else "",
        "parameters": _parameters(servable),
    }
    if servable.max_batch_size:
        described["dynamic_batching"] = _dynamic_batching(config)
    return described


def _version_policy(config: ModelConfig) -> dict[str, Any]:
    """Triton's versions are integers: a list with any other id is told in the parameters alone."""
    if config.versions == "active":
        return {"latest": {"num_versions": 1}}
    if config.versions == "all" or not all(version.isdecimal() for version in config.versions):
        return {"all": {}}
    return {"specific": {"versions": [int(version) for version in config.versions]}}


def _tensor(spec: TensorSpec, first_axis: int) -> dict[str, Any]:
    data_type = _DATA_TYPES.get(spec.datatype, f"TYPE_{spec.datatype}")
    return {"name": spec.name, "data_type": data_type, "dims": list(spec.shape[first_axis:])}


def _instances(servable: Servable) -> dict[str, Any]:
    group: dict[str, Any] = {"name": f"{servable.model}_0", "count": servable.config.instances, "kind": "KIND_CPU"}
    if servable.provider == _ELSEWHERE:
        return group | {"kind": "KIND_MODEL"}  # where it runs is the model's affair
    return group if servable.provider == _ON_CPU else group | {"kind": "KIND_GPU", "gpus": [0]}


def _dynamic_batching(config: ModelConfig) -> dict[str, Any]:
    knobs = config.dynamic_batching
    return {
        "preferred_batch_size": list(knobs.preferred_batch_size),
        "max_queue_delay_microseconds": knobs.max_queue_delay_microseconds,
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": knobs.default_timeout_microseconds,
            "allow_timeout_override": True,
            "max_queue_size": knobs.max_queue_size,
        },
    }


def _parameters(servable: Servable) -> dict[str, dict[str, str]]:
    config = servable.config
    values = {
        "execution_provider": servable.provider,
        "retort_batching": servable.batchability.mode,
        "retort_batching_reason": servable.batchability.reason,
        "retort_versions": config.versions if isinstance(config.versions, str) else ",".join(config.versions),
        "retort_gate": config.gate,
        "intra_op_thread_count": "" if config.threads is None else str(config.threads),
    }
    return {key: {"string_value": value} for key, value in values.items() if value}
