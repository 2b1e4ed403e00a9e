"""What of a graph's inputs and outputs is a stateful model's own: states that are carried, controls that are filled in.

States travel with rows on the first axis, wherever the graph has them, so that rows of different sequences can share a
batch. Knows tensor specs and the configuration; nothing of who runs what when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from service.core.contract import Array, Arrays, SequenceStep, TensorSpec, common_first_axis
from service.core.errors import BadInput, BadModel
from service.repository.config_sections import Control, Sequences, State
from service.repository.suggest import did_you_mean, quoted

_CORRID = ("UINT64", "INT64", "UINT32", "INT32", "BYTES")  # model_config.proto, CONTROL_SEQUENCE_CORRID


@dataclass(frozen=True, slots=True)
class CarriedState:
    """One state.

    Attributes:
        input: the graph's input.
        output: the graph's output.
        input_axis: where the input has its rows.
        output_axis: where the output has its rows.
        initial: of one row, rows first; never written.
    """

    input: str
    output: str
    input_axis: int
    output_axis: int
    initial: Array


@dataclass(frozen=True, slots=True)
class FilledControl:
    """One input that the server fills in: its configuration and its spec."""

    control: Control
    spec: TensorSpec

    def value(self, step: SequenceStep) -> Array:
        """The array of one row. Raises BadInput where the id is none that the input can hold."""
        shape, dtype, kind = (1,) * len(self.spec.dims), self.spec.dtype, self.control.kind
        if kind == "corrid":
            return np.full(shape, _id_for(step.id, self.spec), dtype)
        holds = {"start": step.start, "end": step.end, "ready": True}[kind]
        return np.full(shape, self.control.true_value if holds else self.control.false_value, dtype)


@dataclass(frozen=True, slots=True)
class StatePlan:
    """States and controls of one version, and what is left for its clients.

    Attributes:
        inputs: the client's inputs.
        outputs: the client's outputs.
        states: carried from one request to the next.
        controls: filled in by the server.
        batched: whether every state and control has rows, so that sequences may share a batch.
        fixed: whether no state has a variable axis besides its rows.
        hidden: name -> spec of the inputs that are none of the client's.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[CarriedState, ...]
    controls: tuple[FilledControl, ...]
    batched: bool
    fixed: bool
    hidden: Mapping[str, TensorSpec]

    def fill(self, inputs: Arrays, state: Arrays | None, step: SequenceStep) -> dict[str, Array]:
        """The graph's inputs, rows first: the client's `inputs`, the `state` before (None: the initial one), controls.

        Raises:
            BadInput: the sequence's id does not fit the input that takes it.
        """
        carried = state if state is not None else {one.input: one.initial for one in self.states}
        return {**inputs, **carried, **{one.spec.name: one.value(step) for one in self.controls}}

    def carried(self, outputs: Arrays) -> Arrays:
        """The state that a run leaves, for `fill`: copies, since an output keeps the memory of its whole run alive."""
        return MappingProxyType({one.input: _frozen(outputs[one.output].copy()) for one in self.states})


def plan_states(
    config: Sequences, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], where: str
) -> StatePlan:
    """Holds a configuration against a graph.

    Args:
        config: the `sequences` section.
        inputs: of the graph.
        outputs: of the graph.
        where: names the version in messages.

    Raises:
        BadModel: a name that the graph does not have, or tensors that do not fit their part.
    """
    takes, gives = {spec.name: spec for spec in inputs}, {spec.name: spec for spec in outputs}
    controls = tuple(_control(one, _named(takes, one.input, "input", where), where) for one in config.controls)
    pairs = [
        (one, _named(takes, one.input, "input", where), _named(gives, one.output, "output", where))
        for one in config.states
    ]
    owned = {control.spec.name for control in controls} | {state.input for state, _, _ in pairs}
    left_in = [spec for spec in inputs if spec.name not in owned]
    left_out = [spec for spec in outputs if spec.name not in {state.output for state, _, _ in pairs}]
    if not left_in or not left_out:
        raise BadModel(f"{where} leaves its clients no input or no output: 'sequences' takes all of them")
    axis = _rows_axis([*left_in, *left_out], controls, [spec for _, *both in pairs for spec in both])
    states = tuple(_carried(state, given, left, axis, where) for state, given, left in pairs)
    if axis is None:
        own = {dim for _, *both in pairs for spec in both for dim in spec.dims if isinstance(dim, str)}
        left_in, left_out = _alone(left_in, left_out, own)
    fixed = all(isinstance(dim, int) or dim == axis for _, *both in pairs for spec in both for dim in spec.dims)
    return StatePlan(
        tuple(left_in),
        tuple(left_out),
        states,
        controls,
        axis is not None,
        fixed,
        {name: takes[name] for name in owned},
    )


def _named(specs: dict[str, TensorSpec], name: str, kind: str, where: str) -> TensorSpec:
    if name not in specs:
        raise BadModel(
            f"{where} has no {kind} {quoted(name)}, which 'sequences' names{did_you_mean(name, list(specs))}"
        )
    return specs[name]


def _control(control: Control, spec: TensorSpec, where: str) -> FilledControl:
    what = f"input {quoted(spec.name)} of {where}, a '{control.kind}' control,"
    if control.kind == "corrid":
        if spec.datatype not in _CORRID:
            raise BadModel(f"{what} is {spec.datatype}, expected one of {', '.join(_CORRID)}")
    elif spec.datatype == "BYTES":
        raise BadModel(f"{what} is BYTES, expected a number or BOOL")
    else:
        _check_values((control.false_value, control.true_value), spec, what)
    if any(isinstance(dim, int) and dim != 1 for dim in spec.dims):
        raise BadModel(f"{what} has shape {list(spec.shape)}, expected [1] or [-1, 1]")
    return FilledControl(control, spec)


def _check_values(values: Sequence[float], spec: TensorSpec, what: str) -> None:
    """Refuses a value that is not the same once it is of the tensor's datatype; a float may be rounded."""
    for value in values:
        with np.errstate(all="ignore"):
            try:
                held = np.asarray(value).astype(spec.dtype)
            except (OverflowError, ValueError):
                held = None
        if held is None or (spec.dtype.kind != "f" and held != value):
            raise BadModel(f"{what} is {spec.datatype}, which cannot hold {value:g}")


def _rows_axis(
    clients: Sequence[TensorSpec], controls: Sequence[FilledControl], states: Sequence[TensorSpec]
) -> str | None:
    """The symbol of the rows, where every tensor has them: the client's and the controls' first, a state's anywhere."""
    axis = common_first_axis([*clients, *(control.spec for control in controls)])
    return axis if axis is not None and all(spec.dims.count(axis) == 1 for spec in states) else None


def _carried(state: State, given: TensorSpec, left: TensorSpec, axis: str | None, where: str) -> CarriedState:
    what = f"state {quoted(state.input)} of {where}"
    if given.datatype == "BYTES" or given.datatype != left.datatype:
        raise BadModel(
            f"{what} is {given.datatype}, and its output {quoted(left.name)} {left.datatype}: both must be "
            "the same kind of number"
        )
    if len(given.dims) != len(left.dims) or any(
        isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(given.dims, left.dims, strict=True)
    ):
        raise BadModel(f"{what} has shape {list(given.shape)}, and its output {quoted(left.name)} {list(left.shape)}")
    at = (given.dims.index(axis), left.dims.index(axis)) if axis is not None else (0, 0)
    rest = given.dims[: at[0]] + given.dims[at[0] + 1 :] if axis is not None else given.dims
    own = tuple(dim if isinstance(dim, int) else 1 for dim in rest)
    shape = own if state.shape is None else state.shape
    if len(shape) != len(rest) or any(isinstance(d, int) and d != s for d, s in zip(rest, shape, strict=True)):
        raise BadModel(f"{what} cannot begin with shape {list(shape)}, expected {[*own]} or what is as large as it")
    _check_values((state.initial,), given, what)
    initial = np.full((1, *shape) if axis is not None else shape, state.initial, given.dtype)
    return CarriedState(state.input, state.output, *at, _frozen(initial))


def _alone(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], own: set[str]
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Specs of a version whose requests run one at a time: an axis that a state has too is 1, and none is the rows."""
    first = common_first_axis([*inputs, *outputs])

    def dim(size: int | str | None) -> int | str | None:
        if size in own:
            return 1
        return None if size == first else size

    return tuple([replace(s, dims=tuple(map(dim, s.dims))) for s in specs] for specs in (inputs, outputs))  # type: ignore[return-value]


def _id_for(given: int | str, spec: TensorSpec) -> int | bytes:
    if spec.datatype == "BYTES":
        return str(given).encode()
    if isinstance(given, str):
        raise BadInput(f"'sequence_id' is a text, and the model takes its sequence's id as {spec.datatype}")
    if given > np.iinfo(spec.dtype).max:
        raise BadInput(f"'sequence_id' {given} is larger than {spec.datatype} holds, as which the model takes it")
    return given


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array
