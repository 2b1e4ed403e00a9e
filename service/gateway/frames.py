"""JSON around the values of one input, each read once: the requests of one client differ in those values alone.

A frame is known by all of its bytes, and only once a request in it was found good; whatever is not plain is read by the
codec each time. Knows nothing of transports.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
import orjson

from service.core.contract import Array, InferRequest
from service.gateway import codec
from service.gateway.codec import Form, Specs
from service.gateway.json_tensors import packer_of
from service.gateway.recent import Recent
from service.gateway.region_tensors import Regions

_MOST_BYTES = 2048  # of a frame
_LONGEST_BYTES = 128 << 10  # of a request; the frame of a longer one is not worth a look
_KEY = b'"data":'


class _Frame(NamedTuple):
    """What a frame says.

    Attributes:
        specs: the inputs that it was held against.
        name: of its one input.
        packer: of so many of its values.
        dtype: of those, once packed.
        shape: of all of them.
        others: of the request, all but its inputs.
        form: how outputs are wanted.
    """

    specs: Specs
    name: str
    packer: struct.Struct
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    others: tuple[Any, ...]
    form: Form


class Frames:
    """Reads requests that are JSON, and remembers the frames that it read lately."""

    def __init__(self) -> None:
        self._known: Recent[_Frame] = Recent()

    def decode(self, body: bytes, specs: Specs, regions: Regions | None = None) -> tuple[InferRequest, Form]:
        """The same as `codec.decode` of a body that is JSON."""
        key = body.find(_KEY)
        end = body.find(b"]", key) if key >= 0 and len(body) <= _LONGEST_BYTES else -1
        begin = body.rfind(b"[", key, end) if end >= 0 else -1
        if begin < 0 or begin + len(body) - end > _MOST_BYTES:
            return codec.decode(body, None, specs, regions)
        frame, text = body[:begin] + body[end:], body[begin : end + 1]
        known = self._known.get(frame)
        if known is not None and known.specs is specs and (array := _array(text, known)) is not None:
            return InferRequest({known.name: array}, *known.others), known.form
        request, form = codec.decode(body, None, specs, regions)
        if _is_plain(request, form, text.count(b",") + 1) and _holds_one_list(frame, key + len(_KEY), begin):
            ((name, array),) = request.inputs.items()
            packer = packer_of(array.size, specs[name].datatype)
            self._known.put(frame, _Frame(specs, name, packer, array.dtype, array.shape, request[1:], form))
        return request, form


def _array(text: bytes, frame: _Frame) -> Array | None:
    """What the list `text` holds; None where the frame asks for something else, of which the codec says what is wrong.

    A packer takes numbers alone, as many as it is for and no larger than they may be, but also booleans.
    """
    if b"u" in text or b"a" in text:  # true, false, null
        return None
    try:
        packed = frame.packer.pack(*orjson.loads(text))
    except (orjson.JSONDecodeError, struct.error, OverflowError):
        return None
    return np.frombuffer(packed, frame.dtype).reshape(frame.shape)


def _is_plain(request: InferRequest, form: Form, elements: int) -> bool:
    """Whether there is one input, of so many numbers, and nothing goes into shared memory."""
    if len(request.inputs) != 1 or form.targets:
        return False
    (array,) = request.inputs.values()
    return array.size == elements > 0 and array.dtype.kind in "iuf"


def _holds_one_list(frame: bytes, key_end: int, begin: int) -> bool:
    """Whether the list that was at `begin` is the `data` of the one input, by the bytes around it alone.

    Where nothing is escaped, `"data":` in valid JSON is a key. There is one, and whoever names no shared memory gives
    an input its values by that. They may lie in lists that hold nothing else.
    """
    return (
        frame.count(b'"data"') == 1
        and not frame[key_end:begin].strip(b" \t\r\n[")
        and b"\\" not in frame
        and b"shared_memory" not in frame
    )
