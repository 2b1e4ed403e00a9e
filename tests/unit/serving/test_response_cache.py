"""Kept answers: found by exactly the same inputs, within their limit of bytes, and safe from whoever got them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.core.contract import Array
from service.serving.response_cache import ARRAY_BYTES, ENTRY_BYTES, ResponseCache, key_of, size_bytes

ONE_FLOATS = ENTRY_BYTES + ARRAY_BYTES + 400
NUMBERS = hnp.arrays(
    st.sampled_from([np.float32, np.int32, np.uint8, np.bool_, np.int64]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
TEXTS = st.lists(st.binary(max_size=3), max_size=4).map(lambda texts: np.array([*texts, None], np.object_)[:-1])
INPUTS = st.dictionaries(st.sampled_from(["a", "ab", "b"]), st.one_of(NUMBERS, TEXTS), min_size=1, max_size=2)


def floats(value: float) -> dict[str, Array]:
    return {"y": np.full(100, value, np.float32)}


def same(one: dict[str, Array], other: dict[str, Array]) -> bool:
    """Whether two requests' inputs are the same, bit by bit."""
    if one.keys() != other.keys():
        return False
    for name, array in one.items():
        twin = other[name]
        if (array.dtype, array.shape) != (twin.dtype, twin.shape):
            return False
        if array.dtype == np.object_ and array.tolist() != twin.tolist():
            return False
        if array.dtype != np.object_ and array.tobytes() != twin.tobytes():
            return False
    return True


@given(INPUTS, INPUTS)
def test_two_requests_have_one_key_exactly_if_their_inputs_are_the_same(
    one: dict[str, Array], other: dict[str, Array]
) -> None:
    assert (key_of(one) == key_of(other)) is same(one, other)
    assert key_of(one) == key_of({name: one[name].copy() for name in reversed(list(one))})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": np.zeros(2, np.float32)}, {"a": np.zeros(1, np.float64)}),
        ({"a": np.zeros((2, 3))}, {"a": np.zeros((3, 2))}),
        ({"a": np.array([b"ab", b""], object)}, {"a": np.array([b"a", b"b"], object)}),
        ({"a": np.array([0.0])}, {"a": np.array([-0.0])}),
        ({"a": np.zeros(1), "b": np.ones(1)}, {"a": np.ones(1), "b": np.zeros(1)}),
        ({"a": np.zeros((0, 4))}, {"a": np.zeros((0, 5))}),
    ],
)
def test_what_differs_in_type_shape_or_framing_is_not_the_same(one: dict[str, Array], other: dict[str, Array]) -> None:
    assert key_of(one) != key_of(other)


def test_memory_layout_does_not_matter() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert key_of({"a": array.T}) == key_of({"a": np.ascontiguousarray(array.T)})
    assert key_of({"a": array.T}) != key_of({"a": array.reshape(4, 3)})


def test_the_answer_asked_for_least_recently_goes_first() -> None:
    cache = ResponseCache(2 * ONE_FLOATS)
    for name in (b"1", b"2"):
        cache.put(name, floats(1))
    assert cache.get(b"1") is not None
    cache.put(b"3", floats(3))
    assert cache.get(b"2") is None
    assert cache.get(b"1") is not None
    assert (len(cache), cache.held_bytes) == (2, 2 * ONE_FLOATS)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 300)), max_size=40), st.integers(1, 4000))
def test_the_limit_holds_whatever_is_put(puts: list[tuple[int, int]], limit: int) -> None:
    cache = ResponseCache(limit)
    for key, size in puts:
        cache.put(bytes([key]), {"y": np.full(size, key, np.uint8)})
        kept = {k: found for k in range(6) if (found := cache.get(bytes([k]))) is not None}
        assert cache.held_bytes == sum(ENTRY_BYTES + size_bytes(found) for found in kept.values()) <= limit
        assert all((found["y"] == k).all() for k, found in kept.items())


def test_an_answer_larger_than_the_limit_is_not_kept_and_costs_no_other() -> None:
    cache = ResponseCache(ONE_FLOATS)
    cache.put(b"1", floats(1))
    cache.put(b"2", {"y": np.zeros(101, np.float32)})
    assert cache.get(b"2") is None
    assert cache.get(b"1") is not None


def test_texts_count_with_their_bytes() -> None:
    short, long = ({"y": np.array([text], object)} for text in (b"", b"x" * 1000))
    assert size_bytes(long) - size_bytes(short) == 1000


def test_nobody_can_change_what_is_kept() -> None:
    cache, mine = ResponseCache(1 << 20), floats(1)
    cache.put(b"1", mine)
    mine["y"][:] = 7
    kept = cache.get(b"1")
    assert kept is not None
    assert (kept["y"] == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        kept["y"][:] = 7


def test_cleared_is_empty() -> None:
    cache = ResponseCache(1 << 20)
    cache.put(b"1", floats(1))
    cache.clear()
    assert (len(cache), cache.held_bytes, cache.get(b"1")) == (0, 0, None)
