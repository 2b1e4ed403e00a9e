"""A header that was read before is read alike from memory, whatever follows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest

from service.core.contract import InferRequest, TensorSpec
from service.core.errors import BadInput
from service.gateway import codec
from service.gateway.layouts import Layouts
from service.gateway.recent import KEPT
from tests.unit.gateway.codec_reads import Read

SPECS = {
    "a": TensorSpec("a", "FP32", ("batch", 2)),
    "b": TensorSpec("b", "INT64", ("batch",)),
    "flags": TensorSpec("flags", "BOOL", ("batch",)),
    "words": TensorSpec("words", "BYTES", ("batch",)),
}
A, B = np.float32([[1, 2], [3, 4]]), np.int64([5, 6])


def entry(name: str, array: Any, **more: Any) -> dict[str, Any]:
    kind = {"f": "FP32", "i": "INT64", "b": "BOOL"}[array.dtype.kind]
    parameters = {"binary_data_size": array.nbytes}
    return {"name": name, "shape": list(array.shape), "datatype": kind, "parameters": parameters, **more}


def header(**more: Any) -> bytes:
    return orjson.dumps({"inputs": [entry("a", A), entry("b", B)], **more})


HEADERS = {
    "plain": header(),
    "id": header(id="mine"),
    "outputs": header(outputs=[{"name": "y", "parameters": {"binary_data": True}}]),
    "all binary": header(parameters={"binary_data_output": True, "timeout": 5, "priority": 2, "own": 1}),
    "a step": header(parameters={"sequence_id": 4, "sequence_start": True}),
    "padded": header() + b" ",  # so that neither array is aligned
}


def check_alike(one: tuple[InferRequest, codec.Form], other: tuple[InferRequest, codec.Form]) -> None:
    assert one[1] == other[1]
    assert one[0][1:] == other[0][1:]
    assert list(one[0].inputs) == list(other[0].inputs)
    for name, array in one[0].inputs.items():
        assert array.dtype == other[0].inputs[name].dtype
        assert np.array_equal(array, other[0].inputs[name])
        assert array.flags.aligned
        assert array.flags.c_contiguous


@pytest.mark.parametrize("head", HEADERS.values(), ids=HEADERS.keys())
def test_a_known_header_is_read_from_memory(read: Read, head: bytes) -> None:
    layouts = Layouts()
    layouts.decode(head + A.tobytes() + B.tobytes(), len(head), SPECS)
    assert read.count == 1
    body = head + (A * 7).tobytes() + (B * 7).tobytes()
    found = layouts.decode(body, len(head), SPECS)
    assert read.count == 1
    check_alike(found, codec.decode(body, len(head), SPECS))
    assert found[0].inputs["a"].tolist() == (A * 7).tolist()


@pytest.mark.parametrize("body", [b"", b"x" * 10, A.tobytes() + B.tobytes() + b"x", A.tobytes() + B.tobytes()[1:]])
def test_a_known_header_with_too_many_or_too_few_bytes_is_refused_as_ever(body: bytes) -> None:
    layouts, head = Layouts(), HEADERS["plain"]
    layouts.decode(head + A.tobytes() + B.tobytes(), len(head), SPECS)
    with pytest.raises(BadInput) as known:
        layouts.decode(head + body, len(head), SPECS)
    with pytest.raises(BadInput) as unknown:
        codec.decode(head + body, len(head), SPECS)
    assert str(known.value) == str(unknown.value)


def test_a_header_is_known_of_one_version_alone() -> None:
    layouts, head = Layouts(), HEADERS["plain"]
    body = head + A.tobytes() + B.tobytes()
    layouts.decode(body, len(head), SPECS)
    others = {**SPECS, "a": TensorSpec("a", "FP64", ("batch",))}
    with pytest.raises(BadInput, match="expected 'FP64'"):
        layouts.decode(body, len(head), others)
    check_alike(layouts.decode(body, len(head), dict(SPECS)), codec.decode(body, len(head), SPECS))


FLAGS = np.bool_([True, False])
WORD = b"\x01\x00\x00\x00w"
NEVER: Mapping[str, tuple[bytes, bytes]] = {
    "booleans, whose bytes are looked at": (orjson.dumps({"inputs": [entry("flags", FLAGS)]}), FLAGS.tobytes()),
    "texts": (
        orjson.dumps(
            {
                "inputs": [
                    {"name": "words", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(WORD)}}
                ]
            }
        ),
        WORD,
    ),
    "values in the header": (
        orjson.dumps({"inputs": [{"name": "b", "shape": [2], "datatype": "INT64", "data": [1, 2]}, entry("a", A)]}),
        A.tobytes(),
    ),
    "no values in the header": (
        orjson.dumps({"inputs": [{"name": "b", "shape": [0], "datatype": "INT64", "data": []}, entry("a", A)]}),
        A.tobytes(),
    ),
    "a long header": (header(id="i" * 1000, parameters={"own": "x" * 2000}), A.tobytes() + B.tobytes()),
}


@pytest.mark.parametrize(("head", "blob"), NEVER.values(), ids=NEVER.keys())
def test_other_headers_are_read_each_time(read: Read, head: bytes, blob: bytes) -> None:
    layouts = Layouts()
    for count in (1, 2):
        layouts.decode(head + blob, len(head), SPECS)
        assert read.count == count


def test_json_and_raw_requests_are_the_codec_s(read: Read) -> None:
    layouts = Layouts()
    body = orjson.dumps({"inputs": [{"name": "b", "shape": [2], "datatype": "INT64", "data": [1, 2]}]})
    assert layouts.decode(body, None, SPECS)[0].inputs["b"].tolist() == [1, 2]
    assert layouts.decode(B.tobytes(), 0, {"b": SPECS["b"]})[1].everything
    assert read.count == 2


def test_what_was_refused_is_read_again(read: Read) -> None:
    layouts, head = Layouts(), header(parameters={"timeout": -1})
    for _ in range(2):
        with pytest.raises(BadInput):
            layouts.decode(head + A.tobytes() + B.tobytes(), len(head), SPECS)
    assert read.count == 2


def test_what_is_remembered_is_bounded() -> None:
    layouts = Layouts()
    for number in range(2000):
        head = header(id=str(number))
        layouts.decode(head + A.tobytes() + B.tobytes(), len(head), SPECS)
    assert 0 < len(layouts._known) <= 2 * KEPT
