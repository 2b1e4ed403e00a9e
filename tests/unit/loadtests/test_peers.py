"""Servers of a few makes, over real sockets: which versions each is asked for, and in which encoding all are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loadtests.contenders import gather
from loadtests.order import Order
from loadtests.peers import in_common, label_of, versions_at
from loadtests.scenario import Scenario
from loadtests.server import CannotLoad, Server
from tests.support.scripted import Scripted, routed

IMAGE = {"name": "image", "datatype": "FP32", "shape": [-1, 2]}
LOGITS = {"name": "logits", "datatype": "FP32", "shape": [-1, 2]}
ANSWER = {"model_name": "m", "outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 2], "data": [0.0, 1.0]}]}
ORDER = Order("m", (), (), Scenario(summary="A."), rate=1.0)


def routes(name: str, versions: tuple[str, ...], *, binary: bool = True, told: bool = True) -> dict[str, Any]:
    metadata = {"versions": versions, "inputs": [IMAGE] if told else [], "outputs": [LOGITS] if told else []}
    found: dict[str, Any] = {
        "GET /v2": {"name": name, "extensions": ["binary_tensor_data"] if binary else []},
        "GET /v2/models/m": metadata,
        "POST /v2/models/m/infer": lambda head, _: "no binary here" if not binary and b"octet" in head else ANSWER,
    }
    for version in versions:
        found[f"GET /v2/models/m/versions/{version}"] = metadata
        found[f"POST /v2/models/m/versions/{version}/infer"] = ANSWER | {"model_version": version}
    return found


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    kinds = {
        "full": routes("full", ("1", "1-int8")),
        "one": routes("one", ("1",)),
        "plain": routes("plain", (), binary=False),
        "silent": routes("silent", (), binary=False, told=False),
    }
    with ExitStack() as stack:
        running = {name: stack.enter_context(Scripted(routed(found))) for name, found in kinds.items()}
        yield {name: stack.enter_context(Server(one.url)) for name, one in running.items()}


def asked(servers: dict[str, Server], names: str, *versions: str) -> list[tuple[str, str]]:
    chosen = [servers[name] for name in names.split()]
    return [(one.calls_itself, version) for one, version in versions_at(replace(ORDER, versions=versions), chosen)]


class TestVersions:
    def test_all_that_each_names(self, servers: dict[str, Server]) -> None:
        assert asked(servers, "full one") == [("full", "1"), ("full", "1-int8"), ("one", "1")]

    def test_those_wanted_of_whoever_has_them(self, servers: dict[str, Server]) -> None:
        assert asked(servers, "full one", "1-int8", "1") == [("full", "1-int8"), ("full", "1"), ("one", "1")]

    def test_one_against_itself(self, servers: dict[str, Server]) -> None:
        assert asked(servers, "full one", "1", "1") == [("full", "1"), ("full", "1"), ("one", "1"), ("one", "1")]

    def test_a_server_without_versions_takes_part_once(self, servers: dict[str, Server]) -> None:
        assert asked(servers, "full plain", "1") == [("full", "1"), ("plain", "")]
        assert asked(servers, "plain") == [("plain", "")]

    def test_a_version_that_none_has_is_told(self, servers: dict[str, Server]) -> None:
        with pytest.raises(CannotLoad, match="none of the servers names version 7 of m"):
            asked(servers, "full one", "1", "7")

    def test_a_single_server_is_asked_and_answers_for_itself(self, servers: dict[str, Server]) -> None:
        assert asked(servers, "full", "7") == [("full", "7")]


class TestInCommon:
    def test_binary_where_all_take_it(self, servers: dict[str, Server]) -> None:
        order, notes = in_common(ORDER, [servers["full"], servers["one"]])
        assert order.encoding == "binary"
        assert [note.split(" says ")[1] for note in notes] == ["that it is full.", "that it is one."]

    def test_json_for_all_where_one_does_not(self, servers: dict[str, Server]) -> None:
        order, notes = in_common(ORDER, [servers["full"], servers["plain"]])
        assert order.encoding == "json" and "takes no binary tensors: all are asked in JSON" in notes[0]

    def test_an_encoding_that_was_asked_for_stays(self, servers: dict[str, Server]) -> None:
        assert in_common(replace(ORDER, encoding="grpc"), [servers["plain"]])[0].encoding == "grpc"
        assert in_common(replace(ORDER, encoding="json"), [servers["plain"]]) == (replace(ORDER, encoding="json"), [])


class TestGather:
    def gathered(self, servers: dict[str, Server], names: str) -> Any:
        chosen = [servers[name] for name in names.split()]
        return gather(in_common(replace(ORDER, urls=tuple(one.url for one in chosen)), chosen)[0], chosen)

    def test_servers_of_three_makes_stand_side_by_side(self, servers: dict[str, Server]) -> None:
        field = self.gathered(servers, "one plain silent")
        places = [servers[name].url.removeprefix("http://") for name in ("one", "plain", "silent")]
        assert [one.label for one in field.contenders] == [f"1@{places[0]}", *places[1:]]
        assert [one.full for one in field.entries] == [None, f"1@{places[0]}", f"1@{places[0]}"]
        for one in field.contenders:  # whoever told no inputs is asked what the others are
            assert one.pool.signature.inputs == {"image": "FP32"}
            assert one.pool.rows.expected is not None
            assert np.array_equal(one.pool.rows.expected["logits"][0], [0.0, 1.0])
            assert b"application/json" in one.pool.requests[0]

    def test_where_nobody_tells_the_inputs_it_cannot_be_loaded(self, servers: dict[str, Server]) -> None:
        with pytest.raises(CannotLoad, match="does not tell the inputs and outputs of m"):
            self.gathered(servers, "silent")


def test_labels_differ_by_place(servers: dict[str, Server]) -> None:
    place = servers["one"].url.removeprefix("http://")
    assert label_of(servers["one"], "1", several=False) == "1"
    assert label_of(servers["one"], "", several=False) == "unversioned"
    assert label_of(servers["one"], "1", several=True) == f"1@{place}"
    assert label_of(servers["one"], "", several=True) == place
