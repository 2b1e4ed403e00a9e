"""model.deep files put together by hand, so that the decoder is tested without the encoder and against lies."""

from __future__ import annotations

import hashlib
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

MAGIC = b"\x89DEEP1\r\n"


def number(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F)
    return bytes([digit | 0x80 for digit in digits[:-1]] + digits[-1:])


def section(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "little") + zlib.crc32(payload).to_bytes(4, "little") + payload


def deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(9, wbits=-15)
    return stream.compress(data) + stream.flush()


def nibbles(lengths: Sequence[int]) -> bytes:
    even = [*lengths, 0][: len(lengths) + len(lengths) % 2]
    return bytes(high << 4 | low for high, low in zip(even[::2], even[1::2], strict=True))


def bits(text: str) -> bytes:
    """Bits as "0" and "1", filled with zeros to whole bytes; other characters do not count."""
    only = "".join(character for character in text if character in "01")
    return bytes(int(only[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(only), 8))


@dataclass(slots=True)
class Parts:
    """A whole file; what is not given is what the rest makes it."""

    decoded: bytes
    skeleton: bytes
    blocks: list[tuple[int, int]] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    decoded_bytes: int | None = None
    skeleton_bytes: int | None = None
    sha256: bytes | None = None
    count: int | None = None

    def file(self) -> bytes:
        declared = (
            number(len(self.decoded) if self.decoded_bytes is None else self.decoded_bytes)
            + (hashlib.sha256(self.decoded).digest() if self.sha256 is None else self.sha256)
            + number(len(self.skeleton) if self.skeleton_bytes is None else self.skeleton_bytes)
            + number(len(self.blocks) if self.count is None else self.count)
        )
        directory = b"".join(number(before) + number(size) for before, size in self.blocks)
        return MAGIC + b"".join(map(section, (declared + directory, deflate(self.skeleton), *self.payloads)))


@contextmanager
def takes_at_most(most_bytes: int) -> Iterator[None]:
    """Asserts how much memory the block takes at most; numpy's is counted too."""
    tracemalloc.start()
    try:
        yield
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < most_bytes


def one_block(payload: bytes, decoded: bytes, *, before: bytes = b"<", after: bytes = b">") -> Parts:
    """A file whose one block stands for `decoded`, between two pieces of skeleton."""
    return Parts(before + decoded + after, before + after, [(len(before), len(decoded))], [payload])
