"""Thousands of calls at once: those of others are answered, or refused as what they are, and never as cancelled."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from contextlib import ExitStack

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.process import ServerProcess

CONNECTIONS, CALLS_EACH = 4, 1000  # below the server's limit of calls; gRPC's own of waiting calls is 3000
MINE = 300
_DATA, _HEADERS, _SETTINGS, _END_STREAM, _END_HEADERS = 0, 1, 4, 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def plain(name: str, value: str) -> bytes:
    """A header as HPACK's literal without indexing."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def test_a_flood_of_calls_cancels_no_call_of_another_client(server: ServerProcess) -> None:
    host, port = server.grpc.rsplit(":", 1)
    path = "/inference.GRPCInferenceService/ServerLive"
    pairs = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "content-type": "application/grpc"}
    opening = b"".join(plain(name, value) for name, value in {**pairs, "te": "trailers"}.items())
    streams = [2 * at + 1 for at in range(CALLS_EACH)]
    empty = b"\0" * 5  # of a message: not compressed, no bytes
    calls = b"".join(
        frame(_HEADERS, _END_HEADERS, at, opening) + frame(_DATA, _END_STREAM, at, empty) for at in streams
    )
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(_SETTINGS, 0, 0)
    with ExitStack() as open_ones, grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(service_pb2.ServerLiveRequest()).live
        for _ in range(CONNECTIONS):
            sent = open_ones.enter_context(socket.create_connection((host, int(port))))
            sent.sendall(preface + calls)
        mine = [stub.ServerLive.future(service_pb2.ServerLiveRequest(), timeout=60) for _ in range(MINE)]
        codes = Counter(call.code().name for call in mine)
    assert codes == {"OK": MINE}, codes
