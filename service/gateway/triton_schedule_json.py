"""How a version's requests are scheduled, as the sections of Triton's ModelConfig in JSON.

Pure functions of the configuration. Source: Triton's model_config.proto.
"""

from __future__ import annotations

from typing import Any

from service.core.contract import TensorSpec
from service.repository.config_sections import Control, DynamicBatching, QueuePolicy, Sequences
from service.repository.config_tensors import WarmupInput
from service.repository.model_config import ModelConfig
from service.serving.servable import Servable

_DATA_TYPES = {"BYTES": "TYPE_STRING"}
_CONTROLS = {"INT32": "int32_false_true", "FP32": "fp32_false_true", "BOOL": "bool_false_true"}


def data_type(spec: TensorSpec | None) -> str:
    """Triton's name of a tensor's datatype; that of no type for a tensor that is not known."""
    return "TYPE_INVALID" if spec is None else _named(spec.datatype)


def _named(datatype: str) -> str:
    return _DATA_TYPES.get(datatype, f"TYPE_{datatype}")


def dynamic_batching(knobs: DynamicBatching) -> dict[str, Any]:
    """Triton's ModelDynamicBatching."""
    return {
        "preferred_batch_size": list(knobs.preferred_batch_size),
        "max_queue_delay_microseconds": knobs.max_queue_delay_microseconds,
        "preserve_ordering": knobs.preserve_ordering,
        "priority_levels": knobs.priority_levels,
        "default_priority_level": knobs.default_priority_level or (knobs.priority_levels + 1) // 2,
        "default_queue_policy": _policy(knobs),
        "priority_queue_policy": {str(level): _policy(own) for level, own in knobs.priority_queue_policy.items()},
    }


def _policy(policy: QueuePolicy) -> dict[str, Any]:
    return {
        "timeout_action": policy.timeout_action,
        "default_timeout_microseconds": policy.default_timeout_microseconds,
        "allow_timeout_override": policy.allow_timeout_override,
        "max_queue_size": policy.max_queue_size,
    }


def sequence_batching(sequences: Sequences, servable: Servable) -> dict[str, Any]:
    """Triton's ModelSequenceBatching; initial values other than 0 stand in `retort_config`."""
    delay = {"max_queue_delay_microseconds": sequences.max_queue_delay_microseconds}
    strategy: dict[str, Any] = {"direct": delay}
    if sequences.strategy == "oldest":
        strategy = {"oldest": {"max_candidate_sequences": sequences.max_candidate_sequences, **delay}}
    return strategy | {
        "max_sequence_idle_microseconds": sequences.max_sequence_idle_microseconds,
        "control_input": [_control(control, servable) for control in sequences.controls],
        "state": [
            {
                "input_name": state.input,
                "output_name": state.output,
                "data_type": data_type(_spec(state.input, servable)),
                "dims": list(state.shape or ()),
            }
            for state in sequences.states
        ],
    }


def _spec(name: str, servable: Servable) -> TensorSpec | None:
    """The spec of a state's or control's input, which is none of the client's."""
    hidden = servable.sequencer.hidden if servable.sequencer is not None else {}
    return hidden.get(name) or servable.inputs.get(name)


def _control(control: Control, servable: Servable) -> dict[str, Any]:
    spec = _spec(control.input, servable)
    described: dict[str, Any] = {"kind": f"CONTROL_SEQUENCE_{control.kind.upper()}"}
    if control.kind == "corrid":
        described["data_type"] = data_type(spec)
    else:
        key = _CONTROLS.get(spec.datatype if spec is not None else "INT32", "int32_false_true")
        kind = {"int32_false_true": int, "fp32_false_true": float, "bool_false_true": bool}[key]
        described[key] = [kind(control.false_value), kind(control.true_value)]
    return {"name": control.input, "control": [described]}


def warmup(config: ModelConfig) -> list[dict[str, Any]]:
    """Triton's ModelWarmup, one a sample."""
    return [
        {
            "name": sample.name,
            "batch_size": sample.batch_size,
            "count": sample.count,
            "inputs": {name: _warmup_input(given) for name, given in sample.inputs.items()},
        }
        for sample in config.warmup_samples
    ]


def _warmup_input(given: WarmupInput) -> dict[str, Any]:
    described: dict[str, Any] = {"data_type": _named(given.datatype), "dims": list(given.dims)}
    if isinstance(given.data, bytes):
        return described | {"input_data_file": given.file}
    return described | {f"{given.data}_data": True}
