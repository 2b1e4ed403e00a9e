"""Who is compared with whom: labels that differ, and each version's full one."""

from __future__ import annotations

import socket
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from loadtests.contenders import _card, _entries, _full, _labels, _reach
from loadtests.order import Order
from loadtests.outcome import Card, Entry
from loadtests.scenario import Scenario
from loadtests.server import CannotLoad

A, B = SimpleNamespace(url="http://127.0.0.1:8000"), SimpleNamespace(url="http://127.0.0.1:9000")


def entry(label: str, version: str, url: str = "a", variant_of: str | None = None) -> Entry:
    return Entry(label, url, version, card=Card(variant_of=variant_of))


@pytest.mark.parametrize(
    ("pairs", "several", "labels"),
    [
        ([(A, "1"), (A, "1-int8")], False, ["1", "1-int8"]),
        ([(A, "1"), (A, "1"), (A, "1")], False, ["1", "1 (2)", "1 (3)"]),
        ([(A, "1"), (B, "1")], True, ["1@127.0.0.1:8000", "1@127.0.0.1:9000"]),
    ],
)
def test_no_two_labels_are_equal(pairs: list[Any], several: bool, labels: list[str]) -> None:
    assert _labels(pairs, several=several) == labels


def test_a_variant_is_held_against_its_full_version_at_the_same_server() -> None:
    entries = [
        entry("1@a", "1"),
        entry("1-int8@a", "1-int8", variant_of="1"),
        entry("1@b", "1", "b"),
        entry("1-int8@b", "1-int8", "b", variant_of="1"),
    ]
    assert [_full(one, entries) for one in entries] == [None, "1@a", "1@a", "1@b"]


def test_without_its_full_version_it_is_held_against_the_first() -> None:
    entries = [entry("2", "2"), entry("1-int8", "1-int8", variant_of="1")]
    assert [_full(one, entries) for one in entries] == [None, "2"]
    twice = [entry("1", "1"), entry("1 (2)", "1")]
    assert [_full(one, twice) for one in twice] == [None, "1"]


def test_what_a_server_tells_of_a_version_becomes_its_card() -> None:
    told = {"version": "1-int8", "variant_of": "1", "recipe": "int8-static", "bytes": 5, "verdict": "pass"}
    told["quality"] = [{"task": "embedding"}]
    assert _card(told, ("size: well",)) == Card(
        "1", "int8-static", 5, task="embedding", verdict="pass", reasons=("size: well",)
    )
    assert _card({}) == Card()


def test_the_gates_reasons_are_asked_of_the_whole_card() -> None:
    asked: list[str] = []

    def card(_: str, version: str) -> dict[str, Any]:
        asked.append(version)
        return {"reasons": ["rows: 20 are too few"]}

    told = [{"version": "1"}, {"version": "1-int8", "variant_of": "1", "verdict": "insufficient-data"}]
    server = SimpleNamespace(url="u", summaries=lambda _: told, card=card)
    contenders = [SimpleNamespace(label=v, version=v, server=server, model="m") for v in ("1", "1-int8")]
    full, variant = _entries(Order("m", (), ("u",), Scenario(summary="A.")), contenders)  # type: ignore[arg-type]
    assert full.card.reasons == () and variant.card.reasons == ("rows: 20 are too few",)
    assert asked == ["1-int8"]  # the full version was judged by no gate


def test_a_server_that_knows_no_cards_gives_entries_without_them() -> None:
    server = SimpleNamespace(url="u", summaries=lambda _: [])
    contenders = [SimpleNamespace(label=name, version=name, server=server) for name in ("1", "2")]
    order = Order("m", (), ("u",), Scenario(summary="A."))
    found = _entries(order, contenders)  # type: ignore[arg-type]
    assert found == (Entry("1", "u", "1"), replace(Entry("2", "u", "2"), full="1"))


def test_a_grpc_port_where_nobody_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = ("127.0.0.1", listening.getsockname()[1])
        _reach(address)
    with pytest.raises(CannotLoad, match=rf"no gRPC server listens at 127\.0\.0\.1:{address[1]}: Connection refused\."):
        _reach(address)
