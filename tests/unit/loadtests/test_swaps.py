"""Swaps under load: who is compared, who is put back, and what is said; against a server that swaps, over sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from loadtests.contenders import gather
from loadtests.disturbances import Mark
from loadtests.order import Order
from loadtests.scenario import Scenario, Swapping
from loadtests.server import CannotLoad, Server
from loadtests.swaps import ALONE, SWAPPED, active, left_alone_and_swapped, problems, put_back
from tests.support.scripted import Scripted, routed

METADATA = {
    "versions": ["1", "2"],
    "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 2]}],
}
HOW = Swapping(every_s=0.01)
ORDER = Order("m", (), (), Scenario(summary="Swaps.", swap=HOW), rate=1.0)


def answers(version: str, values: Sequence[float]) -> dict[str, Any]:
    output = {"name": "logits", "datatype": "FP32", "shape": [1, 2], "data": list(values)}
    return {"model_name": "m", "model_version": version, "outputs": [output]}


class Swapper:
    """Two versions with answers of their own; one of them is active."""

    def __init__(self) -> None:
        self.active = "1"

    def routes(self, *, versions: Sequence[str] = ("1", "2"), cards: bool = True) -> dict[str, Any]:
        found: dict[str, Any] = {
            "GET /v2/models/m": METADATA | {"versions": versions},
            "POST /v2/repository/models/m/swap": self.swap,
        }
        for at, version in enumerate(versions):
            found[f"GET /v2/models/m/versions/{version}"] = METADATA
            found[f"POST /v2/models/m/versions/{version}/infer"] = answers(version, [at, 1.0])
        if cards:
            found["GET /v2/models/m/versions"] = lambda *_: {
                "versions": [{"version": one, "active": one == self.active} for one in versions]
            }
        return found

    def swap(self, _: bytes, body: bytes) -> dict[str, Any]:
        self.active = json.loads(body)["version"]
        return {}


@pytest.fixture
def swapper() -> Swapper:
    return Swapper()


@pytest.fixture
def server(swapper: Swapper) -> Iterator[Server]:
    with Scripted(routed(swapper.routes())) as scripted, Server(scripted.url) as found:
        yield found


class TestField:
    def test_the_model_left_alone_is_held_against_itself_swapped(self, server: Server) -> None:
        field = left_alone_and_swapped(gather(ORDER, [server]), ORDER, HOW, [])
        assert [one.label for one in field.contenders] == [ALONE, SWAPPED]
        assert [(one.label, one.full) for one in field.entries] == [(ALONE, None), (SWAPPED, ALONE)]

    def test_its_requests_name_no_version_and_may_be_answered_by_either(self, server: Server) -> None:
        alone, swapped = left_alone_and_swapped(gather(ORDER, [server]), ORDER, HOW, []).contenders
        assert alone.pool == swapped.pool and alone.pool.version == ""
        assert alone.pool.requests[0].startswith(b"POST /v2/models/m/infer ")
        assert alone.pool.rows.expected is None and alone.pool.answers is not None
        first = {version: found["logits"][0].tolist() for version, found in alone.pool.answers.items()}
        assert first == {"1": [0.0, 1.0], "2": [1.0, 1.0]}

    def test_only_the_second_is_swapped_meanwhile(self, server: Server, swapper: Swapper) -> None:
        marks: list[Mark] = []
        alone, swapped = left_alone_and_swapped(gather(ORDER, [server]), ORDER, HOW, marks).contenders
        with alone.during():
            pass
        assert marks == []
        with swapped.during():
            while not marks:
                pass
        assert marks[0].text == "swap to 1"

    def test_one_version_cannot_be_swapped(self, swapper: Swapper) -> None:
        with (
            Scripted(routed(swapper.routes(versions=("1",)))) as scripted,
            Server(scripted.url) as server,
            pytest.raises(CannotLoad, match="swaps need two versions at one server"),
        ):
            left_alone_and_swapped(gather(ORDER, [server]), ORDER, HOW, [])

    def test_two_servers_cannot_either(self, server: Server, swapper: Swapper) -> None:
        with (
            Scripted(routed(swapper.routes())) as scripted,
            Server(scripted.url) as other,
            pytest.raises(CannotLoad, match="swaps need two versions at one server"),
        ):
            left_alone_and_swapped(gather(ORDER, [server, other]), ORDER, HOW, [])

    def test_a_server_that_tells_no_active_version_swaps_none(self, swapper: Swapper) -> None:
        with Scripted(routed(swapper.routes(cards=False))) as scripted, Server(scripted.url) as server:
            assert active(server, "m") is None
            with pytest.raises(CannotLoad, match="does not tell which version of m is active"):
                left_alone_and_swapped(gather(ORDER, [server]), ORDER, HOW, [])


class TestPutBack:
    def test_the_version_that_was_active_is_so_again(self, server: Server, swapper: Swapper) -> None:
        with put_back(server, "m"):
            swapper.active = "2"
        assert swapper.active == "1" == active(server, "m")

    def test_after_a_failure_too(self, server: Server, swapper: Swapper) -> None:
        with pytest.raises(KeyboardInterrupt), put_back(server, "m"):
            swapper.active = "2"
            raise KeyboardInterrupt
        assert swapper.active == "1"

    def test_what_was_not_changed_is_not_swapped(self, swapper: Swapper) -> None:
        asked: list[bytes] = []
        routes = swapper.routes() | {"POST /v2/repository/models/m/swap": lambda _, body: asked.append(body) or {}}
        with Scripted(routed(routes)) as scripted, Server(scripted.url) as server, put_back(server, "m"):
            pass
        assert asked == []


def test_the_rows_are_those_of_the_field(server: Server) -> None:
    field = gather(ORDER, [server])
    swapped = left_alone_and_swapped(field, ORDER, HOW, [])
    assert np.array_equal(swapped.rows.inputs["image"], field.rows.inputs["image"])


def test_a_run_that_met_no_swap_is_invalid() -> None:
    refused = Mark(1.0, "swap to 2 refused (403)", False)
    assert problems([refused, refused]) == ("No swap was done: the last one was the swap to 2 refused (403).",)
    assert problems([refused, Mark(2.0, "swap to 1")]) == () and problems([]) == ()
