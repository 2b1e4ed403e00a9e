"""What is sent to the gRPC port and means no good: the server lives, and a good call is answered after each."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH,
    RESET,
    SETTINGS,
    SETTLED,
    WINDOW,
    frame,
    literal,
    opening,
)
from tests.support.process import ServerProcess
from tests.wire.digits import INPUT, ROWS, is_answer_of

REFUSED_BYTES = 1_000_000
LEAKS = ("Traceback", "Error:", "site-packages", "service.", ".py", "/tmp", "/work", "object at 0x")


CALL = frame(HEADERS, END_HEADERS, 1, opening())

CORPUS: dict[str, bytes] = {
    "nothing": b"",
    "http/1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "random": random.Random(1).randbytes(10_000),
    "random after the preface": SETTLED + random.Random(2).randbytes(10_000),
    "half a preface": PREFACE[:10],
    "preface twice": PREFACE + PREFACE,
    "no settings": PREFACE + CALL,
    "settings of a wrong length": PREFACE + frame(SETTINGS, payload=bytes(5)),
    "settings out of range": PREFACE + frame(SETTINGS, payload=struct.pack(">HI", 4, 2**32 - 1)),
    "settings without end": SETTLED + frame(SETTINGS, payload=struct.pack(">HI", 3, 5)) * 20_000,
    "acknowledgements": SETTLED + frame(SETTINGS, 1) * 20_000,
    "pings": SETTLED + frame(PING, payload=bytes(8)) * 50_000,
    "frame too large": SETTLED + frame(DATA, 0, 1, b"", length=2**24 - 1) + bytes(1 << 20),
    "unknown frames": SETTLED + frame(200, 0, 0, bytes(100)) * 5000,
    "data without a call": SETTLED + frame(DATA, 0, 1, bytes(100)),
    "an even stream": SETTLED + frame(HEADERS, END_HEADERS, 2, opening()),
    "stream 0": SETTLED + frame(HEADERS, END_HEADERS, 0, opening()),
    "a push": SETTLED + frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2) + opening()),
    "continuation alone": SETTLED + frame(CONTINUATION, 0, 1, opening()),
    "continuation without end": SETTLED
    + frame(HEADERS, 0, 1, opening())
    + frame(CONTINUATION, 0, 1, literal(b"a", b"b" * 100) * 100) * 500,
    "bad compression of headers": SETTLED + frame(HEADERS, END_HEADERS, 1, b"\xff" * 100),
    "a header bomb": SETTLED
    + frame(HEADERS, END_HEADERS, 1, opening() + b"\x40\x01a\x7f\x81\x1f" + b"b" * 4096 + b"\xbe" * 8000),
    "headers without a path": SETTLED + frame(HEADERS, END_HEADERS, 1, literal(b":method", b"POST")),
    "an unknown path": SETTLED + frame(HEADERS, END_HEADERS | END_STREAM, 1, opening(b"/../../etc/passwd")),
    "a call half sent": SETTLED + CALL + frame(DATA, 0, 1, b"\0" + struct.pack(">I", 1000) + bytes(10)),
    "a call without a message": SETTLED + frame(HEADERS, END_HEADERS | END_STREAM, 1, opening()),
    "a call of two messages": SETTLED + CALL + frame(DATA, END_STREAM, 1, bytes(10)),
    "a message longer than any": SETTLED + CALL + frame(DATA, 0, 1, b"\0" + struct.pack(">I", 2**32 - 1) + bytes(10)),
    "a compressed message that is none": SETTLED
    + CALL
    + frame(DATA, END_STREAM, 1, b"\1" + struct.pack(">I", 4) + b"none"),
    "a flag that is none": SETTLED + CALL + frame(DATA, END_STREAM, 1, b"\7" + struct.pack(">I", 4) + b"none"),
    "window updates": SETTLED + CALL + frame(WINDOW, 0, 1, struct.pack(">I", 2**31 - 1)) * 5000,
    "window update of nothing": SETTLED + CALL + frame(WINDOW, 0, 1, bytes(4)),
    "a stream that depends on itself": SETTLED + frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 1)),
    "goodbye": SETTLED + frame(GOAWAY, 0, 0, bytes(8)) * 100,
    "opened and reset": SETTLED
    + b"".join(
        frame(HEADERS, END_HEADERS, stream, opening()) + frame(RESET, 0, stream, struct.pack(">I", 8))
        for stream in range(1, 20_001, 2)
    ),
    "padding longer than its frame": SETTLED + frame(HEADERS, END_HEADERS | 8, 1, b"\xff" + opening()),
}


@pytest.fixture(scope="module")
def stub(server: ServerProcess) -> Iterator[Any]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", 1 << 24)]
    with grpc.insecure_channel(server.grpc, options=options) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.fixture(autouse=True)
def _a_good_call_is_answered_afterwards(server: ServerProcess, stub: Any) -> Iterator[None]:
    yield
    answer = stub.ModelInfer(good(), timeout=30)
    assert is_answer_of("1", np.frombuffer(answer.raw_output_contents[0], np.float32), 1)
    assert server.process.poll() is None


def good() -> Any:
    request = service_pb2.ModelInferRequest(model_name="digits", model_version="1")
    request.inputs.add(name=INPUT, datatype="FP32", shape=[1, 1, 8, 8])
    request.raw_input_contents.append(ROWS[:1].astype(np.float32).tobytes())
    return request


@pytest.mark.parametrize("octets", CORPUS.values(), ids=CORPUS.keys())
def test_hostile_bytes_end_no_more_than_their_own_connection(server: ServerProcess, octets: bytes) -> None:
    before = len(server.log())
    with socket.create_connection(("127.0.0.1", int(server.grpc.rsplit(":", 1)[1])), timeout=0.3) as connection:
        try:
            connection.sendall(octets)
            while connection.recv(65536):
                pass
        except (TimeoutError, ConnectionError):
            pass
    assert "Traceback" not in server.log()[before:]


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 30


def code_of(call: Any) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    details = refused.value.details()
    assert len(details) <= 4096
    assert [leak for leak in LEAKS if leak in details] == [], details
    return str(refused.value.code().name)


def test_metadata_without_measure_is_refused(stub: Any) -> None:
    for metadata in ([("a", "b" * 100_000)], [(f"a{number}", "b" * 100) for number in range(1000)]):
        assert (
            code_of(lambda given=metadata: stub.ModelInfer(good(), metadata=given, timeout=30)) == "RESOURCE_EXHAUSTED"
        )
    assert stub.ServerLive(service_pb2.ServerLiveRequest(), metadata=[("a", "b" * 8000)], timeout=30).live


def test_a_message_over_the_limit_is_refused(stub: Any) -> None:
    request = good()
    request.raw_input_contents[0] = bytes(2_000_000)
    assert code_of(lambda: stub.ModelInfer(request, timeout=30)) == "RESOURCE_EXHAUSTED"
    request.raw_input_contents[0] = bytes(1_000_000)
    assert code_of(lambda: stub.ModelInfer(request, timeout=30)) == "INVALID_ARGUMENT"


def test_nothing_is_kept_of_a_message_that_was_refused(server: ServerProcess, stub: Any) -> None:
    """What gRPC aborts a call with stays in a cycle with the call until the collector comes, which is seldom."""
    request = good()
    request.raw_input_contents[0] = bytes(REFUSED_BYTES)

    def refuse(times: int) -> int:
        for _ in range(times):
            assert code_of(lambda: stub.ModelInfer(request, timeout=30)) == "INVALID_ARGUMENT"
        return server.resident_bytes()

    before = refuse(10)
    assert refuse(100) - before < 40 * REFUSED_BYTES


TEXTS = ["", "..", "/etc/passwd", "x" * 300_000, "\0", "\r\n{}", "%s%n", "ü" * 1000, "\x1b[2J"]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_hostile_names_are_refused_in_few_words(stub: Any, text: str) -> None:
    for change in ("model_name", "model_version", "input", "datatype", "output", "parameter"):
        request = good()
        if change == "input":
            request.inputs[0].name = text
        elif change == "datatype":
            request.inputs[0].datatype = text
        elif change == "output":
            request.outputs.add(name=text)
        elif change == "parameter":
            request.parameters[f"triton_{text}"].string_param = text
        else:
            setattr(request, change, text)
        if (change, text) != ("model_version", ""):
            assert code_of(lambda sent=request: stub.ModelInfer(sent, timeout=30)) in ("INVALID_ARGUMENT", "NOT_FOUND")


@pytest.mark.parametrize("shape", [[-1, 1, 8, 8], [2**62, 2**62, 4], [0, 1, 8, 8], [1] * 5000, [], [1, 1, 8, 9]])
def test_hostile_shapes_are_refused(stub: Any, shape: list[int]) -> None:
    request = good()
    del request.inputs[0].shape[:]
    request.inputs[0].shape.extend(shape)
    assert code_of(lambda: stub.ModelInfer(request, timeout=30)) == "INVALID_ARGUMENT"


def test_bytes_of_any_kind_are_no_message(server: ServerProcess) -> None:
    methods = ("ModelInfer", "ModelConfig", "RepositoryModelLoad", "TraceSetting", "LogSettings")
    with grpc.insecure_channel(server.grpc) as channel:
        for method in methods:
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            for octets in (b"\xff" * 50, os.urandom(100), b"\x0a\xff\xff\xff\xff\x0f"):
                with pytest.raises(grpc.RpcError) as refused:
                    call(octets, timeout=30)
                assert refused.value.code().name in ("INVALID_ARGUMENT", "NOT_FOUND")


def test_each_line_of_the_log_is_one_object(server: ServerProcess) -> None:
    """Whatever was sent, the library below included: it writes lines of its own where it is not told otherwise."""
    lines = server.log_file.read_bytes().decode().split("\n")[:-1]
    assert lines
    for line in lines:
        assert line.isprintable(), line
        assert "event" in json.loads(line), line
