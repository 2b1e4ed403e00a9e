"""Every block that the encoder can write decodes to its elements, and the smallest is near what entropy allows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compress import deep_blocks
from service.repository.deep_blocks import Form, decode_block


def forms(elements: bytes, width_bytes: int) -> dict[int, bytes]:
    return {block[0]: block for block in deep_blocks.blocks(elements, width_bytes)}


@st.composite
def rows(draw: st.DrawFn) -> tuple[bytes, int]:
    """Elements of any width, with a drawn number of different values of which one takes a drawn share."""
    width_bytes = draw(st.sampled_from([1, 2, 4, 8]))
    count, distinct = draw(st.integers(1, 700)), draw(st.integers(1, 300))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    values = np.frombuffer(random.bytes(distinct * width_bytes), f"<u{width_bytes}")
    chosen = random.integers(distinct, size=count)
    chosen[random.random(count) < draw(st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))] = 0
    return values[chosen].tobytes(), width_bytes


@given(rows())
@settings(deadline=None, max_examples=150)
def test_every_form_holds_the_elements(row: tuple[bytes, int]) -> None:
    elements, width_bytes = row
    written = forms(elements, width_bytes)
    assert Form.DEFLATED in written
    for block in written.values():
        assert decode_block(block, len(elements)) == elements
    assert deep_blocks.smallest_block(elements, width_bytes) == min(written.values(), key=len)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_gaps_are_counted_as_they_are_defined(bits: int) -> None:
    indices = (np.random.default_rng(bits).random(2_000) < 0.03).astype(int)
    limit, said, run = (1 << bits) - 1, [], 0
    for index in indices:
        run += not index
        if index:
            said.append(run)
            run = 0
        elif run == limit:
            said.append(limit)
            run = 0
    assert deep_blocks.gap_symbols(indices, bits).tolist() == said


def test_a_row_of_one_value_is_deflated() -> None:
    assert set(forms(bytes(1_000), 4)) == {Form.DEFLATED}


def test_too_many_values_are_deflated() -> None:
    assert set(forms(np.random.default_rng(0).normal(size=10_000).astype("<f4").tobytes(), 4)) == {Form.DEFLATED}


def test_the_commonest_value_need_not_be_zero() -> None:
    elements = np.full(5_000, 128, np.uint8)
    elements[np.random.default_rng(0).random(5_000) < 0.02] = 7
    block = deep_blocks.smallest_block(elements.tobytes(), 1)
    assert block[0] == Form.SPARSE
    assert decode_block(block, 5_000) == elements.tobytes()


def test_nan_and_minus_zero_keep_their_bits() -> None:
    patterns = np.array([0x80000000, 0x7FC00001, 0xFFC00002, 0] * 300, "<u4")
    blocks = list(deep_blocks.blocks(patterns.tobytes(), 4))
    assert blocks
    for block in blocks:
        assert decode_block(block, patterns.nbytes) == patterns.tobytes()


def entropy_bytes(indices: npt.NDArray[np.integer]) -> float:
    """Shannon's bound for elements that are drawn one by one."""
    share = np.bincount(indices) / len(indices)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum() * len(indices) / 8)


@pytest.mark.parametrize(("density", "over"), [(0.02, 1.03), (0.08, 1.03), (0.25, 1.05), (0.6, 1.05), (1.0, 1.03)])
def test_the_smallest_block_is_near_the_entropy(density: float, over: float) -> None:
    random = np.random.default_rng(0)
    indices = np.where(random.random(60_000) < density, random.binomial(30, 0.5, 60_000) + 1, 0)
    elements = random.normal(size=32).astype("<f4")[indices].tobytes()
    bound = entropy_bytes(indices)
    assert bound <= len(deep_blocks.smallest_block(elements, 4)) <= over * bound + 32 * 4 + 128 + 40
