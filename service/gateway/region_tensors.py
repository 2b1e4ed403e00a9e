"""Tensors that lie in shared memory: what `shared_memory_*` parameters say, inputs read out, outputs written in.

An input is copied once, before anything looks at it: a client may change its bytes while they are checked and while
the model runs. Knows regions by a protocol alone. Source: Triton's shared memory extension.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from service.core.contract import Array, RequestedOutput
from service.core.errors import BadInput
from service.gateway import binary_tensors
from service.gateway.parameters import where
from service.gateway.quote import quote
from service.gateway.shared_memory import number

_REGION, _OFFSET, _SIZE = "shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"
_KEYS = frozenset({_REGION, _OFFSET, _SIZE})


class Writable(Protocol):
    """A region that an output is written into."""

    def write(self, offset: int, blob: bytes | memoryview, /) -> None:
        """Copies `blob` to `offset`. Raises BadInput."""


class Regions(Protocol):
    """The regions as one request may use them."""

    def read(self, name: str, offset: int, byte_size: int, /) -> bytes:
        """A copy of the bytes. Raises BadInput, or Forbidden where the sender may not."""

    def target(self, name: str, offset: int, byte_size: int, /) -> Writable:
        """A region that may be written until the request is answered. Raises as `read` does."""


class Span(NamedTuple):
    """`byte_size` bytes at `offset` of the region `region`."""

    region: str
    offset: int
    byte_size: int


class Target(NamedTuple):
    """Where an output goes."""

    span: Span
    region: Writable

    def write(self, array: Array, name: str) -> None:
        """Writes the output `name` in its binary form.

        Raises:
            BadInput: it is larger than the span, or the region cannot take it any more.
        """
        blob = binary_tensors.bytes_of(array)
        if len(blob) > self.span.byte_size:
            raise BadInput(
                f"output {quote(name)} has {len(blob)} bytes, more than the {self.span.byte_size} that "
                f"'{_SIZE}' allows in region {quote(self.span.region)}"
            )
        self.region.write(self.span.offset, blob)


def span_of(parameters: Mapping[str, Any], kind: str, name: str) -> Span | None:
    """The span that the parameters of an input or output name, None where they name none.

    Args:
        parameters: of the tensor.
        kind: "input" or "output".
        name: the tensor's, for messages.

    Raises:
        BadInput: one parameter without the other, or a value of the wrong kind.
    """
    if _KEYS.isdisjoint(parameters):
        return None
    region, whose = parameters.get(_REGION), where(kind, name)
    if region is None:
        if _SIZE in parameters or _OFFSET in parameters:
            raise BadInput(f"{whose} has '{_SIZE}' or '{_OFFSET}' without '{_REGION}'")
        return None
    if type(region) is not str:
        raise BadInput(f"'{_REGION}' of {whose} is {quote(region)}, expected a region's name")
    if _SIZE not in parameters:
        raise BadInput(f"{whose} has '{_REGION}' without '{_SIZE}'")
    offset = number(parameters.get(_OFFSET, 0), _OFFSET, whose)
    return Span(region, offset, number(parameters[_SIZE], _SIZE, whose))


def array_in(regions: Regions | None, span: Span, shape: Sequence[int], datatype: str, name: str) -> Array:
    """The input `name` read from `span`: a copy, C-contiguous and read-only; BYTES as an object array of `bytes`.

    Args:
        regions: None where this transport has none.
        span: where it lies.
        shape: non-negative integers.
        datatype: a key of `DTYPES`.
        name: the input's, for messages.

    Raises:
        BadInput: the span is not to be had, or holds no such tensor.
    """
    blob = _known(regions, where("input", name)).read(*span)
    return binary_tensors.array_at(blob, 0, len(blob), shape, datatype, name)


def targets_of(outputs: Iterable[RequestedOutput], regions: Regions | None) -> dict[str, Target]:
    """Where those outputs go that are to be written into regions, by name. Raises as `array_in` does."""
    targets: dict[str, Target] = {}
    for output in outputs:
        if (span := span_of(output.parameters, "output", output.name)) is not None:
            targets[output.name] = Target(span, _known(regions, where("output", output.name)).target(*span))
    return targets


def _known(regions: Regions | None, whose: str) -> Regions:
    if regions is None:
        raise BadInput(f"{whose} lies in shared memory, which is not supported here")
    return regions
