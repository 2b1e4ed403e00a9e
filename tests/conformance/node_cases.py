"""ONNX's own node tests as cases for a server: one model each, what to send, and what raw ONNX Runtime answers.

Built from the `onnx` package alone, so nothing is kept here. A case that cannot be asked over the protocol, or that
has no one answer, is left out with its reason. Knows nothing of servers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime

from service.core.contract import DATATYPES, Array
from service.core.errors import RetortError
from service.runtime.providers import RunnerOptions
from service.runtime.session import open_session

THREADS = 1
ROUNDING = 1e-6
RUNS = 20  # a drop-out of a few elements may answer alike several times

_OPTIONAL_OR_SEQUENCE = "a sequence or an optional value, which the protocol does not have"
_DATATYPE = "a datatype that the protocol does not have"
_NOT_LOADED = "ONNX Runtime does not load it"
_NOT_RUN = "ONNX Runtime does not run it"
_NOT_DETERMINISTIC = "it answers differently each time"


@dataclass(frozen=True, slots=True)
class NodeCase:
    """One model.

    Attributes:
        name: of the test, such as `test_abs`.
        operators: `domain::type` of every node of the main graph.
        model: the ONNX bytes.
        inputs: name -> array in the graph's order; BYTES as object arrays of `bytes`.
        expected: name -> array, as raw ONNX Runtime answers with the server's own session options.
    """

    name: str
    operators: frozenset[str]
    model: bytes
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]


def read_cases() -> Iterator[tuple[str, NodeCase | str]]:
    """Every node test by name: the case, or why it is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package computes its overflows and divisions by zero on purpose
        from onnx.backend.test.loader import load_model_tests  # noqa: PLC0415 - generates all of them: seconds

        tests = sorted(load_model_tests(kind="node"), key=lambda test: test.name)
    for test in tests:
        yield test.name, read_case(test)


def read_case(test: Any) -> NodeCase | str:
    """The case of one `onnx` test, or why it is left out."""
    graph = test.model.graph
    reason = _unspeakable([*graph.input, *graph.output])
    if reason:
        return reason
    defaults = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in defaults]
    sent = test.data_sets[0][0]
    if len(names) != len(sent) or any(not isinstance(array, np.ndarray | np.generic) for array in sent):
        return _OPTIONAL_OR_SEQUENCE
    inputs = {name: _as_bytes(np.asarray(array)) for name, array in zip(names, sent, strict=True)}
    model = test.model.SerializeToString()
    expected = _run_often(model, inputs)
    if isinstance(expected, str):
        return expected
    operators = frozenset(f"{node.domain}::{node.op_type}" for node in graph.node)
    return NodeCase(test.name, operators, model, inputs, expected)


def same(one: Array, other: Array) -> bool:
    """Whether two arrays have the same type, shape and bits; any NaN counts as any other."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    nan = np.isnan(one)
    if not np.array_equal(nan, np.isnan(other)):
        return False
    return np.where(nan, 0, one).astype(one.dtype).tobytes() == np.where(nan, 0, other).astype(one.dtype).tobytes()


def near(one: Array, other: Array) -> bool:
    """Whether two float arrays differ by rounding alone.

    ONNX Runtime adds up in another order where an input lies at another alignment in memory, as a view of a body does.
    """
    if one.dtype != other.dtype or one.shape != other.shape or one.dtype.kind != "f":
        return False
    return bool(np.allclose(one, other, rtol=ROUNDING, atol=ROUNDING, equal_nan=True))


def _unspeakable(values: list[Any]) -> str:
    for value in values:
        if value.type.WhichOneof("value") != "tensor_type":
            return _OPTIONAL_OR_SEQUENCE
        kind = value.type.tensor_type.elem_type
        try:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        except KeyError:
            return _DATATYPE
        if kind != onnx.TensorProto.STRING and dtype not in DATATYPES:
            return _DATATYPE
    return ""


def _run_often(model: bytes, inputs: Mapping[str, Array]) -> Mapping[str, Array] | str:
    try:
        session = open_session(model, {}, RunnerOptions(threads=THREADS))
    except RetortError:
        return _NOT_LOADED
    first = _run(session, inputs)
    if first is None:
        return _NOT_RUN
    for _ in range(RUNS - 1):
        again = _run(session, inputs)
        if again is None or not all(same(first[name], again[name]) for name in first):
            return _NOT_DETERMINISTIC
    return first


def _run(session: onnxruntime.InferenceSession, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
    names = [node.name for node in session.get_outputs()]
    try:
        answered = session.run(names, {name: _as_text(array) for name, array in inputs.items()})
    except Exception:  # ONNX Runtime raises classes of its own for each status
        return None
    return {name: _as_bytes(np.asarray(array)) for name, array in zip(names, answered, strict=True)}


def _as_text(array: Array) -> Array:
    """`bytes` as the `str` that ONNX Runtime takes; it would take the `repr` of `bytes`."""
    if array.dtype != np.object_:
        return array
    out: Array = np.empty(array.size, dtype=np.object_)
    out[:] = [text.decode() for text in array.ravel()]
    return out.reshape(array.shape)


def _as_bytes(array: Array) -> Array:
    """Texts as the object array of `bytes` that a BYTES tensor is; everything else as it is."""
    if array.dtype.kind not in "OUS":
        return array
    texts = [text if isinstance(text, bytes) else str(text).encode() for text in array.ravel()]
    out: Array = np.empty(len(texts), dtype=np.object_)
    out[:] = texts
    return out.reshape(array.shape)
