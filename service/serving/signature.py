"""Holds a request's arrays against a version's inputs and counts its rows, with one clear sentence when they differ.

Knows the tensor specs and whether the first axis is a batch; nothing of how or when the arrays will run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from service.core.contract import Array, Arrays, InferRequest, TensorSpec
from service.core.errors import BadInput


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of one version.

    Attributes:
        where: how messages name the version, such as "model 'digits'".
        inputs: name -> spec, in graph order.
        outputs: name -> spec, in graph order.
        batch_axis: the symbol that every first axis carries, None where there is no batch.
    """

    where: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    batch_axis: str | None

    def rows(self, arrays: Arrays) -> int | None:
        """Checks names, datatypes and shapes.

        Returns:
            The number of rows, or None for a version without a batch axis.

        Raises:
            BadInput: which input, what it is, what was expected.
        """
        if arrays.keys() != self.inputs.keys():
            raise BadInput(self._names_sentence(arrays))
        rows: int | None = None
        alike = True
        for name, spec in self.inputs.items():
            array = arrays[name]
            if not _fits(array, spec):
                raise BadInput(self._shape_sentence(array, spec))
            if self.batch_axis is not None:
                alike = alike and rows in (None, array.shape[0])
                rows = array.shape[0]
        if not alike:
            raise BadInput(self._rows_sentence(arrays))
        return rows

    def varies(self, spec: TensorSpec) -> bool:
        """Whether a tensor has another variable axis than its rows; one without a name never is those."""
        return any(not isinstance(dim, int) and (dim is None or dim != self.batch_axis) for dim in spec.dims)

    @property
    def fixed(self) -> bool:
        """Whether every input has one size but for its rows; text has as many bytes as its sender likes."""
        return not any(spec.datatype == "BYTES" or self.varies(spec) for spec in self.inputs.values())

    def select(self, request: InferRequest, answered: Arrays) -> dict[str, Array]:
        """The outputs that the request asked for, in its order; all of them when it named none."""
        if request.outputs:
            return {output.name: answered[output.name] for output in request.outputs}
        return {name: answered[name] for name in self.outputs}

    def check_outputs(self, request: InferRequest) -> None:
        """Refuses an output that the version does not have, before anything runs."""
        for output in request.outputs:
            if output.name not in self.outputs:
                raise BadInput(f"{self.where} has no output '{output.name[:100]}', only {_listed(self.outputs)}")

    def gap(self, before: Signature) -> str:
        """What requests and readers of `before` would miss here, as a clause; "" when this can take its place."""
        for name in self.inputs:
            if name not in before.inputs:
                return f"it needs input '{name}' as well"
        inputs = _gap("input", before.inputs, self.inputs, lambda old, new: _covers(new, old))
        return inputs or _gap("output", before.outputs, self.outputs, _covers)

    def _names_sentence(self, arrays: Arrays) -> str:
        for name in arrays:
            if name not in self.inputs:
                return f"{self.where} has no input '{name[:100]}', only {_listed(self.inputs)}"
        missing = [name for name in self.inputs if name not in arrays]
        return f"{self.where} needs input {_listed(missing)}, which the request does not have"

    def _rows_sentence(self, arrays: Arrays) -> str:
        listed = ", ".join(f"'{name}' {arrays[name].shape[0]}" for name in self.inputs)
        return f"inputs of {self.where} have different numbers of rows: {listed}"

    def _shape_sentence(self, array: Array, spec: TensorSpec) -> str:
        if array.dtype != spec.dtype:
            return f"input '{spec.name}' of {self.where} must be {spec.datatype}"
        shape, expected = list(array.shape), list(spec.shape)
        return f"input '{spec.name}' of {self.where} has shape {str(shape)[:200]}, expected {expected}"


def _fits(array: Array, spec: TensorSpec) -> bool:
    if array.dtype != spec.dtype or array.ndim != len(spec.dims):
        return False
    shape = array.shape
    for axis, size in spec.fixed:  # noqa: SIM110 - a generator costs twice as much
        if shape[axis] != size:
            return False
    return True


def _gap(
    kind: str,
    before: Mapping[str, TensorSpec],
    after: Mapping[str, TensorSpec],
    fits: Callable[[TensorSpec, TensorSpec], bool],
) -> str:
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            return f"it has no {kind} '{name}'"
        if not fits(old, new):
            return f"its {kind} '{name}' is {_shown(new)} instead of {_shown(old)}"
    return ""


def _covers(wide: TensorSpec, narrow: TensorSpec) -> bool:
    """Whether whatever fits `narrow` fits `wide`."""
    if wide.datatype != narrow.datatype or len(wide.dims) != len(narrow.dims):
        return False
    return all(size in (-1, other) for size, other in zip(wide.shape, narrow.shape, strict=True))


def _shown(spec: TensorSpec) -> str:
    return f"{spec.datatype} {list(spec.shape)}"


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = [f"'{name}'" for name in list(names)[:8]]
    return ", ".join(shown) + (" and others" if len(names) > len(shown) else "")
