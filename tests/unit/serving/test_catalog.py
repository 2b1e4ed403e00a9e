"""The face of serving: names become servables or the reason why not, and everything is listed."""

import asyncio
import threading
import time

import numpy as np
import pytest

from service.core.contract import ModelRef
from service.core.cpu import cpu_class
from service.core.errors import NotFound, NotReady
from service.repository.card import Golden, GoldenTolerance
from service.repository.model_config import ModelConfig
from service.runtime.onnx import OnnxRunner
from service.serving import catalog as catalog_module
from service.serving.servable import State
from tests.unit.serving import models
from tests.unit.serving.cards import card
from tests.unit.serving.house import House, SlowBuild, ask, entry_of, servable_of, states, until, variant
from tests.unit.serving.steering import held_runs

ROWS = models.rows(1, 2, 3)


async def test_a_name_gives_the_active_version_and_an_id_gives_that_one(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))
    catalog = await house.started()
    for version, factor in ((None, 3.0), ("1", 2.0), ("2", 3.0)):
        answer = await ask(catalog, version=version, x=ROWS)
        assert np.array_equal(answer.outputs["y"], ROWS * factor)


@pytest.mark.parametrize(
    ("model", "version", "sentence"),
    [
        ("absent", None, "there is no model 'absent' here"),
        ("..", None, r"there is no model '\.\.' here"),
        ("m", "9", "there is no version '9' of model 'm'"),
        ("m", "1", "version '1' of model 'm' is not loaded"),
    ],
)
async def test_what_does_not_answer_is_not_found(house: House, model: str, version: str | None, sentence: str) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))
    house.configure(versions="active")
    catalog = await house.started()
    with pytest.raises(NotFound, match=sentence):
        catalog.lease(ModelRef(model, version))


async def test_a_name_of_any_length_makes_a_short_sentence(house: House) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    for ref in (ModelRef("a" * 5000), ModelRef("m", "b" * 5000)):
        with pytest.raises(NotFound) as missing:
            catalog.lease(ref)
        assert len(str(missing.value)) < 200
    for asked in (catalog.versions, catalog.active_version, catalog.reason, catalog.statistics, catalog.ready):
        with pytest.raises(NotFound):
            asked("absent")  # type: ignore[operator]


async def test_a_model_that_loads_is_not_ready_yet_and_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.put("1", models.scales(2.0))
    slow = SlowBuild()
    monkeypatch.setattr(OnnxRunner, "load", slow)
    catalog = house.catalog()
    starting = asyncio.ensure_future(catalog.start())
    await until(lambda: catalog.models() == ["m"] and bool(catalog.versions("m")))
    await until(lambda: states(catalog) == {"1": "LOADING"})
    with pytest.raises(NotReady, match="version '1' of model 'm' is loading"):
        catalog.lease(ModelRef("m", "1"))
    with pytest.raises(NotReady, match="model 'm' is not ready"):
        catalog.lease(ModelRef("m"))
    slow.go.set()
    await starting
    assert (await ask(catalog, x=ROWS)).version == "1"


class _Crowd:
    """A trial that waits until so many go on at once, and a moment for one more; remembers how many there were."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self.most = self._now = 0
        self._changed = threading.Condition()

    def __call__(self, *_: object) -> None:
        with self._changed:
            self._now += 1
            self.most = max(self.most, self._now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self._expected, timeout=20)
        time.sleep(0.05)
        with self._changed:
            self._now -= 1


@pytest.mark.parametrize(("cores", "most"), [(2, 2), (6, 6)])
async def test_no_more_models_load_at_once_at_the_start_than_there_are_cores(
    house: House, monkeypatch: pytest.MonkeyPatch, cores: int, most: int
) -> None:
    for name in "abcdef":
        house.put("1", models.scales(2.0), model=name)
    monkeypatch.setattr(catalog_module, "usable_cores", lambda: cores)
    crowd = _Crowd(most)
    catalog = await house.started(trial=crowd)
    assert crowd.most == most
    assert all(catalog.ready(name).ok for name in "abcdef")


async def test_a_version_that_drains_takes_no_new_lease(house: House, open_runners: list[OnnxRunner]) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    servable = servable_of(catalog, "1")
    with held_runs(open_runners) as held:
        slow = asyncio.ensure_future(ask(catalog, x=ROWS))
        await until(held.begun.is_set)
        unload = asyncio.ensure_future(catalog.unload("m"))
        await until(lambda: servable.state is State.DRAINING)
        with pytest.raises(NotReady, match="version '1' of model 'm' is draining"):
            catalog.lease(ModelRef("m", "1"))
        with pytest.raises(NotReady, match="model 'm' is not ready"):
            catalog.lease(ModelRef("m"))
    await asyncio.gather(slow, unload)


async def test_a_lease_is_given_back_when_the_request_fails(house: House) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    with pytest.raises(ZeroDivisionError), catalog.lease(ModelRef("m")) as servable:
        assert servable.leases == 1
        raise ZeroDivisionError
    assert servable_of(catalog, "1").leases == 0


async def test_every_version_is_listed_with_what_is_known_of_it(house: House) -> None:
    tolerance = GoldenTolerance(provider="cpu", cpu_class=cpu_class(), max_abs=1e-5)
    golden = ({"x": ROWS}, {"y": ROWS * 3})
    house.put("1", models.scales(2.0))
    house.put("2", b"no model")
    house.put("3", models.scales(3.0), card=card(variant_of=None), golden=golden)
    known = variant("pass").model_copy(update={"golden": Golden(tolerances=(tolerance,), top1=True)})
    house.put("4", models.scales(3.0), card=known, golden=golden)
    house.configure(active="1", versions=["1", "2", "3", "4"])
    catalog = await house.started()
    one, two, three, four = catalog.versions("m")
    assert (one.state, one.active, one.card, one.unverified_here) == ("READY", True, None, False)
    assert one.disk_bytes == len(models.scales(2.0))
    assert one.load_s is not None
    assert 0 < one.load_s < 100
    assert (two.state, two.active, two.disk_bytes, two.load_s) == ("FAILED", False, None, None)
    assert (three.card is not None, three.unverified_here, three.active) == (True, True, False)
    assert (four.card is not None, four.unverified_here) == (True, False)
    assert servable_of(catalog, "4").verified_here


async def test_a_version_that_is_not_loaded_shows_its_card(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("1-int8", models.scales(3.0), card=variant("fail"))
    (house.put("2", models.scales(4.0), card=variant()) / "card.json").write_text("{")
    house.configure(versions="active", active="1")
    catalog = await house.started()
    _, shown, broken = catalog.versions("m")
    assert (shown.state, shown.card and shown.card.verdict) == ("NOT_LOADED", "fail")
    assert (broken.state, broken.card) == ("NOT_LOADED", None)
    house.put("1-int8", models.scales(3.0), card=variant("pass"))
    await catalog.load("m")
    shown = catalog.versions("m")[1]
    assert (shown.state, shown.card and shown.card.verdict) == ("NOT_LOADED", "pass")


async def test_counters_outlive_a_close_and_go_on_with_the_next_load(house: House) -> None:
    for version in ("1", "2", "3"):
        house.put(version, models.scales(float(version)))
    house.configure(versions="active", active="1")
    catalog = await house.started()
    assert [s.version for s in catalog.counters()] == ["1"]
    await ask(catalog, x=ROWS)
    await catalog.swap("m", "2")
    assert [s.version for s in catalog.statistics("m")] == ["2"]
    await ask(catalog, x=ROWS)
    await catalog.rollback("m")
    await ask(catalog, x=ROWS)
    assert {s.version: (s.success.count, s.pending()) for s in catalog.counters()} == {"1": (2, 0), "2": (1, 0)}
    house.put("1", models.scales(7.0))
    await catalog.load("m")
    await ask(catalog, x=ROWS)
    assert catalog.statistics("m", "1")[0].success.count == 3


async def test_statistics_are_picked_by_name_and_forgotten_with_the_version(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))
    house.put("1", models.scales(4.0), model="other")
    catalog = await house.started()
    await ask(catalog, x=ROWS)
    await ask(catalog, x=ROWS)
    named = {(s.model, s.version): s.success.count for s in catalog.statistics()}
    assert named == {("m", "1"): 0, ("m", "2"): 2, ("other", "1"): 0}
    assert [s.version for s in catalog.statistics("m")] == ["1", "2"]
    assert [s.rows for s in catalog.statistics("m", "2")] == [6]
    with pytest.raises(NotFound, match="version '9' of model 'm' is not loaded"):
        catalog.statistics("m", "9")
    await catalog.unload("m")
    assert [s.model for s in catalog.statistics()] == ["other"]
    assert {s.model: s.active for s in catalog.model_statistics()} == {"m": None, "other": "1"}


async def test_one_models_trouble_does_not_hold_up_another(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.put("1", models.scales(2.0))
    house.put("1", models.scales(3.0), model="other")
    catalog = await house.started()
    house.put("2", models.scales(2.0))
    slow = SlowBuild()
    with monkeypatch.context() as patched:
        patched.setattr(OnnxRunner, "load", slow)
        swap = asyncio.ensure_future(catalog.swap("m", "2"))
        await until(lambda: entry_of(catalog).operations.running == "swap to '2'")
        await asyncio.wait_for(catalog.load("other"), 20)
        assert (await ask(catalog, "other", x=ROWS)).version == "1"
        assert not swap.done()
        slow.go.set()
        await swap


async def test_a_start_goes_on_past_what_does_not_load(house: House) -> None:
    house.put("1", b"no model")
    house.put("1", models.scales(2.0), model="other")
    (house.root / "empty").mkdir()
    (house.root / "file").write_text("no folder")
    catalog = await house.started()
    assert catalog.models() == ["empty", "m", "other"]
    assert [name for name in catalog.models() if catalog.ready(name).ok] == ["other"]
    told = {line["model"]: line["reason"] for line in house.logged("model not served as configured")}
    assert told.keys() == {"empty", "m"}


async def test_closing_ends_operations_watches_and_requests_in_order(
    house: House, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))
    house.configure(active="1")
    catalog = await house.started()
    with held_runs(open_runners) as held:
        slow = asyncio.ensure_future(ask(catalog, x=ROWS))
        await until(held.begun.is_set)
        swap = asyncio.ensure_future(catalog.swap("m", "2", watch_s=30.0))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(catalog.close())
        await asyncio.sleep(0.05)
        assert not closing.done(), "a request is still answered"
    await closing
    assert (await slow).version == "1"
    assert (await swap).to_version == "2"
    assert open_runners == []
    with pytest.raises(NotReady):
        catalog.lease(ModelRef("m"))
    await catalog.close()


async def test_a_model_that_appears_later_is_loaded_by_its_name(house: House) -> None:
    catalog = await house.started()
    with pytest.raises(NotFound, match="no model 'm' in the repository"):
        await catalog.load("m")
    house.put("1", models.scales(2.0))
    await catalog.load("m")
    assert (await ask(catalog, x=ROWS)).version == "1"


async def test_a_model_that_does_not_close_well_hurries_no_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for model in ("m", "slow"):
        house.put("1", models.scales(2.0), model=model)
    catalog = await house.started()
    broken, slow = servable_of(catalog, "1"), servable_of(catalog, "1", "slow")

    async def planted() -> None:
        raise ValueError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(broken, "retire", planted)
        with slow:
            closing = asyncio.ensure_future(catalog.close())
            await until(lambda: slow.state is State.DRAINING)
            await asyncio.sleep(0.05)
            assert not closing.done()
        with pytest.raises(ValueError, match="planted"):
            await closing
    assert slow.state is State.CLOSED
    await broken.retire()


async def test_an_unexpected_error_costs_one_model_and_not_the_start(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("m", "good"):
        house.put("1", models.scales(2.0), model=model)
    real = house.source.read_config

    def broken(model: str) -> ModelConfig:
        if model == "m":
            raise ValueError("planted")
        return real(model)

    monkeypatch.setattr(house.source, "read_config", broken)
    catalog = await house.started()
    assert catalog.ready("good").ok
    assert catalog.reason("m") == "its load met an unexpected error, which the log shows"
    assert [line["model"] for line in house.logged("model not served as configured")] == ["m"]
