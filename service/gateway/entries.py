"""The entries of an inference request: each tensor's name, datatype, shape and parameters, checked one by one.

Everything is refused in a sentence that names the entry. Which datatype an input has is the version's to say; whether
its shape fits is `serving`'s. Source: Open Inference Protocol v2, "Inference Request JSON Object".
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from types import MappingProxyType
from typing import Any

from service.core.contract import Array, RequestedOutput, TensorSpec
from service.core.errors import BadInput
from service.gateway import binary_tensors, json_tensors
from service.gateway.classification import check_classification
from service.gateway.parameters import check_names, where
from service.gateway.quote import listing, quote
from service.gateway.region_tensors import Regions, array_in, span_of

AXES_LIMIT = 32
_ELEMENTS_LIMIT = 1 << 40
_NONE: Mapping[str, Any] = MappingProxyType({})


class Blobs:
    """What follows the JSON, handed out from front to back."""

    __slots__ = ("_at", "_body")

    def __init__(self, body: bytes | memoryview, at: int) -> None:
        self._body = body
        self._at = at

    def take(self, size_bytes: int, shape: list[int], datatype: str, name: str) -> Array:
        """The next `size_bytes` bytes as the input `name`."""
        left = len(self._body) - self._at
        if size_bytes > left:
            raise BadInput(f"input {quote(name)} says {size_bytes} bytes of binary data, but only {left} follow")
        array = binary_tensors.array_at(self._body, self._at, size_bytes, shape, datatype, name)
        self._at += size_bytes
        return array

    def check_used_up(self) -> None:
        """Raises `BadInput` if bytes are left over."""
        left = len(self._body) - self._at
        if left:
            raise BadInput(f"{left} bytes follow the last input's binary data, expected none")


def inputs_of(
    document: dict[str, Any], specs: Mapping[str, TensorSpec], blobs: Blobs, regions: Regions | None
) -> dict[str, Array]:
    """The arrays under `inputs`, by name, in their order."""
    entries = document.get("inputs")
    if type(entries) is not list or not (entries or not specs):  # a model of constants alone takes none
        raise BadInput("'inputs' of the request must be a list with at least one tensor")
    arrays: dict[str, Array] = {}
    for entry in entries:
        name, spec = spec_of(entry, specs)
        if name in arrays:
            raise BadInput(f"input {quote(name)} is given twice")
        arrays[name] = _array(entry, spec, blobs, regions)
    return arrays


def spec_of(entry: Any, specs: Mapping[str, TensorSpec]) -> tuple[str, TensorSpec]:
    """The input that an entry is, by its `name` and `datatype`. Raises BadInput."""
    if type(entry) is not dict:
        raise BadInput(f"'inputs' of the request holds {quote(entry)}, expected objects")
    name = entry.get("name")
    if type(name) is not str:
        raise BadInput(f"'name' of an input is {quote(name)}, expected one of {listing(specs)}")
    spec = specs.get(name)
    if spec is None:
        raise BadInput(f"the model has no input {quote(name)}, only {listing(specs)}")
    datatype = entry.get("datatype")
    if datatype != spec.datatype:
        raise BadInput(f"'datatype' of input {quote(name)} is {quote(datatype)}, expected '{spec.datatype}'")
    return spec.name, spec


def _array(entry: dict[str, Any], spec: TensorSpec, blobs: Blobs, regions: Regions | None) -> Array:
    name, shape = spec.name, shape_of(entry, spec.name)
    parameters = parameters_of(entry, "input", name)
    span = span_of(parameters, "input", name) if parameters else None
    size_bytes = parameters.get("binary_data_size")
    if ("data" in entry) + (size_bytes is not None) + (span is not None) != 1:
        raise BadInput(
            f"input {quote(name)} must have either 'data' or the parameter 'binary_data_size' or 'shared_memory_region'"
        )
    if span is not None:
        return array_in(regions, span, shape, spec.datatype, name)
    if size_bytes is None:
        return json_tensors.array_of(entry["data"], shape, spec.datatype, name)
    if type(size_bytes) is not int or size_bytes < 0:
        raise BadInput(f"'binary_data_size' of input {quote(name)} must be a number of bytes")
    return blobs.take(size_bytes, shape, spec.datatype, name)


def shape_of(entry: dict[str, Any], name: str) -> list[int]:
    """The `shape` of the entry of input `name`, in elements. Raises BadInput."""
    shape = entry.get("shape")
    if type(shape) is not list or len(shape) > AXES_LIMIT:
        raise BadInput(f"'shape' of input {quote(name)} must be a list of at most {AXES_LIMIT} sizes")
    for size in shape:
        if type(size) is not int or size < 0:
            raise BadInput(f"'shape' of input {quote(name)} must hold integers of 0 or more")
    if prod(shape) > _ELEMENTS_LIMIT or (0 in shape and prod(filter(None, shape)) > _ELEMENTS_LIMIT):
        raise BadInput(f"'shape' of input {quote(name)} asks for more than {_ELEMENTS_LIMIT} elements")
    return shape


def outputs_of(document: dict[str, Any]) -> tuple[RequestedOutput, ...]:
    """What stands under `outputs`; empty where the request names none."""
    entries = document.get("outputs")
    if entries is None:
        return ()
    if type(entries) is not list:
        raise BadInput(f"'outputs' of the request is {quote(entries)}, expected a list")
    outputs: dict[str, RequestedOutput] = {}
    for entry in entries:
        name = entry.get("name") if type(entry) is dict else None
        if type(name) is not str or name in outputs:
            raise BadInput(
                f"'outputs' of the request must hold objects, each with a 'name' of its own; see {quote(name)}"
            )
        outputs[name] = output = RequestedOutput(name, parameters_of(entry, "output", name))
        check_classification(output)
    return tuple(outputs.values())


def parameters_of(entry: dict[str, Any], kind: str, name: str = "") -> Mapping[str, Any]:
    """The `parameters` of a request, an input or an output; `kind` and `name` tell messages which."""
    parameters = entry.get("parameters")
    if parameters is None:
        return _NONE
    if type(parameters) is not dict:
        raise BadInput(f"'parameters' of {where(kind, name)} is {quote(parameters)}, expected an object")
    check_names(parameters, kind, name)
    return parameters
