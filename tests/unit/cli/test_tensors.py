"""Binary tensors on the client's side, byte for byte as the protocol's extension writes them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from service.cli.failure import Failure
from service.cli.tensors import HEADER, decode_answer, encode_request
from service.core.contract import DTYPES


def split(body: bytes, headers: dict[str, str]) -> tuple[dict[str, Any], bytes]:
    length = int(headers[HEADER])
    return json.loads(body[:length]), body[length:]


def answer(outputs: list[dict[str, Any]], blobs: bytes = b"") -> tuple[bytes, int]:
    head = json.dumps({"model_name": "m", "model_version": "1", "outputs": outputs}).encode()
    return head + blobs, len(head)


def test_blobs_follow_the_json_in_the_order_of_the_inputs() -> None:
    first, second = np.array([[1, 2]], np.int16), np.array([1.5], np.float32)
    head, blobs = split(*encode_request({"a": first, "b": second}))
    assert head["inputs"] == [
        {"name": "a", "shape": [1, 2], "datatype": "INT16", "parameters": {"binary_data_size": 4}},
        {"name": "b", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}},
    ]
    assert head["parameters"] == {"binary_data_output": True}
    assert blobs == b"\x01\x00\x02\x00" + np.float32(1.5).tobytes()


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BYTES"])
def test_every_datatype_comes_back_as_it_was(datatype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(DTYPES[datatype])
    head, blobs = split(*encode_request({"x": array}))
    assert head["inputs"][0]["datatype"] == datatype
    _, outputs = decode_answer(*answer(head["inputs"], blobs))
    assert outputs["x"].dtype == array.dtype
    np.testing.assert_array_equal(outputs["x"], array)


@pytest.mark.parametrize(
    "array",
    [np.array([["a", "bé"]]), np.array([[b"a", "bé".encode()]]), np.array([[b"a", "bé"]], np.object_)],
    ids=["U", "S", "object"],
)
def test_strings_are_sent_as_bytes_elements(array: np.ndarray[Any, Any]) -> None:
    head, blobs = split(*encode_request({"x": array}))
    assert (head["inputs"][0]["datatype"], head["inputs"][0]["shape"]) == ("BYTES", [1, 2])
    assert blobs == b"\x01\0\0\0a\x03\0\0\0b\xc3\xa9"
    _, outputs = decode_answer(*answer(head["inputs"], blobs))
    assert outputs["x"].tolist() == [[b"a", "bé".encode()]]


def test_big_endian_and_strided_arrays_are_sent_little_endian_and_row_major() -> None:
    array = np.array([[1, 2], [3, 4]], ">i4").T
    _, blobs = split(*encode_request({"x": array}))
    assert np.frombuffer(blobs, "<i4").tolist() == [1, 3, 2, 4]


def test_a_dtype_that_the_protocol_lacks_is_a_failure() -> None:
    with pytest.raises(Failure, match="input 'x' holds complex64"):
        encode_request({"x": np.zeros(1, np.complex64)})


def test_json_outputs_are_arrays_too() -> None:
    body, _ = answer([{"name": "y", "shape": [2, 1], "datatype": "FP32", "data": [1, 2]}])
    head, outputs = decode_answer(body, None)
    assert head["model_name"] == "m"
    assert outputs["y"].dtype == np.float32
    assert outputs["y"].tolist() == [[1.0], [2.0]]


def test_json_and_binary_outputs_may_be_mixed() -> None:
    outputs = [
        {"name": "a", "shape": [1], "datatype": "INT8", "data": [7]},
        {"name": "b", "shape": [2], "datatype": "INT8", "parameters": {"binary_data_size": 2}},
    ]
    _, arrays = decode_answer(*answer(outputs, b"\x01\x02"))
    assert (arrays["a"].tolist(), arrays["b"].tolist()) == ([7], [1, 2])


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"outputs": 3}',
        b'{"outputs": [{"name": "y", "shape": [2], "datatype": "FP32", "data": [1]}]}',
        b'{"outputs": [{"name": "y", "shape": [1], "datatype": "FP128", "data": [1]}]}',
        b'{"outputs": [{"name": "y", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]}',
        b'{"outputs": [{"name": "y", "shape": [1], "datatype": "FP32"}]}',
    ],
)
def test_what_is_no_answer_of_the_protocol_is_a_failure(body: bytes) -> None:
    with pytest.raises(Failure, match="no Open Inference Protocol message"):
        decode_answer(body, None)


def test_a_truncated_bytes_element_is_a_failure() -> None:
    outputs = [{"name": "y", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 2}}]
    with pytest.raises(Failure):
        decode_answer(*answer(outputs, b"\x01\x00"))
