"""ModelInferRequest to `InferRequest` and `InferResponse` to ModelInferResponse; what they mean is checked as for HTTP.

If `raw_input_contents` is used, every tensor outside shared memory lies there, in order. Outputs always go out raw.
Source: Open Inference Protocol v2, gRPC; Triton's grpc_service.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tritonclient.grpc import service_pb2

from service.core.contract import DATATYPES, Array, InferRequest, InferResponse, RequestedOutput, TensorSpec
from service.core.errors import BadInput, TooLarge
from service.gateway import binary_tensors
from service.gateway.entries import AXES_LIMIT, outputs_of, parameters_of, shape_of, spec_of
from service.gateway.grpc import contents
from service.gateway.grpc.written import written
from service.gateway.joining import Blob
from service.gateway.parameters import read_id, read_parameters
from service.gateway.quote import quote
from service.gateway.region_tensors import Regions, Target, array_in, span_of, targets_of

_NONE: Mapping[str, Target] = MappingProxyType({})
LIMIT_BYTES = (1 << 31) - 1  # of a message that protobuf reads; beyond twice as much gRPC sends a wrong length
_AROUND_BYTES = 6  # a raw content's tag and length, at most
_EMPTY_FINAL = "triton_enable_empty_final_response"  # of streams that answer a request several times; none here does


class Asked(NamedTuple):
    """A decoded request, and the outputs that are to be written into shared memory."""

    request: InferRequest
    targets: Mapping[str, Target]


def decode(message: Any, specs: Mapping[str, TensorSpec], regions: Regions | None) -> Asked:
    """Reads one ModelInferRequest.

    Args:
        message: of the wire.
        specs: the version's inputs by name.
        regions: the shared memory that the call may use.

    Raises:
        BadInput: what is wrong, where, and what was expected.
    """
    inputs = _inputs(message, specs, regions)
    parameters = values_of(message.parameters)
    parameters.pop(_EMPTY_FINAL, None)
    asked, outputs = read_parameters(parameters), _outputs(message.outputs)
    request = InferRequest(
        inputs=inputs,
        outputs=outputs,
        id=read_id(message.id),
        parameters=asked.others,
        timeout_us=asked.timeout_us,
        priority=asked.priority,
        sequence=asked.sequence,
    )
    wanted = [output for output in outputs if output.parameters]
    return Asked(request, targets_of(wanted, regions) if wanted else _NONE)


class Encoded(NamedTuple):
    """A message, or what it is on the wire, and its bytes there, give or take four for each output."""

    message: Any
    size_bytes: int


def encode(response: InferResponse, targets: Mapping[str, Target]) -> Encoded:
    """Writes one ModelInferResponse; an output that goes into shared memory leaves an empty place among the raw ones.

    Raises:
        BadInput: an output does not fit its shared memory.
    """
    message = _without_contents(response)
    raw, size_bytes = message.raw_output_contents, message.ByteSize()  # now: protobuf writes all of it to tell its size
    for blob in _contents(response, targets):
        raw.append(bytes(blob))
        size_bytes += _AROUND_BYTES + len(blob)
    return Encoded(message, size_bytes)


def write(response: InferResponse, targets: Mapping[str, Target], *, streamed: bool) -> Encoded:
    """The same on the wire, for a large answer, on any thread; `streamed` as the last answer to a stream's request.

    Raises:
        BadInput: an output does not fit its shared memory.
        TooLarge: no client could read it.
    """
    message = _without_contents(response)
    if streamed:
        end(message)
    blobs = list(_contents(response, targets))
    if (size_bytes := message.ByteSize() + sum(_AROUND_BYTES + len(blob) for blob in blobs)) > LIMIT_BYTES:
        raise TooLarge(
            f"the answer has {size_bytes} bytes, and a message of gRPC {LIMIT_BYTES} at most; ask for fewer rows or "
            "outputs, or over HTTP"
        )
    wire = written(message, blobs, streamed=streamed)
    return Encoded(wire, len(wire))


def end(message: Any) -> None:
    """Marks an answer of a stream as the last to its request."""
    message.parameters["triton_final_response"].bool_param = True


def _without_contents(response: InferResponse) -> Any:
    message = service_pb2.ModelInferResponse(model_name=response.model, model_version=response.version, id=response.id)
    outputs = message.outputs
    for name, array in response.outputs.items():
        outputs.add(name=name, datatype=DATATYPES[array.dtype], shape=array.shape)
    return message


def _contents(response: InferResponse, targets: Mapping[str, Target]) -> Iterator[Blob]:
    """The bytes of each output; of one that goes into shared memory, where it is written, none."""
    for name, array in response.outputs.items():
        if name in targets:
            targets[name].write(array, name)
            yield b""
        else:
            yield binary_tensors.bytes_of(array)


def sequence_of(message: Any) -> tuple[str, Any] | None:
    """The model and the sequence that a ModelInferRequest belongs to, as it says them; None for no sequence."""
    if "sequence_id" not in message.parameters:
        return None
    given = message.parameters["sequence_id"]
    return message.model_name, getattr(given, given.WhichOneof("parameter_choice") or "int64_param")


def values_of(parameters: Any) -> dict[str, Any]:
    """The plain values of a map of InferParameter."""
    values: dict[str, Any] = {}
    if not parameters:
        return values
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        values[name] = getattr(parameter, choice) if choice else None
    return values


def _inputs(message: Any, specs: Mapping[str, TensorSpec], regions: Regions | None) -> dict[str, Array]:
    if specs and not message.inputs:
        raise BadInput("the request must have at least one input")
    raw = _Raw(message.raw_input_contents)
    arrays: dict[str, Array] = {}
    for tensor in message.inputs:
        spec = specs.get(tensor.name)
        if spec is None or tensor.datatype != spec.datatype:
            _, spec = spec_of({"name": tensor.name, "datatype": tensor.datatype}, specs)  # raises
        if spec.name in arrays:
            raise BadInput(f"input {quote(spec.name)} is given twice")
        arrays[spec.name] = _array(tensor, spec, raw, regions)
    raw.check_used_up()
    return arrays


def _outputs(wanted: Any) -> tuple[RequestedOutput, ...]:
    if not wanted:
        return ()
    return outputs_of({"outputs": [{"name": each.name, "parameters": values_of(each.parameters)} for each in wanted]})


def _array(tensor: Any, spec: TensorSpec, raw: _Raw, regions: Regions | None) -> Array:
    name = spec.name
    shape = shape_of({"shape": tensor.shape[: AXES_LIMIT + 1]}, name)  # else millions are listed to be refused
    span = None
    if tensor.parameters:
        span = span_of(parameters_of({"parameters": values_of(tensor.parameters)}, "input", name), "input", name)
    if (raw.used or span is not None) and tensor.contents.ListFields():
        raise BadInput(f"input {quote(name)} has 'contents', and its data is given otherwise as well")
    if span is not None:
        return array_in(regions, span, shape, spec.datatype, name)
    if not raw.used:
        return contents.array_of(tensor.contents, shape, spec.datatype, name)
    blob = raw.take(name)
    return binary_tensors.array_at(blob, 0, len(blob), shape, spec.datatype, name)


class _Raw:
    """`raw_input_contents`, handed out from front to back."""

    __slots__ = ("_blobs", "_next", "used")

    def __init__(self, blobs: Any) -> None:
        self._blobs = blobs
        self._next = 0
        self.used = bool(blobs)

    def take(self, name: str) -> bytes:
        """The next entry, as input `name`."""
        if self._next >= len(self._blobs):
            raise BadInput(f"'raw_input_contents' of the request has no entry for input {quote(name)}")
        self._next += 1
        blob: bytes = self._blobs[self._next - 1]
        return blob

    def check_used_up(self) -> None:
        """Raises `BadInput` if entries are left over."""
        left = len(self._blobs) - self._next
        if left:
            raise BadInput(f"'raw_input_contents' of the request has {left} entries more than its inputs take")
