"""How requests wait in Triton's configuration: dynamic batching with its queue policies, sequences, response cache.

Sources: Triton's model_config.proto and model_config_utils.cc, whose defaults hold where nothing is said.
"""

from __future__ import annotations

from typing import Any

from service.repository.suggest import quoted
from service.repository.triton_reading import Reading

_IDLE_MICROSECONDS = 1_000_000  # Triton's own default
_KINDS = {0: "start", 1: "ready", 2: "end", 3: "corrid"}
_PAIRS = ("int32_false_true", "fp32_false_true", "bool_false_true")


def read_scheduling(message: Any, reading: Reading) -> None:
    """Sets `dynamic_batching`, `sequences` and `response_cache`, each where the configuration has it."""
    if message.HasField("dynamic_batching"):
        reading.values["dynamic_batching"] = _dynamic_batching(message.dynamic_batching, reading)
    if message.HasField("sequence_batching"):
        reading.values["sequences"] = _sequences(message.sequence_batching, reading)
    if message.response_cache.enable:
        reading.values["response_cache"] = {}


def _dynamic_batching(section: Any, reading: Reading) -> dict[str, Any]:
    levels, default = section.priority_levels, section.default_priority_level
    if levels and not 1 <= default <= levels:
        field = "dynamic_batching.default_priority_level"
        raise reading.wrong(field, f"is {default}, expected 1 to {levels}, as there are priority_levels")
    policy = _policy(section.default_queue_policy) if section.HasField("default_queue_policy") else {}
    return policy | {
        "max_queue_delay_microseconds": section.max_queue_delay_microseconds,
        "preferred_batch_size": list(section.preferred_batch_size),
        "priority_levels": levels,
        "default_priority_level": default,
        "priority_queue_policy": {level: _policy(own) for level, own in section.priority_queue_policy.items()},
        "preserve_ordering": section.preserve_ordering,
    }


def _policy(policy: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "timeout_action": "DELAY" if policy.timeout_action else "REJECT",
        "default_timeout_microseconds": policy.default_timeout_microseconds,
        "allow_timeout_override": policy.allow_timeout_override,
    }
    # 0 is no limit to Triton; here every queue has one, the default's.
    return values | ({"max_queue_size": policy.max_queue_size} if policy.max_queue_size else {})


def _sequences(section: Any, reading: Reading) -> dict[str, Any]:
    if section.iterative_sequence:
        raise reading.unsupported("sequence_batching.iterative_sequence", "a request has exactly one answer")
    values: dict[str, Any] = {
        "max_sequence_idle_microseconds": section.max_sequence_idle_microseconds or _IDLE_MICROSECONDS,
        "states": [_state(state, reading) for state in section.state],
        "controls": [_control(control, reading) for control in section.control_input],
        "strategy": "direct",
    }
    if section.WhichOneof("strategy_choice") == "oldest":
        return values | _oldest(section.oldest, reading)
    if section.direct.minimum_slot_utilization:
        field = "sequence_batching.direct.minimum_slot_utilization"
        reading.warn(field, "a batch waits for max_queue_delay_microseconds at most, however few rows it has")
    return values | {"max_queue_delay_microseconds": section.direct.max_queue_delay_microseconds}


def _oldest(section: Any, reading: Reading) -> dict[str, Any]:
    if section.preferred_batch_size:
        field = "sequence_batching.oldest.preferred_batch_size"
        reading.warn(field, "a batch goes when it is full or max_queue_delay_microseconds are over")
    if section.preserve_ordering:
        reading.warn("sequence_batching.oldest.preserve_ordering", "answers of one sequence always keep their order")
    values: dict[str, Any] = {
        "strategy": "oldest",
        "max_queue_delay_microseconds": section.max_queue_delay_microseconds,
    }
    if section.max_candidate_sequences:
        values["max_candidate_sequences"] = section.max_candidate_sequences
    return values


def _state(state: Any, reading: Reading) -> dict[str, Any]:
    field = f"sequence_batching.state {quoted(state.input_name)}"
    if state.use_same_buffer_for_input_output or state.use_growable_memory:
        reading.warn(f"{field}.use_same_buffer_for_input_output", "each state has memory of its own")
    if len(state.initial_state) > 1:
        raise reading.wrong(f"{field}.initial_state", "is given more than once")
    dims = list(state.dims)
    for initial in state.initial_state:
        if initial.WhichOneof("state_data") == "data_file":
            raise reading.unsupported(
                f"{field}.initial_state.data_file", "a state begins with one value in every place"
            )
        dims = list(initial.dims) or dims
    if any(dim < 0 for dim in dims):
        # A variable axis begins with one element, as without `shape`, and the rest as they are said.
        dims = [1 if dim < 0 else dim for dim in dims]
    values: dict[str, Any] = {"input": state.input_name, "output": state.output_name}
    return values | ({"shape": dims} if dims else {})


def _control(control: Any, reading: Reading) -> dict[str, Any]:
    field = f"sequence_batching.control_input {quoted(control.name)}"
    if len(control.control) != 1:
        raise reading.unsupported(field, f"it holds {len(control.control)} controls, expected one an input")
    [said] = control.control
    values: dict[str, Any] = {"input": control.name, "kind": _KINDS.get(said.kind, str(said.kind))}
    pairs = [list(getattr(said, name)) for name in _PAIRS if getattr(said, name)]
    if values["kind"] == "corrid":
        if pairs:
            raise reading.wrong(field, "has false and true values, which a correlation id does not have")
        return values
    if len(pairs) != 1 or len(pairs[0]) != 2:  # noqa: PLR2004 - false and true
        raise reading.wrong(field, "must have two values, for false and true, of one kind")
    false, true = (int(value) if isinstance(value, bool) else value for value in pairs[0])
    return values | {"false_value": false, "true_value": true}
