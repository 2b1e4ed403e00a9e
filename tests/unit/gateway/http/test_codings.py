"""A body that is coded for its transfer in any way but chunks is refused unread, by the status that RFC 9112 names."""

from __future__ import annotations

import gzip

import pytest

from service.gateway.http.codings import is_coded
from tests.unit.gateway.http.hostile import HEAD, SHORT, Service, status_of

BODY = gzip.compress(b"ab", mtime=0)
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def post(*codings: bytes) -> bytes:
    fields = b"".join(b"Transfer-Encoding: %b\r\n" % coding for coding in codings)
    return b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n" + CHUNKS


@pytest.mark.parametrize(
    ("value", "coded"),
    [
        (b"chunked", False),
        (b" Chunked\t", False),
        (b"gzip, chunked", True),
        (b"gzip,chunked", True),
        (b"chunked, chunked", True),
        (b"identity", True),
        (b"", True),
    ],
)
def test_what_is_coded(value: bytes, coded: bool) -> None:
    assert is_coded([(b"host", b"gzip"), (b"transfer-encoding", value)]) is coded
    assert not is_coded([(b"content-encoding", value)])


@pytest.mark.parametrize("codings", [(b"gzip, chunked",), (b"deflate,chunked",), (b"gzip", b"chunked")])
async def test_it_is_refused_unread(codings: tuple[bytes, ...]) -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(post(*codings))
        assert status_of(await client.closed()) == 501
        assert service.seen == []


async def test_behind_another_request_it_is_no_request() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(HEAD % 2 + b"ab" + post(b"gzip, chunked"))
        assert await client.answer() == (200, b"ab")
        assert status_of(await client.closed()) in (0, 501)
        assert len(service.seen) == 1


async def test_control_chunks_alone_are_read() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(post(b"Chunked"))
        assert await client.answer() == (200, BODY)
