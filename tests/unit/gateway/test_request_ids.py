"""Whose id a request bears."""

from __future__ import annotations

import pytest

from service.gateway.request_ids import RequestIds


@pytest.mark.parametrize("value", [b"abc", b"A-1_b.c:/+=@9", b"x" * 128])
def test_a_plain_id_of_the_client_s_is_kept(value: bytes) -> None:
    assert RequestIds().chosen(value) == value.decode()


@pytest.mark.parametrize("value", [b"", b"x" * 129, b"a b", b"a\nb", b'"', b"\xff", b"{}"])
def test_any_other_id_is_replaced(value: bytes) -> None:
    assert RequestIds().chosen(value).endswith("-1")


def test_our_own_ids_differ_between_requests_and_between_servers() -> None:
    ids, others = RequestIds(), RequestIds()
    made = [ids.chosen(b"") for _ in range(100)] + [others.new()]
    assert len(set(made)) == 101
