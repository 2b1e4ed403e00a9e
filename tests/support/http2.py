"""HTTP/2 by hand, to send what no client of gRPC would: frames, the opening of a call, and what came of each call."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
INFER = b"/inference.GRPCInferenceService/ModelInfer"
_FRAME_HEAD_BYTES = 9


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", length: int | None = None) -> bytes:
    """A frame, which may lie about its length."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header as HPACK's literal without indexing, of fewer than 127 bytes each."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def opening(path: bytes = INFER, **more: bytes) -> bytes:
    """The headers of a call."""
    named: Mapping[bytes, bytes] = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"x",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    return b"".join(literal(name, value) for name, value in named.items())


SETTLED = PREFACE + frame(SETTINGS)
ACKNOWLEDGED = frame(SETTINGS, 1)


def streams(count: int) -> Sequence[int]:
    """The numbers of a client's first calls."""
    return range(1, 2 * count, 2)


def half_sent(count: int, path: bytes = INFER) -> bytes:
    """So many calls, each with half of its message."""
    half = b"\0" + struct.pack(">I", 20) + bytes(10)
    return b"".join(frame(HEADERS, END_HEADERS, at, opening(path)) + frame(DATA, 0, at, half) for at in streams(count))


def whole(count: int, path: bytes, message: bytes = b"") -> bytes:
    """So many calls with this message."""
    sent = b"\0" + struct.pack(">I", len(message)) + message
    return b"".join(
        frame(HEADERS, END_HEADERS, at, opening(path)) + frame(DATA, END_STREAM, at, sent) for at in streams(count)
    )


class Calls:
    """What a server says of the calls of one connection.

    Attributes:
        ended: those that it ended.
    """

    def __init__(self) -> None:
        self.ended: set[int] = set()
        self._left = b""

    def read(self, octets: bytes) -> None:
        """Takes what came."""
        self._left += octets
        while len(self._left) >= _FRAME_HEAD_BYTES:
            size = int.from_bytes(self._left[:3], "big")
            if len(self._left) < _FRAME_HEAD_BYTES + size:
                return
            kind, flags, stream = self._left[3], self._left[4], int.from_bytes(self._left[5:9], "big")
            if kind == RESET or (kind == HEADERS and flags & END_STREAM):
                self.ended.add(stream)
            self._left = self._left[_FRAME_HEAD_BYTES + size :]
