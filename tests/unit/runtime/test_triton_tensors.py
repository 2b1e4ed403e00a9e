"""What a remote's answer may hold, and what of it is believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from service.core.contract import DTYPES, TensorSpec
from service.core.errors import BadInput, RunFailed
from service.runtime.triton_tensors import decode, encode


def spec(datatype: str = "FP32", *dims: int | str | None) -> TensorSpec:
    return TensorSpec("y", datatype, dims or ("batch", 2))


def answer(shape: list[int], raw: bytes | None = None, datatype: str = "FP32", name: str = "y", **contents: Any) -> Any:
    response = pb.ModelInferResponse()
    tensor = response.outputs.add(name=name, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    if raw is not None:
        response.raw_output_contents.append(raw)
    return response


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (answer([1, 2], b"\0" * 8, name="z"), "no output 'y'"),
        (answer([1, 2], b"\0" * 8, "INT32"), "is not FP32"),
        (answer([1, 3], b"\0" * 12), "is not FP32"),
        (answer([2], b"\0" * 8), "is not FP32"),
        (answer([-1, 2], b""), "is not FP32"),
        (answer([2**62, 2], b"\0" * 8), "more or fewer elements"),
        (answer([1, 2], b"\0" * 4), "more or fewer elements"),
        (answer([1, 2], b"\0" * 7), "ends within an element"),
        (answer([1, 2]), "more or fewer elements"),
        (pb.ModelInferResponse(), "no output 'y'"),
        (pb.ModelInferResponse(raw_output_contents=[b"a", b"b"]), "0 outputs with 2 contents"),
    ],
)
def test_an_answer_that_does_not_fit_is_a_failed_run(response: Any, says: str) -> None:
    with pytest.raises(RunFailed, match=says):
        decode(response, [spec()])


@pytest.mark.parametrize("raw", [b"\5\0\0\0ab", b"\1\0\0", b"\1\0\0\0a\xff\xff\xff\xff"])
def test_texts_that_are_cut_short_are_a_failed_run(raw: bytes) -> None:
    with pytest.raises(RunFailed, match="ends within an element"):
        decode(answer([1, 2], raw, "BYTES"), [spec("BYTES")])


@pytest.mark.parametrize(
    ("datatype", "contents", "values"),
    [
        ("FP32", {"fp32_contents": [1.5, 2]}, [1.5, 2]),
        ("INT8", {"int_contents": [-1, 2]}, [-1, 2]),
        ("UINT16", {"uint_contents": [1, 65535]}, [1, 65535]),
        ("BOOL", {"bool_contents": [True, False]}, [True, False]),
        ("UINT64", {"uint64_contents": [1, 2**63]}, [1, 2**63]),
        ("BYTES", {"bytes_contents": [b"a", b""]}, [b"a", b""]),
    ],
)
def test_typed_contents_are_read_as_raw_ones_are(datatype: str, contents: dict[str, Any], values: list[Any]) -> None:
    array = decode(answer([1, 2], None, datatype, **contents), [spec(datatype)])["y"]
    assert array.dtype == DTYPES[datatype]
    assert array.tolist() == [values]


def test_a_typed_value_that_its_datatype_cannot_hold_is_a_failed_run() -> None:
    with pytest.raises(RunFailed, match="does not fit INT8"):
        decode(answer([1, 2], None, "INT8", int_contents=[1, 999]), [spec("INT8")])


def test_whatever_is_not_0_is_true() -> None:
    array = decode(answer([1, 2], b"\7\0", "BOOL"), [spec("BOOL")])["y"]
    assert array.tolist() == [[True, False]]
    assert array.view(np.uint8).tolist() == [[1, 0]]


def test_an_output_that_nobody_knows_of_is_left_aside_and_the_order_is_free() -> None:
    response = answer([1], b"\0" * 4, name="more")
    response.outputs.add(name="y", datatype="FP32", shape=[1, 2])
    response.raw_output_contents.append(np.float32([1, 2]).tobytes())
    assert {name: array.tolist() for name, array in decode(response, [spec()]).items()} == {"y": [[1, 2]]}


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"y": np.float32([[1, 2]]), "z": np.float32([1])}, "no input 'z'"),
        ({}, "input 'y' is missing"),
        ({"y": np.float64([[1, 2]])}, "is of dtype float64, expected float32"),
        ({"y": np.array([[1, 2]], ">f4")}, "is of dtype >f4, expected float32"),
    ],
)
def test_arrays_that_are_not_the_version_s_are_not_sent(arrays: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        encode("m", "", [spec()], [], arrays)


def test_a_request_names_model_version_and_every_output() -> None:
    request = encode("m", "3", [spec()], [spec()], {"y": np.float32([[1, 2], [3, 4]])})
    assert (request.model_name, request.model_version, [o.name for o in request.outputs]) == ("m", "3", ["y"])
    assert list(request.inputs[0].shape) == [2, 2]
    assert request.raw_input_contents[0] == np.float32([1, 2, 3, 4]).tobytes()
