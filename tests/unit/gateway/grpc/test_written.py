"""A large answer that is written past protobuf is the message that protobuf would have written."""

from __future__ import annotations

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from service.core.contract import Array, InferResponse
from service.core.errors import TooLarge
from service.gateway.grpc import messages
from service.gateway.grpc.written import unless_written
from service.gateway.region_tensors import Span, Target

MIB = 1 << 20


def text(size: int) -> Array:
    made = np.empty((1, 1), object)
    made[0, 0] = b"a" * size
    return made


class Memory:
    def __init__(self) -> None:
        self.bytes = 0

    def write(self, _offset: int, blob: bytes | memoryview, /) -> None:
        self.bytes += len(blob)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 5000, MIB, 5 * MIB])
def test_it_reads_as_the_same_message(size: int, streamed: bool) -> None:
    outputs = {
        "a": np.arange(size, dtype=np.float32).reshape(1, size),
        "none": np.empty((0, 4), np.int64),
        "t": text(size),
        "kept": np.ones((1, 4), np.float32),
    }
    response = InferResponse("m", "1-int8", outputs, "7")
    targets = {"kept": Target(Span("r", 0, 16), Memory())}
    expected = messages.encode(response, targets).message
    wire, size_bytes = messages.write(response, targets, streamed=streamed)
    assert len(wire) == size_bytes
    if not streamed:
        assert service_pb2.ModelInferResponse.FromString(wire) == expected
        return
    messages.end(expected)
    read = service_pb2.ModelStreamInferResponse.FromString(wire)
    assert read == service_pb2.ModelStreamInferResponse(infer_response=expected)
    assert read.infer_response.parameters["triton_final_response"].bool_param


@pytest.mark.parametrize(("limit_bytes", "fits"), [(2 * MIB, True), (MIB, False)])
def test_what_no_client_could_read_is_not_written(
    limit_bytes: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "LIMIT_BYTES", limit_bytes)
    response = InferResponse("m", "1", {"a": np.zeros((1, MIB // 4), np.float32)})
    if fits:
        assert messages.write(response, {}, streamed=True).size_bytes > MIB
        return
    with pytest.raises(TooLarge, match="ask for fewer rows or outputs, or over HTTP"):
        messages.write(response, {}, streamed=True)


def test_what_is_written_is_not_written_again() -> None:
    serializer = unless_written(service_pb2.ServerLiveResponse.SerializeToString)
    assert serializer(b"\x08\x01") == b"\x08\x01"
    assert serializer(service_pb2.ServerLiveResponse(live=True)) == b"\x08\x01"
