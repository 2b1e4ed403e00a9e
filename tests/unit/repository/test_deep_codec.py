"""The container: files put together by hand are read, and damaged, cut off or lying ones are one clear sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.errors import BadModel
from service.repository.deep_codec import decode
from tests.unit.repository.deep_parts import MAGIC, Parts, deflate, number, one_block, section, takes_at_most
from tests.unit.repository.test_deep_blocks import DENSE, DENSE_VALUES, SPARSE, SPARSE_VALUES

LIMIT = 1 << 20
TWO = Parts(
    b"a" + DENSE_VALUES.tobytes() + b"bc" + SPARSE_VALUES.tobytes() + b"d" * 50,
    b"abc" + b"d" * 50,
    [(1, 20), (2, 56)],
    [DENSE, SPARSE],
)


def refusal(data: bytes, limit_bytes: int = LIMIT) -> str:
    with pytest.raises(BadModel) as caught:
        decode(data, limit_bytes=limit_bytes)
    sentence = str(caught.value)
    assert sentence.startswith("model.deep ") and sentence.endswith(".") and sentence.count(". ") == 0
    return sentence


def test_a_skeleton_alone() -> None:
    assert decode(Parts(b"whole", b"whole").file(), limit_bytes=5) == b"whole"
    assert decode(Parts(b"", b"").file(), limit_bytes=0) == b""


@pytest.mark.parametrize("before", [b"", b"before"])
@pytest.mark.parametrize("after", [b"", b"after"])
def test_a_block_between(before: bytes, after: bytes) -> None:
    parts = one_block(DENSE, DENSE_VALUES.tobytes(), before=before, after=after)
    assert decode(parts.file(), limit_bytes=LIMIT) == parts.decoded


def test_several_blocks() -> None:
    assert decode(TWO.file(), limit_bytes=LIMIT) == TWO.decoded


def test_no_more_than_the_limit() -> None:
    size_bytes = len(TWO.decoded)
    assert len(decode(TWO.file(), limit_bytes=size_bytes)) == size_bytes
    assert refusal(TWO.file(), size_bytes - 1) == "model.deep decodes to 129 bytes, more than the limit of 128."


# Damage


def test_every_bit_counts() -> None:
    whole = TWO.file()
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            refusal(bytes(damaged))


def test_every_byte_counts() -> None:
    whole = TWO.file()
    for place in range(len(whole)):
        assert refusal(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        refusal(whole[:place] + whole[place + 1 :])  # one lost
        refusal(whole[:place] + b"\0" + whole[place:])  # one too many


def test_every_end_that_is_too_early() -> None:
    whole = TWO.file()
    for length in range(len(whole)):
        refusal(whole[:length])
    assert "more behind its end" in refusal(whole + b"\0")


@given(st.binary(max_size=300), st.booleans())
@settings(deadline=None)
def test_any_other_bytes(data: bytes, begins_right: bool) -> None:
    refusal(MAGIC + data if begins_right else data)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
@settings(deadline=None)
def test_any_sections_with_right_checksums(head: bytes, skeleton: bytes, block: bytes) -> None:
    refusal(MAGIC + section(head) + section(skeleton) + section(block))


@given(st.binary(max_size=80), st.integers(0, 4_000))
@settings(deadline=None, max_examples=300)
def test_any_block_with_a_right_checksum_gives_what_was_coded_or_nothing(payload: bytes, size_bytes: int) -> None:
    parts = one_block(payload, bytes(size_bytes))
    try:
        assert decode(parts.file(), limit_bytes=LIMIT) == parts.decoded
    except BadModel as error:
        assert str(error).startswith("model.deep is not a coded model or is damaged: ")


# Lies under right checksums

ELEMENTS = SPARSE_VALUES.tobytes()
LIES = {
    "another file": (Parts(b"whole", b"whole", sha256=bytes(32)), "another SHA-256"),
    "a hash of other bytes": (one_block(SPARSE, ELEMENTS[::-1]), "another SHA-256"),
    "size": (Parts(b"whole", b"whole", decoded_bytes=6), "another size than the whole"),
    "skeleton": (Parts(b"whole", b"whole", skeleton_bytes=6, decoded_bytes=6), "another length"),
    "huge skeleton": (Parts(b"", b"", skeleton_bytes=1 << 19, decoded_bytes=1 << 19), "cannot come from"),
    "huge block": (Parts(b"", b"", [(0, 1 << 19)], [b""], decoded_bytes=1 << 19), "524288 bytes cannot come from 0"),
    "a large block of one gap": (one_block(SPARSE, bytes(300_000)), "block 1: its gaps lead to another number"),
    "block behind the end": (Parts(ELEMENTS, b"", [(5, 56)], [SPARSE]), "a block lies behind the end"),
    "blocks": (Parts(b"", b"", count=1 << 30), "too short for 1073741824 blocks"),
    "a few blocks": (Parts(b"", b"", count=3), "its head ends|it ends too early"),
    "more head": (Parts(b"", b"", [(0, 0)], count=0), "its head is too long"),
    "fewer blocks than sections": (Parts(b"x", b"x", payloads=[b""]), "more behind its end"),
    "fewer sections than blocks": (Parts(b"x", b"x", [(0, 0)]), "ends too early"),
    "a broken block": (Parts(b"x", b"x", [(0, 0)], [b"\x07"]), "block 1: there is no form 7"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused_and_take_no_memory(lie: str) -> None:
    parts, said = LIES[lie]
    data = parts.file()
    with takes_at_most(200_000 + len(data)), pytest.raises(BadModel, match=said):
        decode(data, limit_bytes=LIMIT)


def test_a_size_that_nothing_holds_takes_no_memory_whatever_the_limit() -> None:
    lies = [
        Parts(b"", b"", decoded_bytes=1 << 34, skeleton_bytes=1 << 34),
        Parts(b"", b"", [(0, 1 << 34)], [DENSE], decoded_bytes=1 << 34),
        Parts(b"", b"", [(0, 400_000)] * 1_000, [SPARSE] * 1_000, decoded_bytes=400_000_000),
    ]
    for parts in lies:
        data = parts.file()
        with takes_at_most(1_000_000):
            refusal(data, 1 << 35)


def test_what_inflates_beyond_its_promise_is_stopped_there() -> None:
    bomb = MAGIC + section(number(10) + bytes(32) + number(10) + number(0)) + section(deflate(bytes(50_000_000)))
    with takes_at_most(1_000_000):
        assert "another length" in refusal(bomb)


@pytest.mark.slow
def test_damage_at_random_is_always_seen() -> None:
    whole = TWO.file()
    random = np.random.default_rng(0)
    for _ in range(50_000):
        damaged = bytearray(whole)
        for place in random.integers(len(whole), size=random.integers(1, 6)):
            damaged[place] = random.integers(256)
        if bytes(damaged) != whole:
            refusal(bytes(damaged))
