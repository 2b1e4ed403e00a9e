from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from service.core.contract import InferResponse, TensorSpec
from service.core.errors import BadInput
from service.gateway import codec
from service.gateway.region_tensors import Span, span_of
from service.gateway.shared_memory import RequestRegions, SharedMemory

SPECS = {
    "x": TensorSpec("x", "FP32", ("batch", 4)),
    "flags": TensorSpec("flags", "BOOL", ("batch",)),
    "words": TensorSpec("words", "BYTES", ("batch",)),
}
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


def serialized(*words: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(word)) + word for word in words)


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """An object of 256 bytes, registered as the region r from its byte 64 on."""
    (tmp_path / "object").write_bytes(bytes(256))
    return tmp_path / "object"


@pytest.fixture
def regions(memory: Path) -> RequestRegions:
    shared = SharedMemory(True, 1000, folder=memory.parent)
    shared.register("r", "object", 64, 192)
    return shared.for_request(lambda: None)


def put(memory: Path, at: int, blob: bytes) -> None:
    content = bytearray(memory.read_bytes())
    content[64 + at : 64 + at + len(blob)] = blob
    memory.write_bytes(content)


def parameters(size: object, offset: object = 0, region: object = "r") -> dict[str, Any]:
    return {"shared_memory_region": region, "shared_memory_byte_size": size, "shared_memory_offset": offset}


def tensor(name: str = "x", shape: tuple[int, ...] = (2, 4), size: object = 32, offset: object = 0) -> dict[str, Any]:
    datatype = SPECS[name].datatype
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": parameters(size, offset)}


def decode(inputs: list[dict[str, Any]], regions: RequestRegions | None, outputs: Any = None) -> Any:
    document = {"inputs": inputs} | ({"outputs": outputs} if outputs else {})
    return codec.decode(orjson.dumps(document), None, SPECS, regions)


class TestInputs:
    def test_an_input_is_read_and_stays_though_the_client_writes_on(
        self, memory: Path, regions: RequestRegions
    ) -> None:
        put(memory, 8, ROWS.tobytes())
        request, _ = decode([tensor(offset=8)], regions)
        memory.write_bytes(bytes(256))
        np.testing.assert_array_equal(request.inputs["x"], ROWS)
        assert not request.inputs["x"].flags.writeable

    def test_bytes_and_booleans_are_checked_as_on_the_wire(self, memory: Path, regions: RequestRegions) -> None:
        put(memory, 0, serialized(b"hello", b""))
        put(memory, 100, b"\x00\x01\x01")
        request, _ = decode([tensor("words", (2,), 13), tensor("flags", (3,), 3, 100)], regions)
        assert request.inputs["words"].tolist() == [b"hello", b""]
        assert request.inputs["flags"].tolist() == [False, True, True]
        put(memory, 0, struct.pack("<I", 1 << 31))
        with pytest.raises(BadInput, match="ends inside element 0"):
            decode([tensor("words", (2,), 13)], regions)
        put(memory, 100, b"\x02")
        with pytest.raises(BadInput, match="a byte other than 0 and 1"):
            decode([tensor("flags", (3,), 3, 100)], regions)

    def test_inputs_in_memory_in_json_and_in_the_body_mix(self, memory: Path, regions: RequestRegions) -> None:
        put(memory, 0, ROWS.tobytes())
        words = {"name": "words", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}}
        flags = {"name": "flags", "shape": [1], "datatype": "BOOL", "data": [True]}
        head = orjson.dumps({"inputs": [words, tensor(), flags]})
        request, _ = codec.decode(head + serialized(b"hi"), len(head), SPECS, regions)
        np.testing.assert_array_equal(request.inputs["x"], ROWS)
        assert (request.inputs["words"].tolist(), request.inputs["flags"].tolist()) == ([b"hi"], [True])

    def test_two_inputs_may_share_their_bytes(self, memory: Path, regions: RequestRegions) -> None:
        put(memory, 0, b"\x01" * 32)
        request, _ = decode([tensor(), tensor("flags", (32,), 32)], regions)
        assert request.inputs["flags"].all()
        assert request.inputs["x"].tobytes() == b"\x01" * 32

    @pytest.mark.parametrize("shape", [(1, 4), (3, 4)])
    def test_the_size_must_be_that_of_the_shape(self, regions: RequestRegions, shape: tuple[int, ...]) -> None:
        with pytest.raises(BadInput, match="has 32 bytes of binary data, its shape asks for"):
            decode([tensor(shape=shape)], regions)

    @pytest.mark.parametrize("more", [{"data": [0.0] * 8}, {"parameters": parameters(32) | {"binary_data_size": 32}}])
    def test_there_is_one_place_for_the_data(self, regions: RequestRegions, more: dict[str, Any]) -> None:
        with pytest.raises(BadInput, match="must have either"):
            decode([tensor() | more], regions)

    def test_a_transport_without_regions_refuses(self) -> None:
        with pytest.raises(BadInput, match="input 'x' lies in shared memory, which is not supported here"):
            decode([tensor()], None)
        output = {"name": "y", "parameters": parameters(8)}
        x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}
        with pytest.raises(BadInput, match="output 'y' lies in shared memory, which is not supported here"):
            decode([x], None, [output])


class TestParameters:
    def test_the_offset_may_be_left_out(self) -> None:
        given = {"shared_memory_region": "r", "shared_memory_byte_size": 5}
        assert span_of(given, "input", "x") == Span("r", 0, 5)
        assert span_of({"binary_data_size": 5}, "input", "x") is None

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"shared_memory_region": "r"}, "without 'shared_memory_byte_size'"),
            ({"shared_memory_byte_size": 5}, "without 'shared_memory_region'"),
            ({"shared_memory_offset": 5}, "without 'shared_memory_region'"),
            (parameters(5, region=7), "expected a region's name"),
            *[
                (parameters(wrong), "'shared_memory_byte_size' of input 'x' must be")
                for wrong in (-1, 1.5, "5", 1 << 63)
            ],
            *[
                (parameters(5, wrong), "'shared_memory_offset' of input 'x' must be")
                for wrong in (-1, True, None, 1 << 64)
            ],
        ],
    )
    def test_the_others_are_checked(self, given: dict[str, Any], words: str) -> None:
        with pytest.raises(BadInput, match=words):
            span_of(given, "input", "x")


class TestOutputs:
    def answer(
        self, regions: RequestRegions, outputs: list[dict[str, Any]], **arrays: Any
    ) -> tuple[Any, codec.Encoded]:
        x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}
        _, form = decode([x], regions, outputs)
        encoded = codec.encode(InferResponse("m", "1", arrays), form)
        return orjson.loads(encoded.body[: encoded.header_length]), encoded

    def test_an_output_is_written_and_only_its_shape_told(self, memory: Path, regions: RequestRegions) -> None:
        wanted = {"name": "y", "parameters": parameters(100, 16)}
        told, encoded = self.answer(regions, [wanted], y=ROWS)
        assert memory.read_bytes() == bytes(80) + ROWS.tobytes() + bytes(144)
        assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [2, 4]}]
        assert (encoded.content_type, encoded.header_length) == (codec.JSON, None)

    def test_what_json_cannot_carry_memory_can(self, memory: Path, regions: RequestRegions) -> None:
        nan, half = np.array([np.nan, np.inf], np.float32), np.array([1.5], np.float16)
        null = np.array([b"null"], dtype=np.object_)  # makes the encoder look for NaN in the outputs that are JSON
        wanted = [{"name": n, "parameters": parameters(8, at)} for n, at in (("nan", 0), ("half", 8))]
        self.answer(regions, [*wanted, {"name": "null"}], nan=nan, half=half, null=null)
        assert memory.read_bytes()[64:74] == nan.tobytes() + half.tobytes()

    def test_texts_are_written_with_their_lengths(self, memory: Path, regions: RequestRegions) -> None:
        words = np.array([b"hello", b"\xff"], dtype=np.object_)
        told, _ = self.answer(regions, [{"name": "y", "parameters": parameters(192)}], y=words)
        assert memory.read_bytes()[64:78] == serialized(b"hello", b"\xff")
        assert told["outputs"] == [{"name": "y", "datatype": "BYTES", "shape": [2]}]

    def test_outputs_in_memory_in_json_and_in_the_body_mix(self, memory: Path, regions: RequestRegions) -> None:
        wanted = [
            {"name": "a", "parameters": parameters(32)},
            {"name": "b", "parameters": {"binary_data": True}},
            {"name": "c"},
        ]
        told, encoded = self.answer(regions, wanted, a=ROWS, b=ROWS[:1], c=ROWS[1:])
        assert encoded.body[encoded.header_length :] == ROWS[:1].tobytes()
        assert told["outputs"][2]["data"] == ROWS[1].tolist()
        assert memory.read_bytes()[64:96] == ROWS.tobytes()

    def test_an_output_larger_than_its_span_is_refused_and_nothing_is_written(
        self, memory: Path, regions: RequestRegions
    ) -> None:
        with pytest.raises(BadInput, match="output 'y' has 32 bytes, more than the 31"):
            self.answer(regions, [{"name": "y", "parameters": parameters(31)}], y=ROWS)
        assert memory.read_bytes() == bytes(256)

    @pytest.mark.parametrize("given", [parameters(193), parameters(1, 192), parameters(8, region="none")])
    def test_a_span_that_is_not_there_is_refused_before_anything_runs(
        self, regions: RequestRegions, given: dict[str, Any]
    ) -> None:
        x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}
        with pytest.raises(BadInput, match="shared memory region"):
            decode([x], regions, [{"name": "y", "parameters": given}])
