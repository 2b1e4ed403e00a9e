"""What is asked and what is answered, free of any transport: the nouns that gateway, serving and runtime share.

Arrays are numpy arrays, C-contiguous or not; a BYTES tensor is an object array of `bytes`.
Datatype names are those of the Open Inference Protocol v2, "Tensor Data Types".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]

DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype(np.uint8),
        "UINT16": np.dtype(np.uint16),
        "UINT32": np.dtype(np.uint32),
        "UINT64": np.dtype(np.uint64),
        "INT8": np.dtype(np.int8),
        "INT16": np.dtype(np.int16),
        "INT32": np.dtype(np.int32),
        "INT64": np.dtype(np.int64),
        "FP16": np.dtype(np.float16),
        "FP32": np.dtype(np.float32),
        "FP64": np.dtype(np.float64),
        "BYTES": np.dtype(np.object_),
    }
)
DATATYPES: Mapping[np.dtype[Any], str] = MappingProxyType({dtype: name for name, dtype in DTYPES.items()})

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a version.

    Attributes:
        name: as in the ONNX graph.
        datatype: protocol name, a key of `DTYPES`.
        dims: one entry an axis: an int where fixed, the symbol's name where symbolic, None where unknown;
            the batch axis included.
        dtype: the numpy dtype of an array of this tensor.
        fixed: each axis of one size alone, with that size.
    """

    name: str
    datatype: str
    dims: tuple[int | str | None, ...]
    dtype: np.dtype[Any] = field(init=False, repr=False, compare=False)
    fixed: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", DTYPES.get(self.datatype))
        fixed = tuple((axis, size) for axis, size in enumerate(self.dims) if isinstance(size, int))
        object.__setattr__(self, "fixed", fixed)

    @property
    def shape(self) -> tuple[int, ...]:
        """The dims as the protocol writes them, -1 for every variable one."""
        return tuple(d if isinstance(d, int) else -1 for d in self.dims)


def common_first_axis(specs: Sequence[TensorSpec]) -> str | None:
    """The symbol that is the first axis of every spec, or None: the one axis that may be a batch.

    May be: a softmax over axis 0 has such an axis too. Whether rows are independent shows only when they run.
    """
    first = {spec.dims[0] if spec.dims else None for spec in specs}
    symbol = first.pop() if len(first) == 1 else None
    return symbol if isinstance(symbol, str) else None


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model, and which version of it; None means the active one."""

    name: str
    version: str | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """One output that the request names, with its parameters (`binary_data`, `classification`, ...)."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)


class SequenceStep(NamedTuple):
    """Which sequence of a stateful model a request belongs to; Triton's sequence extension.

    Attributes:
        id: the correlation id, an unsigned integer of 64 bits above 0, or a text that is not empty.
        start: whether the sequence begins with this request.
        end: whether it ends with this request.
    """

    id: int | str
    start: bool = False
    end: bool = False


class InferRequest(NamedTuple):
    """One decoded inference request.

    Attributes:
        inputs: name -> array, dtype and rank as sent; `servable` holds them against the version's specs.
        outputs: what was asked for, in order; empty means every output.
        id: the client's own id, echoed; "" when none.
        parameters: the request's parameters, without those that the codec consumed.
        timeout_us: the `timeout` parameter in microseconds, None when not given.
        priority: the `priority` parameter: 1 is served first, 0 takes the model's default level.
        sequence: None for a request that belongs to no sequence.
    """

    inputs: Arrays
    outputs: tuple[RequestedOutput, ...] = ()
    id: str = ""
    parameters: Mapping[str, Any] = _EMPTY
    timeout_us: int | None = None
    priority: int = 0
    sequence: SequenceStep | None = None


class Timing(NamedTuple):
    """Where a request's time went, in nanoseconds: the phases of the run that completed it, and all before as queue."""

    queue_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0


NO_TIME = Timing()


class InferResponse(NamedTuple):
    """One answer.

    Attributes:
        model: its name.
        version: names who answered.
        outputs: name -> array, in the order asked for.
        id: the request's.
        timing: where its time went.
        cached: whether it was kept from an earlier request, and nothing was run.
    """

    model: str
    version: str
    outputs: Arrays
    id: str = ""
    timing: Timing = NO_TIME
    cached: bool = False
