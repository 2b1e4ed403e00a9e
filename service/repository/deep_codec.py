"""Decodes model.deep, the coded form of an ONNX file, to exactly the bytes that were coded, or refuses it.

Every part carries a CRC-32, the whole a SHA-256, and no size is believed before what is there can hold it. The ONNX
bytes without the coded tensors (the skeleton) lie deflated in front; each block fills one gap in them. That the result
is a model at all is for `onnx_file` to say: the form holds any bytes. `docs/howto/deep-file.md` describes it.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

from service.core.errors import BadModel
from service.repository.deep_blocks import Damaged, Reading, decode_block, inflate

MAGIC = b"\x89DEEP1\r\n"  # not text, and broken by whoever changes line ends
CRC_BYTES = 4
SHA256_BYTES = 32
_LEAST_DIRECTORY_BYTES = 2
# Deflate gives at most 1,032 bytes for one; a block's eight-bit gaps 255 elements of eight bytes for one bit.
_MOST_INFLATED = 1_032
_MOST_DECODED = 8 * 255 * 8


@dataclass(frozen=True, slots=True)
class _Head:
    """What the first section says.

    Attributes:
        sha256: of the decoded file.
        skeleton_bytes: of the decoded file without its blocks.
        blocks: for each: bytes of the skeleton between the block before and this one, and the block's own bytes.
    """

    sha256: bytes
    skeleton_bytes: int
    blocks: tuple[tuple[int, int], ...]


def decode(data: bytes, *, limit_bytes: int) -> bytes:
    """The ONNX file that was coded.

    Args:
        data: the whole of model.deep.
        limit_bytes: the most that it may decode to.

    Raises:
        BadModel: it is no such file, is damaged or cut off, or decodes to more than `limit_bytes`.
    """
    try:
        return _decode(data, limit_bytes)
    except Damaged as error:
        raise _refusal(error) from None


def declared_bytes(data: bytes, *, limit_bytes: int) -> int:
    """How much a file says that it decodes to, which nothing but its head is read for. Raises BadModel, as `decode`."""
    try:
        head = _begin(Reading(data), limit_bytes)
    except Damaged as error:
        raise _refusal(error) from None
    return head.skeleton_bytes + sum(size_bytes for _, size_bytes in head.blocks)


def _refusal(error: Damaged) -> BadModel:
    return BadModel(f"model.deep is not a coded model or is damaged: {error}.")


def _begin(reading: Reading, limit_bytes: int) -> _Head:
    if reading.take(len(MAGIC)) != MAGIC:
        raise Damaged("it begins otherwise")
    return _head(Reading(_section(reading, "head")), limit_bytes)


def _decode(data: bytes, limit_bytes: int) -> bytes:
    reading = Reading(data)
    head = _begin(reading, limit_bytes)
    coded = _section(reading, "skeleton")
    _check_holds(head.skeleton_bytes, len(coded), _MOST_INFLATED)
    payloads = [_section(reading, f"block {place}") for place in range(1, len(head.blocks) + 1)]
    if reading.rest():
        raise Damaged("there is more behind its end")
    for (_, size_bytes), payload in zip(head.blocks, payloads, strict=True):
        _check_holds(size_bytes, len(payload), _MOST_DECODED)
    whole = _filled(inflate(coded, head.skeleton_bytes), head, payloads)
    if hashlib.sha256(whole).digest() != head.sha256:
        raise Damaged("what it decodes to has another SHA-256")
    return whole


def _section(reading: Reading, name: str) -> bytes:
    """A length, a CRC-32, both of four bytes, little-endian, and so many bytes."""
    length = int.from_bytes(reading.take(4), "little")
    checksum = int.from_bytes(reading.take(CRC_BYTES), "little")
    payload = reading.take(length)
    if zlib.crc32(payload) != checksum:
        raise Damaged(f"its {name} has another CRC-32")
    return payload


def _head(reading: Reading, limit_bytes: int) -> _Head:
    decoded_bytes = reading.number()
    if decoded_bytes > limit_bytes:
        raise BadModel(f"model.deep decodes to {decoded_bytes} bytes, more than the limit of {limit_bytes}.")
    sha256 = reading.take(SHA256_BYTES)
    skeleton_bytes, count = reading.number(), reading.number()
    if count > len(reading.data) // _LEAST_DIRECTORY_BYTES:
        raise Damaged(f"its head is too short for {count} blocks")
    blocks = tuple((reading.number(), reading.number()) for _ in range(count))
    if reading.rest():
        raise Damaged("its head is too long")
    if sum(before for before, _ in blocks) > skeleton_bytes:
        raise Damaged("a block lies behind the end")
    if skeleton_bytes + sum(size_bytes for _, size_bytes in blocks) != decoded_bytes:
        raise Damaged("its parts give another size than the whole")
    return _Head(sha256, skeleton_bytes, blocks)


def _check_holds(size_bytes: int, coded_bytes: int, most: int) -> None:
    if size_bytes > coded_bytes * most:
        raise Damaged(f"{size_bytes} bytes cannot come from {coded_bytes}")


def _filled(skeleton: bytes, head: _Head, payloads: list[bytes]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for place, ((before, size_bytes), payload) in enumerate(zip(head.blocks, payloads, strict=True), 1):
        pieces.append(skeleton[at : at + before])
        at += before
        try:
            pieces.append(decode_block(payload, size_bytes))
        except Damaged as error:
            raise Damaged(f"block {place}: {error}") from None
    pieces.append(skeleton[at:])
    return b"".join(pieces)
