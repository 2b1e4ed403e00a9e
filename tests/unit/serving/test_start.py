"""All models are loaded at the start: so many at once, the required ones first, and everyone sees how far it is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from service.core.contract import ModelRef
from service.core.errors import NotReady
from service.gateway import describe
from service.observe.logs import logger
from service.observe.statistics import ModelStatistics
from service.runtime.onnx import OnnxRunner
from service.serving import catalog as catalog_module
from service.serving import start
from service.serving.entry import Entry
from service.serving.operations import Operations
from service.serving.start import load_all
from tests.fakes import ManualClock
from tests.support.logs import capture_logs
from tests.unit.serving import models
from tests.unit.serving.house import House, SlowBuild, states, until


def entries(names: str) -> list[Entry]:
    return [Entry(name, Operations(name), ModelStatistics(name)) for name in names]


class Loads:
    """In the place of loading: notes who began, and lets all go on that are let."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.most = self._now = 0
        self.go = asyncio.Event()

    async def __call__(self, entry: Entry) -> None:
        self.begun.append(entry.name)
        self._now += 1
        self.most = max(self.most, self._now)
        await entry.operations.run("load", self.go.wait)
        self._now -= 1


LOG = logger("tests")


@pytest.mark.parametrize(("first", "begun"), [("", "abcdef"), ("fd", "dfabce"), ("xa", "abcdef")])
async def test_those_that_readiness_waits_for_come_first(first: str, begun: str) -> None:
    loads = Loads()
    loads.go.set()
    await load_all(entries("abcdef"), loads, first=[*first], at_once=1, log=LOG)
    assert "".join(loads.begun) == begun


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (4, 4), (99, 6)])
async def test_so_many_have_their_turn_at_once(at_once: int, most: int) -> None:
    loads = Loads()
    loading = asyncio.ensure_future(load_all(entries("abcdef"), loads, first=(), at_once=at_once, log=LOG))
    await until(lambda: len(loads.begun) == most)
    loads.go.set()
    await loading
    assert (loads.most, len(loads.begun)) == (most, 6)


async def test_everyone_is_seen_to_wait_to_load_or_to_have_ended() -> None:
    loads, known = Loads(), entries("abc")
    assert [entry.standing for entry in known] == ["unavailable"] * 3
    loading = asyncio.ensure_future(load_all(known, loads, first=["b"], at_once=1, log=LOG))
    await until(lambda: loads.begun == ["b"])
    assert [entry.standing for entry in known] == ["waiting", "loading", "waiting"]
    waits = "its turn to be loaded has not come"
    assert [entry.why for entry in known] == [waits, "", waits]
    loads.go.set()
    await loading
    assert [entry.why for entry in known] == ["", "", ""]
    assert [entry.standing for entry in known] == ["unavailable"] * 3  # nothing was made of them


async def test_the_log_tells_begin_progress_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(0.0)
    monkeypatch.setattr(start, "time", SimpleNamespace(monotonic=clock.now_s))

    async def load(entry: Entry) -> None:
        clock.advance(start.TOLD_EVERY_S / 2)

    with capture_logs() as lines:
        await load_all(entries("abcde"), load, first=(), at_once=1, log=LOG)
    began, *told_of = lines
    assert (began["event"], began["models"], began["at_once"]) == ("models loading", 5, 1)
    assert {line["event"] for line in told_of} == {"models loaded"}
    told = [(line["done"], line["of"], line["failed"], line["seconds"]) for line in told_of]
    assert told == [(2, 5, 2, 2.0), (4, 5, 4, 4.0), (5, 5, 5, 5.0)]


# With the real catalog


async def test_the_index_tells_who_loads_and_who_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        house.put("1", models.scales(2.0), model=name)
    monkeypatch.setattr(catalog_module, "usable_cores", lambda: 1)
    slow = SlowBuild()
    monkeypatch.setattr(OnnxRunner, "load", slow)
    catalog = house.catalog()
    starting = asyncio.ensure_future(catalog.start(first=["c"]))
    await until(lambda: "c" in catalog.models() and states(catalog, "c") == {"1": "LOADING"})
    waits = "its turn to be loaded has not come"
    assert describe.index(catalog, ready=False) == [
        {"name": "a", "version": "", "state": "UNAVAILABLE", "reason": waits},
        {"name": "b", "version": "", "state": "UNAVAILABLE", "reason": waits},
        {"name": "c", "version": "1", "state": "LOADING", "reason": ""},
    ]
    with pytest.raises(NotReady, match=f"model 'a' is not ready: {waits}"):
        catalog.lease(ModelRef("a"))
    assert [s.standing for s in catalog.model_statistics()] == ["waiting", "waiting", "loading"]
    slow.go.set()
    await starting
    assert [s.standing for s in catalog.model_statistics()] == ["ready"] * 3
    assert all(catalog.ready(name).ok for name in "abc")


async def test_one_that_fails_harms_no_other_and_stands_as_unavailable(house: House) -> None:
    for name in "abd":
        house.put("1", models.scales(2.0), model=name)
    house.put("1", b"no model", model="c")
    catalog = await house.started()
    assert [s.standing for s in catalog.model_statistics()] == ["ready", "ready", "unavailable", "ready"]
    assert house.logged("models loaded")[-1] == {
        **house.logged("models loaded")[-1], "done": 4, "of": 4, "failed": 1, "under_way": [], "log_level": "info",
    }  # fmt: skip


async def test_a_model_that_an_operator_loads_before_its_turn_answers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        house.put("1", models.scales(2.0), model=name)
    monkeypatch.setattr(catalog_module, "usable_cores", lambda: 1)
    slow = SlowBuild()
    monkeypatch.setattr(OnnxRunner, "load", slow)
    catalog = house.catalog()
    starting = asyncio.ensure_future(catalog.start())
    await until(lambda: catalog.models() == ["a", "b"] and states(catalog, "a") == {"1": "LOADING"})
    monkeypatch.setattr(OnnxRunner, "load", slow._build)
    await catalog.load("b")
    assert catalog.ready("b").ok
    assert catalog.reason("b") == ""
    slow.go.set()
    await starting
    assert catalog.ready("a").ok
    assert catalog.ready("b").ok
