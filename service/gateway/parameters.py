"""The parameters of an inference request that the protocol and Triton's extensions define, whatever carried them.

`priority` and `timeout` (schedule policy), `sequence_id`, `sequence_start`, `sequence_end` (sequence),
`binary_data_output` (binary tensor data). Sources: Triton's extensions of those names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from service.core.contract import SequenceStep
from service.core.errors import BadInput
from service.gateway.quote import quote

RESERVED = "triton_"
_SEQUENCE = frozenset({"sequence_id", "sequence_start", "sequence_end"})
_CONSUMED = _SEQUENCE | {"timeout", "priority", "binary_data_output"}
_UINT64_LIMIT = 1 << 64
ID_LIMIT = 1024  # characters
_SEQUENCE_ID_LIMIT = 128  # characters; Triton's own limit of a text id


class RequestParameters(NamedTuple):
    """What a request's parameters ask for.

    Attributes:
        priority: 1 is served first; 0 takes the model's default level.
        timeout_us: microseconds, None when not given.
        sequence: None for a request that belongs to no sequence.
        binary_outputs: whether outputs go out as binary data unless they say otherwise.
        others: the parameters that are none of these.
    """

    priority: int = 0
    timeout_us: int | None = None
    sequence: SequenceStep | None = None
    binary_outputs: bool = False
    others: Mapping[str, Any] = {}


_NOTHING = RequestParameters()


def read_parameters(parameters: Mapping[str, Any]) -> RequestParameters:
    """Checks and sorts a request's parameters.

    Raises:
        BadInput: which one, and what was expected.
    """
    if not parameters:
        return _NOTHING
    check_names(parameters, "request")
    return RequestParameters(
        _whole_number(parameters, "priority") or 0,
        _whole_number(parameters, "timeout"),
        None if _SEQUENCE.isdisjoint(parameters) else _sequence(parameters),
        flag(parameters, "binary_data_output", "the request"),
        {name: value for name, value in parameters.items() if name not in _CONSUMED},
    )


def read_id(given: object) -> str:
    """The request's own `id`, which its answer echoes; "" for none. Raises BadInput."""
    if given is None:
        return ""
    if type(given) is not str or len(given) > ID_LIMIT:
        raise BadInput(f"'id' of the request must be a string of at most {ID_LIMIT} characters")
    return given


def check_names(parameters: Mapping[str, Any], kind: str, name: str = "") -> None:
    """Refuses names that the protocol keeps for servers; `kind` and `name` tell the message whose they are."""
    for key in parameters:
        if key.startswith(RESERVED):
            raise BadInput(f"parameter {quote(key)} of {where(kind, name)} is reserved: no key may begin so")


def where(kind: str, name: str = "") -> str:
    """What messages call a request, an input or an output: "the request", "input 'x'"."""
    return f"{kind} {quote(name)}" if name else f"the {kind}"


def flag(parameters: Mapping[str, Any], name: str, where: str) -> bool:
    """A parameter that is true or false; false when not given. Raises BadInput."""
    value = parameters.get(name, False)
    if type(value) is not bool:
        raise BadInput(f"parameter '{name}' of {where} must be true or false, not {quote(value)}")
    return value


def _whole_number(parameters: Mapping[str, Any], name: str) -> int | None:
    value = parameters.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < _UINT64_LIMIT:
        what = "a number of microseconds" if name == "timeout" else "a whole number of 0 or more, and of 64 bits"
        raise BadInput(f"parameter '{name}' of the request must be {what}")
    return value


def _sequence(parameters: Mapping[str, Any]) -> SequenceStep | None:
    start, end = (flag(parameters, name, "the request") for name in ("sequence_start", "sequence_end"))
    given = parameters.get("sequence_id", 0)
    fits = type(given) is int and 0 <= given < _UINT64_LIMIT
    if not fits and not (type(given) is str and len(given) <= _SEQUENCE_ID_LIMIT):
        raise BadInput(
            "parameter 'sequence_id' of the request must be a whole number of 64 bits, or a text of at most "
            f"{_SEQUENCE_ID_LIMIT} characters"
        )
    if given:
        return SequenceStep(given, start, end)
    if start or end:
        raise BadInput("'sequence_start' and 'sequence_end' need a 'sequence_id' that is not 0 or empty")
    return None
