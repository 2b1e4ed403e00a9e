"""Bytes to `InferRequest` and `InferResponse` to bytes: the inference body of the Open Inference Protocol v2.

JSON and binary tensors mix freely in one message, both ways. Whatever is wrong is a `BadInput` that says what, where
and what was expected, and whose length does not depend on what came in. Rows and shapes are held against the version
by `serving`. Sources: Open Inference Protocol v2, "Inference"; Triton's binary tensor data extension.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from service.core.contract import DATATYPES, Array, InferRequest, InferResponse, RequestedOutput, TensorSpec
from service.core.errors import BadInput, TooLarge
from service.gateway import binary_tensors, json_tensors
from service.gateway.entries import Blobs, inputs_of, outputs_of, parameters_of
from service.gateway.joining import Blob, joined
from service.gateway.parameters import flag, read_id, read_parameters
from service.gateway.quote import quote
from service.gateway.raw_request import raw_request
from service.gateway.region_tensors import Regions, Target, targets_of

JSON = "application/json"
BINARY = "application/octet-stream"
_CONTAINERS_LIMIT = 1_000_000
_NO_MEMORY = "Not enough memory"  # as orjson begins to say it, in the error that it has for what is no JSON

Specs = Mapping[str, TensorSpec]


class Form(NamedTuple):
    """How outputs go out.

    Attributes:
        everything: whether the request wishes binary data.
        outputs: what single outputs say of that.
        targets: those that are written into shared memory.
    """

    everything: bool
    outputs: Mapping[str, bool]
    targets: Mapping[str, Target] = MappingProxyType({})

    def binary(self, name: str) -> bool:
        """Whether output `name` is wanted as binary data."""
        return self.outputs.get(name, self.everything)


class Encoded(NamedTuple):
    """An answer's body, its content type, and the length of its JSON where binary data follows."""

    body: Blob
    content_type: str
    header_length: int | None


def decode(
    body: bytes | memoryview,
    header_length: int | None,
    specs: Mapping[str, TensorSpec],
    regions: Regions | None = None,
) -> tuple[InferRequest, Form]:
    """Reads one inference request.

    Args:
        body: all of it.
        header_length: `Inference-Header-Content-Length`, in bytes; None where the whole body is JSON, 0 where none is.
        specs: the version's inputs by name.
        regions: the shared memory that the request may use; None for none.

    Returns:
        The request, and how its outputs are wanted. Arrays may be read-only views of `body`.

    Raises:
        BadInput: what is wrong, where, and what was expected.
    """
    if header_length == 0:
        return raw_request(bytes(body), specs), Form(True, {})
    document = parse_object(body if header_length is None else _head(body, header_length))
    blobs = Blobs(body, len(body) if header_length is None else header_length)
    inputs = inputs_of(document, specs, blobs, regions)
    blobs.check_used_up()
    asked = read_parameters(parameters_of(document, "request"))
    outputs = outputs_of(document)
    request = InferRequest(
        inputs=inputs,
        outputs=outputs,
        id=read_id(document.get("id")),
        parameters=asked.others,
        timeout_us=asked.timeout_us,
        priority=asked.priority,
        sequence=asked.sequence,
    )
    return request, _form(asked.binary_outputs, outputs, regions) if outputs else Form(asked.binary_outputs, {})


def encode(response: InferResponse, form: Form) -> Encoded:
    """Writes one answer.

    Raises:
        NotRepresentable: an output wanted as JSON is FP16, holds NaN or infinity, or is no UTF-8 text.
        BadInput: an output does not fit the shared memory that it is to be written into.
    """
    blobs: list[Blob] = []
    entries = [_output(name, array, form, blobs) for name, array in response.outputs.items()]
    document: dict[str, Any] = {"model_name": response.model, "model_version": response.version, "outputs": entries}
    if response.id:
        document["id"] = response.id
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in head:  # nothing else in an answer is null; a name or an id may hold the word
        for name, array in response.outputs.items():
            if not form.binary(name) and name not in form.targets:
                json_tensors.refuse_non_finite(array, name)
    if not blobs:
        return Encoded(head, JSON, None)
    return Encoded(joined((head, *blobs)), BINARY, len(head))


def parse_object(text: bytes | memoryview) -> dict[str, Any]:
    """The JSON object that `text` is.

    Raises:
        BadInput: not JSON, or not an object.
        TooLarge: it has more lists and objects than anyone needs, each of which would take a hundred times its bytes.
        MemoryError: the system refuses what it takes to read it.
    """
    try:
        document = orjson.loads(text) if len(text) <= _CONTAINERS_LIMIT else _parse_large(bytes(text))
    except orjson.JSONDecodeError as error:
        if not text:
            raise BadInput("the request is empty, expected a JSON object") from None
        if error.msg.startswith(_NO_MEMORY):
            raise MemoryError from None
        raise BadInput(f"the request is not valid JSON: {error.msg[:100]} at character {error.pos}") from None
    if type(document) is not dict:
        raise BadInput(f"the request is {quote(document)}, expected a JSON object")
    return document


def _parse_large(text: bytes) -> Any:
    """What `text` holds; no thread runs beside the parser, so it may not take long."""
    if text.count(b"[") + text.count(b"{") > _CONTAINERS_LIMIT:
        raise TooLarge(
            f"the JSON has more than {_CONTAINERS_LIMIT} lists and objects: send flat lists, or tensors as binary data"
        )
    gc.disable()  # it would look through all that was parsed so far again and again, and JSON holds no cycles
    try:
        return orjson.loads(text)
    finally:
        gc.enable()


def _head(body: bytes | memoryview, length: int) -> memoryview:
    if length > len(body):
        raise BadInput(f"the header Inference-Header-Content-Length is {length}, but the body has {len(body)} bytes")
    return memoryview(body)[:length]


def _form(everything: bool, outputs: tuple[RequestedOutput, ...], regions: Regions | None) -> Form:
    return Form(
        everything,
        {
            output.name: flag(output.parameters, "binary_data", f"output {quote(output.name)}")
            for output in outputs
            if "binary_data" in output.parameters
        },
        targets_of((output for output in outputs if output.parameters), regions),
    )


def _output(name: str, array: Array, form: Form, blobs: list[Blob]) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "datatype": DATATYPES[array.dtype], "shape": array.shape}
    if name in form.targets:  # and no parameters: Triton's C++ client wants a binary_data_size among any
        form.targets[name].write(array, name)
    elif form.binary(name):
        blob = binary_tensors.bytes_of(array)
        blobs.append(blob)
        entry["parameters"] = {"binary_data_size": len(blob)}
    else:
        entry["data"] = json_tensors.in_pieces(json_tensors.values_of(array, name))
    return entry
