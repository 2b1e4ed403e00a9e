"""JSON headers of binary requests, each read once: the requests of one client differ in their blobs alone.

A header is known by all of its bytes, and only once a request with it was found good; what is JSON alone goes to
`frames`, which has the same of it. Knows nothing of transports.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from service.core.contract import Array, InferRequest
from service.gateway import codec
from service.gateway.codec import Form, Specs
from service.gateway.frames import Frames
from service.gateway.recent import Recent
from service.gateway.region_tensors import Regions

_MOST_BYTES = 2048  # of a header


class _Place(NamedTuple):
    """Where an input lies in the body."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    elements: int
    offset: int


class _Layout(NamedTuple):
    """What a header says.

    Attributes:
        specs: the inputs that it was held against.
        size_bytes: of the whole body.
        places: of the inputs.
        others: of the request, all but its inputs.
        form: how outputs are wanted.
    """

    specs: Specs
    size_bytes: int
    places: tuple[_Place, ...]
    others: tuple[Any, ...]
    form: Form


class Layouts:
    """Reads requests, and remembers the headers that it read lately."""

    def __init__(self) -> None:
        self._known: Recent[_Layout] = Recent()
        self._frames = Frames()

    def decode(
        self, body: bytes | memoryview, header_length: int | None, specs: Specs, regions: Regions | None = None
    ) -> tuple[InferRequest, Form]:
        """The same as `codec.decode`."""
        if header_length is None:
            return self._frames.decode(bytes(body), specs, regions)  # no copy: a view has a header
        if not header_length or header_length > _MOST_BYTES:
            return codec.decode(body, header_length, specs, regions)
        header = bytes(body[:header_length])
        known = self._known.get(header)
        if known is not None and known.specs is specs and known.size_bytes == len(body):
            inputs = {place.name: _array(body, place) for place in known.places}
            return InferRequest(inputs, *known.others), known.form
        request, form = codec.decode(body, header_length, specs, regions)
        if _is_plain(request, form, len(body) - header_length):
            places = _places(request, header_length)
            self._known.put(header, _Layout(specs, len(body), places, request[1:], form))
        return request, form


def _array(body: bytes | memoryview, place: _Place) -> Array:
    array = np.frombuffer(body, place.dtype, place.elements, place.offset).reshape(place.shape)
    return array if array.flags.aligned else array.copy()


def _is_plain(request: InferRequest, form: Form, binary_bytes: int) -> bool:
    """Whether the blobs are numbers, nothing but the inputs, and taken as they come."""
    arrays = request.inputs.values()
    numbers = all(array.size and array.dtype.kind in "iuf" for array in arrays)
    return numbers and not form.targets and sum(array.nbytes for array in arrays) == binary_bytes


def _places(request: InferRequest, offset: int) -> tuple[_Place, ...]:
    places = []
    for name, array in request.inputs.items():
        places.append(_Place(name, array.dtype, array.shape, array.size, offset))
        offset += array.nbytes
    return tuple(places)
