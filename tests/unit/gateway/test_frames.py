"""Values in a frame that was read before are read as the codec reads the whole, and no frame is taken for another."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import orjson
import pytest

from service.core.contract import InferRequest, TensorSpec
from service.core.errors import BadInput
from service.gateway import codec
from service.gateway.codec import Specs
from service.gateway.frames import Frames
from service.gateway.recent import KEPT
from tests.unit.gateway.codec_reads import Read

SPECS = {"a": TensorSpec("a", "FP32", ("batch", 2)), "n": TensorSpec("n", "UINT8", ("batch",))}


def request(data: Any, rows: int = 1, **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "a", "shape": [rows, 2], "datatype": "FP32", "data": data}], **more}


def told(body: bytes, specs: Specs, decoded: Any) -> str:
    """The sentence of a refusal."""
    with pytest.raises(BadInput) as refused:
        decoded(body, specs)
    return str(refused.value)


def by_codec(body: bytes, specs: Specs) -> tuple[InferRequest, codec.Form]:
    return codec.decode(body, None, specs)


def check_alike(one: tuple[InferRequest, codec.Form], other: tuple[InferRequest, codec.Form]) -> None:
    assert one[1] == other[1]
    assert one[0][1:] == other[0][1:]
    assert {name: array.tolist() for name, array in one[0].inputs.items()} == {
        name: array.tolist() for name, array in other[0].inputs.items()
    }
    for name, array in one[0].inputs.items():
        like = other[0].inputs[name]
        assert (array.dtype, array.shape, array.flags.writeable) == (like.dtype, like.shape, like.flags.writeable)


KNOWN: dict[str, tuple[bytes, bytes]] = {
    "flat": (orjson.dumps(request([1, 2])), orjson.dumps(request([0.5, -3e3]))),
    "with spaces": (json.dumps(request([1, 2])).encode(), json.dumps(request([3, 4.5])).encode()),
    "one row": (orjson.dumps(request([[1, 2]])), orjson.dumps(request([[3, 4]]))),
    "two rows, flat": (orjson.dumps(request([1, 2, 3, 4], 2)), orjson.dumps(request([5, 6, 7, 8.5], 2))),
    "an id and outputs": (
        orjson.dumps(request([1, 2], id="mine", outputs=[{"name": "y", "parameters": {"binary_data": True}}])),
        orjson.dumps(request([8, 9], id="mine", outputs=[{"name": "y", "parameters": {"binary_data": True}}])),
    ),
    "parameters": (
        orjson.dumps(request([1, 2], parameters={"timeout": 5, "priority": 2, "own": "x]"})),
        orjson.dumps(request([8, 9], parameters={"timeout": 5, "priority": 2, "own": "x]"})),
    ),
}


@pytest.mark.parametrize(("first", "second"), KNOWN.values(), ids=KNOWN.keys())
def test_values_in_a_known_frame_are_read_alone(read: Read, first: bytes, second: bytes) -> None:
    frames = Frames()
    check_alike(frames.decode(first, SPECS), by_codec(first, SPECS))
    read.count = 0
    found = frames.decode(second, SPECS)
    assert read.count == 0
    check_alike(found, by_codec(second, SPECS))


WRONG = (
    b"1",
    b"1,2,3",
    b"",
    b"true,1",
    b'"1",2',
    b"null,1",
    b"1,{}",
    b"1,",
    b"1,1e99",
    b"NaN,1",
    b"[1,2",
    b"[1],2",
    b"1 2",
)


@pytest.mark.parametrize("values", WRONG)
@pytest.mark.parametrize("first", [b"[1,2]", b"[[1,2]]"])
def test_wrong_values_in_a_known_frame_are_refused_as_ever(first: bytes, values: bytes) -> None:
    frames, good = Frames(), orjson.dumps(request([1, 2])).replace(b"[1,2]}", b"%b}")
    frames.decode(good % first, SPECS)
    body = good % first.replace(b"1,2", values)
    assert told(body, SPECS, frames.decode) == told(body, SPECS, by_codec)


def test_an_integer_beyond_its_datatype_is_refused_in_a_known_frame() -> None:
    frames, body = Frames(), b'{"inputs":[{"name":"n","shape":[2],"datatype":"UINT8","data":[%b]}]}'
    frames.decode(body % b"1,2", SPECS)
    for values in (b"1,256", b"1,-1", b"1,1.0"):
        assert told(body % values, SPECS, frames.decode) == told(body % values, SPECS, by_codec)


ENTRY = b'"name":"a","shape":[1,2],"datatype":"FP32"'
# Pairs of requests that differ in what a hasty reader would take for the values.
OTHERS: dict[str, tuple[bytes, bytes]] = {
    "data twice, of which the last counts": (
        b'{"inputs":[{%b,"data":[1,2],"data":[1,2]}]}' % ENTRY,
        b'{"inputs":[{%b,"data":[3,4],"data":[1,2]}]}' % ENTRY,
    ),
    "data among parameters": (
        b'{"parameters":{"data":[1,2]},"inputs":[{%b,"data":[1,2]}]}' % ENTRY,
        b'{"parameters":{"data":[3,4]},"inputs":[{%b,"data":[1,2]}]}' % ENTRY,
    ),
    "data in a text": (
        rb'{"id":"\"data\":[1,2]","inputs":[{%b,"data":[1,2]}]}' % ENTRY,
        rb'{"id":"\"data\":[3,4]","inputs":[{%b,"data":[1,2]}]}' % ENTRY,
    ),
    "data by another spelling": (
        rb'{"parameters":{"data":[1,2]},"inputs":[{%b,"d\u0061ta":[1,2]}]}' % ENTRY,
        rb'{"parameters":{"data":[3,4]},"inputs":[{%b,"d\u0061ta":[1,2]}]}' % ENTRY,
    ),
    "rows": (
        b'{"inputs":[{"name":"a","shape":[2,2],"datatype":"FP32","data":[[1,2],[3,4]]}]}',
        b'{"inputs":[{"name":"a","shape":[2,2],"datatype":"FP32","data":[[5,6],[3,4]]}]}',
    ),
}


def outcome(body: bytes, decoded: Any) -> Any:
    """What became of a request: its values, or the sentence of its refusal."""
    try:
        return {name: array.tolist() for name, array in decoded(body, SPECS)[0].inputs.items()}
    except BadInput as error:
        return str(error)


@pytest.mark.parametrize(("first", "second"), OTHERS.values(), ids=OTHERS.keys())
def test_what_only_looks_like_the_values_is_not_taken_for_them(first: bytes, second: bytes) -> None:
    frames = Frames()
    for body in (first, second, first):
        assert outcome(body, frames.decode) == outcome(body, by_codec)


def test_a_frame_is_known_of_one_version_alone() -> None:
    frames, body = Frames(), orjson.dumps(request([1, 2]))
    frames.decode(body, SPECS)
    others = {"a": TensorSpec("a", "FP64", ("batch", 2))}
    assert told(body, others, frames.decode) == told(body, others, by_codec)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"data":',
        b'{"data":]',
        b'{"data":[]}',
        b'{"inputs":[{"name":"a","shape":[0,2],"datatype":"FP32","data":[]}]}',
        orjson.dumps(request([1, 2], parameters={"own": "x" * 3000})),
        orjson.dumps(request([1.5] * 200_000, 100_000)),
    ],
)
def test_other_bodies_are_the_codec_s(read: Read, body: bytes) -> None:
    frames = Frames()
    for count in (1, 2):
        outcome(body, frames.decode)
        assert read.count == count


def test_what_is_remembered_is_bounded() -> None:
    frames = Frames()
    for number in range(2000):
        frames.decode(orjson.dumps(request([1, 2], id=str(number))), SPECS)
    assert 0 < len(frames._known) <= 2 * KEPT


def test_so_is_the_memory_for_requests_that_say_much_in_few_bytes() -> None:
    frames = Frames()
    many = [{"": number} for number in range(190)]
    tracemalloc.start()
    for number in range(1200):
        frames.decode(orjson.dumps(request([1, 2], parameters={"own": many}, id=str(number))), SPECS)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < 30 << 20  # 46 MB for as many as are remembered of short ones


def test_values_are_not_shared_with_an_earlier_request() -> None:
    frames = Frames()
    first = frames.decode(orjson.dumps(request([1, 2])), SPECS)[0].inputs["a"]
    frames.decode(orjson.dumps(request([3, 4])), SPECS)
    assert np.array_equal(first, [[1, 2]])
