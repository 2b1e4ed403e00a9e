"""gzip and deflate, both ways: request bodies are decoded within the body limit, answers encoded when a client asks.

What takes long enough to hold up other requests is done in a thread. The limit holds for the decoded bytes, counted
as they come out, so that a small body cannot become a large one; whoever shares memory out is told of each piece.
Sources: RFC 9110 sections 8.4 and 12.5.3; RFC 1950, 1951 and 1952.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import partial

from service.core.errors import BadInput, TooLarge, Unavailable
from service.gateway.joining import Blob
from service.serving.threads import in_thread

CODINGS = ("gzip", "deflate")
LEAST_BYTES = 1024  # below, an answer fits into one packet anyway
INLINE_BYTES = 64 << 10  # of input: about 1 ms to encode
INLINE_DECODED_BYTES = 256 << 10  # of output: as long to decode
_LEVEL = 1
_CHUNK_BYTES = 1 << 20
_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's `wbits` of each format
_HEADER_LIMIT = 1024


async def decoded(
    body: bytes,
    headers: Mapping[bytes, bytes],
    limit_bytes: int,
    take: Callable[[int], None] = lambda _: None,
) -> bytes:
    """The body as it was before its `Content-Encoding`.

    Args:
        body: as it arrived.
        headers: by lower-case name.
        limit_bytes: the largest body once decoded.
        take: told of the bytes of each piece before the next one is decoded; what it raises ends the decoding.

    Raises:
        BadInput: another coding than gzip and deflate, or bytes that are not of it.
        TooLarge: more than `limit_bytes`.
    """
    coding = headers.get(b"content-encoding", b"").strip().lower()
    if coding in (b"", b"identity"):
        return body
    name = coding[:_HEADER_LIMIT].decode("latin-1")
    if name not in CODINGS:
        raise BadInput("the request's Content-Encoding is not known, expected gzip, deflate or none")
    inflating, pieces, size_bytes = _Inflating(body, name), [], 0
    while not inflating.ended:
        quick_bytes = INLINE_DECODED_BYTES + 1 - size_bytes
        most_bytes = min(limit_bytes + 1 - size_bytes, quick_bytes if quick_bytes > 0 else _CHUNK_BYTES)
        piece = partial(inflating.piece, most_bytes)
        pieces.append(piece() if quick_bytes > 0 else await in_thread("decode a body", piece))
        size_bytes += len(pieces[-1])
        if size_bytes > limit_bytes:
            raise TooLarge(f"the body is larger than the limit of {limit_bytes} bytes once decoded")
        take(len(pieces[-1]))
    return b"".join(pieces)


async def encoded(body: Blob, accepted: bytes) -> tuple[Blob, str]:
    """The body in a coding that `Accept-Encoding` takes, and which; as it is, and "", where it would not shrink."""
    coding = chosen(accepted) if accepted and len(body) >= LEAST_BYTES else ""
    if not coding:
        return body, ""
    if len(body) <= INLINE_BYTES:
        smaller = _encode(body, coding)
    else:
        try:
            smaller = await in_thread("encode an answer", lambda: _encode(body, coding))
        except Unavailable:  # there is no thread for it now, and the answer is there and counted as given
            return body, ""
    return (smaller, coding) if len(smaller) < len(body) else (body, "")


def chosen(accepted: bytes) -> str:
    """The coding to use by an `Accept-Encoding` header, "" for none; gzip wins a tie."""
    weights: dict[str, float] = {}
    for part in accepted[:_HEADER_LIMIT].decode("latin-1").lower().split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip()] = _weight(parameters)
    everything = weights.get("*", 0.0)
    best = max(CODINGS, key=lambda coding: weights.get(coding, everything))
    return best if weights.get(best, everything) > 0 else ""


def _weight(parameters: str) -> float:
    """The `q` of one accepted coding: 1 where there is none, 0 where it is no number."""
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _encode(body: Blob, coding: str) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP if coding == "gzip" else _ZLIB)
    return compressor.compress(body) + compressor.flush()


def _deflate_format(body: bytes) -> int:
    """What `deflate` stands for: the zlib format, or the bare one that some clients send; RFC 1950 section 2.2."""
    is_zlib = len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
    return _ZLIB if is_zlib else _RAW


class _Inflating:
    """A body on its way out of its coding, piece by piece; by one thread at a time."""

    def __init__(self, body: bytes, coding: str) -> None:
        self._coding = coding
        self._rest = body
        self._stream = zlib.decompressobj(_GZIP if coding == "gzip" else _deflate_format(body))

    @property
    def ended(self) -> bool:
        """Whether all of it is out."""
        return self._stream.eof

    def piece(self, most_bytes: int) -> bytes:
        """The next bytes, at most so many, which are more than none. Raises BadInput: it is not of its coding."""
        try:
            piece = self._stream.decompress(self._rest, most_bytes)
        except zlib.error:
            raise self._wrong() from None
        self._rest = self._stream.unconsumed_tail
        ends_early = not piece and not self._rest and not self._stream.eof
        if ends_early or self._stream.unused_data:
            raise self._wrong()
        return piece

    def _wrong(self) -> BadInput:
        return BadInput(f"the body is not {self._coding}, which the request's Content-Encoding says it is")
