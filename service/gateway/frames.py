"""JSON around the values of one input, each read once: the requests of one client differ in those values alone.

A frame is known by all of its bytes, and only once a request in it was found good; whatever is not plain is read by the
codec each time. Knows nothing of transports.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from service.core.contract import InferRequest
from service.gateway import codec, json_tensors
from service.gateway.codec import Form, Specs
from service.gateway.recent import Recent
from service.gateway.region_tensors import Regions

_MOST_BYTES = 2048  # of a frame
_LONGEST_BYTES = 256 << 10  # of a request; the frame of a longer one is not worth a look
_KEY = b'"data":'


class _Frame(NamedTuple):
    """What a frame says.

    Attributes:
        specs: the inputs that it was held against.
        name: of its one input.
        datatype: of that.
        shape: of that.
        elements: so many.
        others: of the request, all but its inputs.
        form: how outputs are wanted.
    """

    specs: Specs
    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: int
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
        if known is not None and known.specs is specs and len(values := _values(text)) == known.elements:
            array = json_tensors.array_of_flat(values, known.shape, known.datatype, known.name)
            return InferRequest({known.name: array}, *known.others), known.form
        request, form = codec.decode(body, None, specs, regions)
        if _is_plain(request, form, text.count(b",") + 1) and _holds_one_list(frame, key + len(_KEY), begin):
            ((name, array),) = request.inputs.items()
            datatype = specs[name].datatype
            self._known.put(frame, _Frame(specs, name, datatype, array.shape, array.size, request[1:], form))
        return request, form


def _values(text: bytes) -> list[Any]:
    """What the list `text` holds; nothing where it is none, of which the codec says what is wrong."""
    try:
        values: list[Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        return []
    return values


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
