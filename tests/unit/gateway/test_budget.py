from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from service.core.contract import TensorSpec
from service.core.errors import Rejected, TooLarge
from service.gateway.binary_tensors import array_at
from service.gateway.budget import SMALL_BYTES, ByteBudget, Share, beside_bytes
from service.gateway.http import build
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth, FakeServable

MIB = 1 << 20


def test_texts_count_for_what_they_take_in_memory() -> None:
    """16 MiB of texts of two bytes took 149 MiB."""
    count = 50_000
    wire = b"".join(b"\x02\0\0\0" + number.to_bytes(2, "little") for number in range(count))
    tracemalloc.start()
    try:
        inputs = {"t": array_at(wire, 0, len(wire), [count], "BYTES", "t"), "x": np.zeros(9, np.float32)}
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 < taken / beside_bytes(inputs, inputs["x"].nbytes) <= 1.0  # a system's allocator takes some more


def test_numbers_count_where_they_came_as_something_else() -> None:
    numbers = {"x": np.zeros(100, np.int64), "b": np.zeros(50, np.bool_)}
    assert beside_bytes(numbers, 850) == 0  # they are views of what came
    assert beside_bytes(numbers, 50) == 800
    assert beside_bytes(numbers, 0) == 850


def rows(count: int) -> dict[str, object]:
    return {"instances": ["a"] * count}


def tensor(count: int) -> dict[str, object]:
    return {"inputs": [{"name": "t", "datatype": "BYTES", "shape": [count], "data": ["a"] * count}]}


@pytest.mark.parametrize(("path", "asking"), [("/v1/models/m:predict", rows), ("/v2/models/m/infer", tensor)])
def test_texts_of_a_request_are_held_against_the_budget(path: str, asking: Callable[[int], object]) -> None:
    servable = FakeServable(
        inputs=(TensorSpec("t", "BYTES", ("batch",)),), answer=lambda _: {"y": np.zeros((1, 4), np.float32)}
    )
    budget = ByteBudget(8000)
    app = build(cast("Any", FakeCatalog(servable)), cast("Any", FakeHealth()), max_body_bytes=4000, budget=budget)
    with TestClient(app) as client:
        assert client.post(path, json=asking(1)).status_code == 200
        refused = client.post(path, json=asking(200))
        assert (refused.status_code, "takes 1" in refused.json()["error"]) == (413, True)
    assert budget.used_bytes == 0


@pytest.mark.parametrize("path", ["/v1/models/m:predict", "/v2/models/m/infer"])
def test_numbers_written_out_are_held_against_the_budget_as_what_they_become(path: str) -> None:
    """64 MiB of numbers of one digit became 256 MiB."""
    servable = FakeServable(
        inputs=(TensorSpec("x", "INT64", ("batch",)),), answer=lambda _: {"y": np.zeros((1, 4), np.float32)}
    )
    budget = ByteBudget(8000)
    app = build(cast("Any", FakeCatalog(servable)), cast("Any", FakeHealth()), max_body_bytes=4000, budget=budget)

    def of(count: int) -> bytes:
        data = b"[" + b",".join([b"1"] * count) + b"]"
        if path.startswith("/v1"):
            return b'{"instances":' + data + b"}"
        return b'{"inputs":[{"name":"x","datatype":"INT64","shape":[%d],"data":%b}]}' % (count, data)

    with TestClient(app) as client:
        assert client.post(path, content=of(500)).status_code == 200
        refused = client.post(path, content=of(900))
        assert (refused.status_code, "takes 9" in refused.json()["error"]) == (413, True)
        blob = np.ones(400, np.int64).tobytes()  # as binary data they count once
        head = b'{"inputs":[{"name":"x","datatype":"INT64","shape":[400],"parameters":{"binary_data_size":3200}}]}'
        headers = {"Inference-Header-Content-Length": str(len(head))}
        assert client.post("/v2/models/m/infer", content=head + blob, headers=headers).status_code == 200
    assert budget.used_bytes == 0


def test_what_is_taken_is_given_back_once() -> None:
    budget = ByteBudget(10)
    share = Share(budget)
    share.take(4)
    share.take(6)
    assert budget.used_bytes == 10
    share.end()
    share.end()
    assert budget.used_bytes == 0


def test_beyond_the_limit_nothing_more_is_taken_and_one_sentence_says_so() -> None:
    budget = ByteBudget(8 * MIB)
    one, other = Share(budget), Share(budget)
    one.take(6 * MIB)
    with pytest.raises(Rejected, match=r"^requests and answers in flight hold all of their 8 MiB$") as refused:
        other.take(MIB + 1)
    assert refused.value.retry_after_s == 1
    other.take(MIB)
    one.end()
    assert budget.used_bytes == MIB


def test_the_last_eighth_is_for_small_requests() -> None:
    budget = ByteBudget(8 * MIB)
    large, small = Share(budget), [Share(budget) for _ in range(5)]
    large.take(7 * MIB)
    with pytest.raises(Rejected):
        Share(budget).take(SMALL_BYTES + 1)
    for share in small[:4]:
        share.take(SMALL_BYTES)
    assert budget.used_bytes == budget.limit_bytes
    with pytest.raises(Rejected):
        small[4].take(1)
    small[0].end()
    small[4].take(SMALL_BYTES)
    with pytest.raises(Rejected):
        small[4].take(1)  # it is no small one any more


def test_what_can_never_fit_is_told_so_and_not_to_try_again() -> None:
    budget = ByteBudget(8 * MIB)
    sentence = (
        r"^the request, with its answer, takes 7340033 bytes or more, "
        r"and RETORT_MAX_IN_FLIGHT_BYTES has room for 7340032 of one request$"
    )
    share = Share(budget)
    for refusing in (share.check, share.take):
        with pytest.raises(TooLarge, match=sentence):
            refusing(7 * MIB + 1)
    share.take(7 * MIB)
    with pytest.raises(TooLarge, match=sentence):
        share.take(1)
    with pytest.raises(Rejected):  # it fits, once that one is gone
        Share(budget).take(7 * MIB)
    with pytest.raises(TooLarge, match="takes 9 bytes or more"):
        Share(ByteBudget(8)).take(9)


def test_nothing_fits_always() -> None:
    budget = ByteBudget(1)
    Share(budget).take(1)
    Share(budget).take(0)
    assert budget.used_bytes == 1


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.booleans())))
def test_the_sum_of_shares_is_what_is_used_and_never_over_the_limit(steps: list[tuple[int, int, bool]]) -> None:
    budget = ByteBudget(100)
    shares, held = [Share(budget) for _ in range(5)], [0] * 5
    for who, size_bytes, ends in steps:
        if ends:
            shares[who].end()
            held[who] = 0
            continue
        fits = sum(held) + size_bytes <= 100
        try:
            shares[who].take(size_bytes)
            assert fits
            held[who] += size_bytes
        except (Rejected, TooLarge):
            assert not fits
        assert budget.used_bytes == sum(held)
