"""Heads and framing that no two readers need understand alike (promise H3): refused, and the connection is closed."""

from __future__ import annotations

import socket

import pytest

from tests.support.process import ServerProcess
from tests.wire.digits import INFER

_LINE = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n".encode()
_CHUNKED = _LINE + b"Transfer-Encoding: chunked\r\n\r\n"
HEADS: dict[str, bytes] = {
    "folded": _LINE + b"X-A: a\r\n b\r\n\r\n",
    "nul": _LINE + b"X-A: a\0b\r\n\r\n",
    "bare cr": _LINE + b"X-A: a\rb\r\n\r\n",
    "bare lf": _LINE + b"X-A: a\nX-B: b\r\n\r\n",
    "space before the colon": _LINE + b"X-A : a\r\n\r\n",
    "no name": _LINE + b": a\r\n\r\n",
    "lf for crlf": _LINE.replace(b"\r\n", b"\n") + b"\n",
    "two lengths": _LINE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "list of lengths": _LINE + b"Content-Length: 2, 2\r\n\r\n{}",
    "length of 2^64": _LINE + b"Content-Length: 18446744073709551616\r\n\r\n{}",
    "length with a sign": _LINE + b"Content-Length: +2\r\n\r\n{}",
    "length in chunks too": _LINE + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks twice": _LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks after a tab": _LINE + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunk below 0": _CHUNKED + b"-1\r\n",
    "chunk ends in lf": _CHUNKED + b"2\n{}\n0\n\n",
    "lower case": _LINE.replace(b"POST", b"post") + b"\r\n",
    "version 1.2": _LINE.replace(b"1.1", b"1.2") + b"\r\n",
    "no slash": b"GET v2 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an authority": b"GET evil:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes in the path": b"GET /v2/models/d\xefgits HTTP/1.1\r\nHost: x\r\n\r\n",
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a proxy's line": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    "tls": bytes.fromhex("1603010200010001fc0303") + bytes(500),
}


@pytest.mark.parametrize("octets", HEADS.values(), ids=HEADS.keys())
def test_what_proxies_may_read_in_two_ways_is_refused(server: ServerProcess, octets: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(octets)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b'{"error":"the request is not valid HTTP/1.1"}')
