"""Requests and responses of gRPC: the same nouns, the same refusals as over HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from service.core.contract import InferResponse, SequenceStep, TensorSpec
from service.core.errors import BadInput
from service.gateway.grpc import messages
from service.gateway.region_tensors import Span, Target

SPECS = {
    "x": TensorSpec("x", "FP32", ("batch", 2)),
    "t": TensorSpec("t", "BYTES", ("batch",)),
    "h": TensorSpec("h", "FP16", (1,)),
}
ROW = np.float32([[1, 2]])


def tensor(name: str = "x", datatype: str = "FP32", shape: tuple[int, ...] = (1, 2), **more: Any) -> Any:
    return service_pb2.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape, **more)


def request(*inputs: Any, **more: Any) -> Any:
    return service_pb2.ModelInferRequest(model_name="m", inputs=inputs, **more)


def typed(*values: float) -> Any:
    return service_pb2.InferTensorContents(fp32_contents=values)


def decoded(message: Any) -> Any:
    return messages.decode(message, SPECS, None).request


def test_raw_contents_are_taken_in_order() -> None:
    text = b"\x02\x00\x00\x00hi"
    found = decoded(request(tensor("t", "BYTES", (1,)), tensor(), raw_input_contents=[text, ROW.tobytes()]))
    assert found.inputs["t"].tolist() == [b"hi"]
    np.testing.assert_array_equal(found.inputs["x"], ROW)


def test_typed_contents_are_read() -> None:
    np.testing.assert_array_equal(decoded(request(tensor(contents=typed(1, 2)))).inputs["x"], ROW)


def test_contents_that_hold_nothing_may_stand_beside_raw_ones() -> None:
    empty = service_pb2.InferTensorContents()
    found = decoded(request(tensor(contents=empty), raw_input_contents=[ROW.tobytes()]))
    np.testing.assert_array_equal(found.inputs["x"], ROW)


def test_half_precision_comes_raw() -> None:
    half = np.float16([0.5])
    found = decoded(request(tensor("h", "FP16", (1,)), raw_input_contents=[half.tobytes()]))
    np.testing.assert_array_equal(found.inputs["h"], half)


def test_everything_a_request_may_say_is_read() -> None:
    message = request(tensor(contents=typed(1, 2)), id="é1")
    message.parameters["timeout"].int64_param = 5000
    message.parameters["priority"].uint64_param = 2
    message.parameters["sequence_id"].string_param = "five"
    message.parameters["sequence_start"].bool_param = True
    message.parameters["mine"].double_param = 0.5
    message.parameters["triton_enable_empty_final_response"].bool_param = True
    wanted = message.outputs.add(name="y")
    wanted.parameters["classification"].int64_param = 3
    found = decoded(message)
    assert (found.id, found.timeout_us, found.priority) == ("é1", 5000, 2)
    assert found.sequence == SequenceStep("five", start=True)
    assert found.parameters == {"mine": 0.5}
    assert [(output.name, dict(output.parameters)) for output in found.outputs] == [("y", {"classification": 3})]


def with_parameter(message: Any, name: str, **value: Any) -> Any:
    message.parameters[name].MergeFrom(service_pb2.InferParameter(**value))
    return message


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (request(), "at least one input"),
        (request(tensor("z")), "the model has no input 'z'"),
        (request(tensor(datatype="FP64")), "'datatype' of input 'x' is 'FP64', expected 'FP32'"),
        (request(tensor(datatype="BF16")), "'datatype' of input 'x' is 'BF16', expected 'FP32'"),
        (request(tensor(contents=typed(1, 2)), tensor(contents=typed(1, 2))), "input 'x' is given twice"),
        (request(tensor(shape=(-1, 2))), "'shape' of input 'x' must hold integers of 0 or more"),
        (request(tensor(shape=(1 << 30, 1 << 30))), "asks for more than"),
        (request(tensor(shape=(1,) * 40)), "must be a list of at most 32 sizes"),
        (request(tensor(), raw_input_contents=[b"1234"]), "has 4 bytes of binary data, its shape asks for 8"),
        (request(tensor(), raw_input_contents=[ROW.tobytes()] * 2), "1 entries more than its inputs take"),
        (request(tensor(), tensor("t", "BYTES", (1,)), raw_input_contents=[ROW.tobytes()]), "no entry for input 't'"),
        (request(tensor(contents=typed(1, 2)), raw_input_contents=[ROW.tobytes()]), "has 'contents', and"),
        (request(tensor(contents=typed(1, 2)), id="x" * 1025), "'id' of the request"),
        (with_parameter(request(tensor(contents=typed(1, 2))), "priority", int64_param=-1), "'priority'"),
        (with_parameter(request(tensor(contents=typed(1, 2))), "triton_x", int64_param=1), "is reserved"),
    ],
)
def test_a_wrong_request_is_refused_in_words(message: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        decoded(message)
    assert len(str(caught.value)) < 1000


def test_an_answer_goes_out_raw() -> None:
    texts = np.array([[b"a"]], dtype=object)
    message = messages.encode(InferResponse("m", "1-int8", {"y": ROW, "t": texts}, "7"), {}).message
    assert (message.model_name, message.model_version, message.id) == ("m", "1-int8", "7")
    assert [(o.name, o.datatype, list(o.shape)) for o in message.outputs] == [
        ("y", "FP32", [1, 2]),
        ("t", "BYTES", [1, 1]),
    ]
    assert list(message.raw_output_contents) == [ROW.tobytes(), b"\x01\x00\x00\x00a"]


@pytest.mark.parametrize("size", [1, 200, 20_000, 1 << 20])
def test_an_answer_knows_its_bytes_on_the_wire(size: int) -> None:
    """Protobuf would write all of it to tell: 0.15 s for 64 MiB."""
    outputs = {name: np.zeros((1, size), np.float32) for name in ("a", "b", "c")}
    message, size_bytes = messages.encode(InferResponse("m", "1", outputs, "7"), {})
    assert message.ByteSize() <= size_bytes <= message.ByteSize() + 4 * len(outputs)


class Memory:
    def __init__(self) -> None:
        self.written: list[tuple[int, bytes]] = []

    def write(self, offset: int, blob: bytes | memoryview, /) -> None:
        self.written.append((offset, bytes(blob)))


def test_an_output_in_shared_memory_leaves_its_place_empty() -> None:
    memory = Memory()
    targets = {"y": Target(Span("r", 16, 8), memory)}
    message = messages.encode(InferResponse("m", "1", {"y": ROW, "z": ROW}), targets).message
    assert list(message.raw_output_contents) == [b"", ROW.tobytes()]
    assert memory.written == [(16, ROW.tobytes())]
    with pytest.raises(BadInput, match="more than the 4"):
        messages.encode(InferResponse("m", "1", {"y": ROW}), {"y": Target(Span("r", 0, 4), memory)})


@pytest.mark.parametrize(
    ("parameter", "sequence"),
    [
        (None, None),
        (service_pb2.InferParameter(int64_param=7), ("m", 7)),
        (service_pb2.InferParameter(string_param="a"), ("m", "a")),
    ],
)
def test_the_sequence_of_a_request_is_known_before_it_is_read(parameter: Any, sequence: Any) -> None:
    message = service_pb2.ModelInferRequest(model_name="m")
    if parameter is not None:
        message.parameters["sequence_id"].CopyFrom(parameter)
    assert messages.sequence_of(message) == sequence
    assert ("sequence_id" in message.parameters) is (parameter is not None)  # asking adds nothing
