"""Versions that another server runs: loaded without a file, examined like any other, and seen in readiness."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from onnx import TensorProto

from service.core.errors import BadInput, BadModel, NotReady, Refused, RetortError, RunFailed
from service.gateway.describe import metadata
from service.gateway.triton_config_json import triton_config
from service.repository.model_config import ModelConfig
from service.serving.catalog import Catalog
from service.serving.comeback import Comeback
from service.serving.heart import Heart
from service.serving.readiness import Health
from service.serving.remote import bounded
from tests.fakes import ManualClock
from tests.support.remote import Remote
from tests.support.waiting import PATIENCE_S
from tests.unit.runtime import graphs
from tests.unit.serving import models
from tests.unit.serving.house import House, ask, entry_of, servable_of, states, until, variant
from tests.unit.serving.steering import loads_last_until

ROWS = models.rows(1, 2, 3)
CODE = grpc.StatusCode


@pytest.fixture
def remote() -> Iterator[Remote]:
    with Remote(models.scales(2.0)) as running:
        yield running


def point(house: House, remote: Remote, *, timeout_s: float = 60.0, version: str | None = None, **more: Any) -> None:
    """Writes a model.yaml that leaves model m to the remote."""
    there: dict[str, Any] = {"url": remote.url, "timeout_s": timeout_s}
    if version is not None:
        there["version"] = version
    house.configure(runner={"triton": there}, **more)


async def refused(catalog: Catalog, **inputs: Any) -> RetortError:
    with pytest.raises(RetortError) as raised:
        await ask(catalog, x=inputs.get("x", ROWS))
    return raised.value


async def test_a_model_without_a_file_is_served_as_version_1(house: House, remote: Remote) -> None:
    point(house, remote)
    catalog = await house.started()
    answer = await ask(catalog, x=ROWS)
    assert answer.version == "1"
    assert np.array_equal(answer.outputs["y"], ROWS * 2)
    servable = servable_of(catalog, "1")
    assert (servable.provider, servable.batchability.mode, servable.examined.steady) == ("remote", "any", False)
    assert servable.inputs["x"].shape == (-1, 4)


async def test_it_is_described_as_what_it_is(house: House, remote: Remote) -> None:
    point(house, remote)
    catalog = await house.started()
    servable = servable_of(catalog, "1")
    assert metadata(servable, catalog.versions("m"))["platform"] == "remote"
    config = triton_config(servable)
    assert (config["platform"], config["backend"], config["default_model_filename"]) == ("remote", "", "")
    assert [(g["name"], g["kind"]) for g in config["instance_group"]] == [("m_0", "KIND_MODEL")]
    assert config["max_batch_size"] == 8


async def test_the_smaller_batch_size_counts_and_larger_requests_are_split(house: House, remote: Remote) -> None:
    point(house, remote, max_batch_size=32, dynamic_batching={"preferred_batch_size": [4, 16]})
    catalog = await house.started()
    assert servable_of(catalog, "1").max_batch_size == 8
    rows = np.arange(80, dtype=np.float32).reshape(20, 4)
    assert np.array_equal((await ask(catalog, x=rows)).outputs["y"], rows * 2)
    assert max(remote.rows) == 8


async def test_what_a_configuration_declares_holds_for_a_remote_too(house: House, remote: Remote) -> None:
    point(house, remote, inputs=[{"name": "x", "datatype": "FP32", "dims": [4]}], batched=True)
    catalog = await house.started()
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)
    point(house, remote, inputs=[{"name": "x", "datatype": "FP32", "dims": [5]}], batched=True)
    with pytest.raises(BadModel):
        await catalog.load("m")


def test_what_a_remote_takes_bounds_the_configuration() -> None:
    config = ModelConfig(max_batch_size=32, dynamic_batching={"preferred_batch_size": [4, 16]})  # type: ignore[arg-type]
    assert bounded(config, None) is config
    assert bounded(config, 64) is config
    smaller = bounded(config, 8)
    assert (smaller.max_batch_size, smaller.dynamic_batching.preferred_batch_size) == (8, (4,))


async def test_a_remote_that_does_not_batch_is_asked_one_request_at_a_time(house: House) -> None:
    with Remote(models.scales(2.0), max_batch_size=0) as remote:
        point(house, remote)
        catalog = await house.started()
        servable = servable_of(catalog, "1")
        assert (servable.max_batch_size, servable.batchability.mode) == (0, "single-request-only")
        await asyncio.gather(*(ask(catalog, x=ROWS) for _ in range(3)))
        assert remote.rows[-3:] == [3, 3, 3]


async def test_a_batch_axis_is_probed_whatever_the_remote_says_of_it(house: House) -> None:
    with Remote(models.softmax_over_rows()) as remote:
        point(house, remote)
        catalog = await house.started()
        assert servable_of(catalog, "1").batchability.mode == "single-request-only"


async def test_version_folders_may_be_empty_or_hold_golden_cases(house: House, remote: Remote) -> None:
    point(house, remote, active="2")
    (house.root / "m" / "1").mkdir()
    right = house.put("2", b"", golden=({"x": ROWS}, {"y": ROWS * 2}))
    wrong = house.put("3", b"", golden=({"x": ROWS}, {"y": ROWS * 3}))
    for folder in (right, wrong):
        (folder / "model.onnx").unlink()
    catalog = await house.started()
    assert states(catalog) == {"1": "READY", "2": "READY", "3": "FAILED"}
    assert "golden" in entry_of(catalog).slots["3"].reason
    assert servable_of(catalog, "2").examined.golden is not None
    with pytest.raises(Refused, match="golden"):
        await catalog.swap("m", "3")
    assert (await catalog.swap("m", "1")).to_version == "1"


async def test_a_card_needs_no_model_file_and_the_gate_reads_it(house: House, remote: Remote) -> None:
    point(house, remote, active="1")
    (house.root / "m" / "1").mkdir()
    golden = ({"x": ROWS}, {"y": ROWS * 2})
    for version, measured in (("2", variant()), ("3", variant("fail"))):
        folder = house.put(version, b"", golden=golden, card=measured)
        card = (folder / "card.json").read_text()
        assert '"model.onnx"' in card
        (folder / "card.json").write_text(_without_model(card))
        (folder / "model.onnx").unlink()
    catalog = await house.started()
    assert states(catalog) == {"1": "READY", "2": "READY", "3": "READY"}
    assert (await catalog.swap("m", "2")).warning == "not-measured-here", "what the remote runs on was never measured"
    with pytest.raises(Refused, match="fail"):
        await catalog.swap("m", "3")


def _without_model(card: str) -> str:
    values = orjson.loads(card)
    del values["files"]["model.onnx"]
    return orjson.dumps(values).decode()


async def test_a_file_that_serves_here_still_needs_its_model(house: House) -> None:
    house.put("1", b"", card=variant())
    folder = house.root / "m" / "1"
    (folder / "card.json").write_text(_without_model((folder / "card.json").read_text()))
    (folder / "model.onnx").unlink()
    catalog = await house.started()
    assert "model.onnx" in entry_of(catalog).slots["1"].reason


@pytest.mark.parametrize(
    ("code", "kind"),
    [(CODE.UNAVAILABLE, NotReady), (CODE.INVALID_ARGUMENT, BadInput), (CODE.INTERNAL, RunFailed)],
)
async def test_a_fault_of_the_remote_is_an_error_of_the_request(
    house: House, remote: Remote, code: Any, kind: type[RetortError]
) -> None:
    point(house, remote)
    catalog = await house.started()
    remote.fails(code)
    assert type(await refused(catalog)) is kind
    remote.act = None
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)


async def test_one_bad_request_does_not_cost_its_batch_mates(house: House, remote: Remote) -> None:
    point(house, remote)
    catalog = await house.started()

    def refuse_negative(request: Any, context: Any) -> None:
        if (np.frombuffer(request.raw_input_contents[0], np.float32) < 0).any():
            context.abort(CODE.INTERNAL, "no")

    remote.act = refuse_negative
    asked = [ask(catalog, x=models.rows(at)) for at in (1, -1, 2, 3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(answer, RunFailed) for answer in answers] == [False, True, False, False]


async def test_an_answer_of_another_shape_is_nobody_s(house: House, remote: Remote) -> None:
    point(house, remote)
    catalog = await house.started()
    remote.act = lambda request, _context: _cut(remote.infer(request))
    assert "is not FP32 [-1, 4]" in str(await refused(catalog))


def _cut(answer: Any) -> Any:
    answer.outputs[0].shape[1] = 3
    return answer


async def beating(catalog: Catalog) -> tuple[Health, asyncio.Task[None]]:
    health = Health(catalog, None)
    health.started()
    return health, asyncio.create_task(health.probe())


async def test_readiness_goes_with_the_remote_and_comes_back_with_it(house: House, remote: Remote) -> None:
    point(house, remote)
    catalog = await house.started()
    health, probing = await beating(catalog)
    assert health.ready().ok
    remote.stop()
    await until(lambda: not health.ready().ok)
    assert "not reachable" in health.ready().reason
    assert (await refused(catalog)).args == ("the remote server that runs this model is not reachable or not ready",)
    remote.start()
    await until(lambda: health.ready().ok)
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)
    probing.cancel()
    assert servable_of(catalog, "1").statistics.remote_retries
    assert house.fatal == []


async def test_a_remote_that_hangs_is_seen_and_costs_no_engine(house: House, remote: Remote) -> None:
    point(house, remote)
    catalog = await house.started(run_timeout_s=0.4)
    health, probing = await beating(catalog)
    remote.hangs()
    await until(lambda: not health.ready().ok)
    for _ in range(4):  # three engines that do not stop would end the process
        assert "took longer" in str(await refused(catalog))
    remote.release.set()
    remote.act = None
    await until(lambda: health.ready().ok)
    probing.cancel()
    assert house.fatal == []


async def test_a_remote_may_exchange_its_version_unless_it_was_named(house: House, remote: Remote) -> None:
    for version, alive in ((None, True), ("1", False)):
        point(house, remote, version=version)
        catalog = await house.started()
        remote.act = lambda request, _context: _tripled(remote.infer(request))
        heart = Heart(servable_of(catalog, "1"), house.loader().clock)
        heart.tick()
        assert heart._task is not None
        await heart._task
        heart.tick()
        await heart.stop()
        remote.act = None
        assert heart.ok is alive


def _tripled(answer: Any) -> Any:
    changed = np.frombuffer(answer.raw_output_contents[0], np.float32) * 3
    answer.raw_output_contents[0] = changed.tobytes()
    return answer


async def test_a_load_asks_the_remote_anew_and_its_failure_costs_nothing(house: House, remote: Remote) -> None:
    point(house, remote)
    catalog = await house.started()
    before = remote.described
    await catalog.load("m")
    assert remote.described == before + 1
    remote.stop()
    with pytest.raises(NotReady, match="not reachable"):
        await catalog.load("m")
    assert states(catalog) == {"1": "READY"}
    remote.start()
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)


async def test_start_up_does_not_wait_for_a_remote_and_it_comes_up_by_itself(house: House, remote: Remote) -> None:
    remote.stop()
    point(house, remote)
    house.put("1", models.scales(3.0), model="here")
    catalog = await house.started()
    assert states(catalog) == {"1": "FAILED"}
    assert "not reachable" in entry_of(catalog).slots["1"].reason
    assert np.array_equal((await ask(catalog, "here", x=ROWS)).outputs["y"], ROWS * 3)
    clock = ManualClock()
    comeback = Comeback(catalog.entries, catalog.load, clock)
    tried: list[float] = []
    for _ in range(100):
        failed = len(house.logged("load failed"))
        await comeback.tick()
        if len(house.logged("load failed")) > failed:
            tried.append(clock.now_s())
        clock.advance(1.0)
    assert [later - earlier for earlier, later in itertools.pairwise(tried)] == [2, 4, 8, 16, 30, 30]
    remote.start()
    clock.advance(30)
    await comeback.tick()
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)
    loads = remote.described
    clock.advance(100)
    await comeback.tick()
    assert remote.described == loads, "what is loaded is not loaded again"


async def test_only_what_a_load_wanted_comes_back_by_itself(house: House, remote: Remote) -> None:
    point(house, remote, versions="active", active="1")
    for version in ("1", "2"):
        (house.root / "m" / version).mkdir()
    catalog = await house.started()
    remote.stop()
    with pytest.raises(NotReady, match="not reachable"):
        await catalog.swap("m", "2")
    assert states(catalog) == {"1": "READY", "2": "FAILED"}
    assert not entry_of(catalog).slots["2"].passing, "a load would be tried for ever, and not load it"


@pytest.mark.parametrize("why", ["bad model", "unloaded", "served here", "busy"])
async def test_nothing_else_is_tried_again(house: House, remote: Remote, why: str) -> None:
    if why == "served here":
        house.put("1", b"no model")
    else:
        point(house, remote)
    if why == "bad model":
        remote.tweak = lambda described: setattr(described.inputs[0], "datatype", "BF16")
    elif why != "served here":
        remote.stop()
    catalog = await house.started()
    entry = entry_of(catalog)
    assert states(catalog) == {"1": "FAILED"}
    if why == "unloaded":
        await catalog.unload("m")
    gate = asyncio.Event()
    other = asyncio.create_task(entry.operations.run("an operator's", gate.wait)) if why == "busy" else None
    await asyncio.sleep(0)
    clock = ManualClock()
    tried: list[str] = []

    async def load(name: str) -> None:
        tried.append(name)

    comeback = Comeback(catalog.entries, load, clock)
    for _ in range(5):
        await comeback.tick()
        clock.advance(60)
    gate.set()
    if other is not None:
        await other
    assert tried == []


async def test_a_slow_remote_at_load_is_left_behind_when_the_load_is_given_up(house: House, remote: Remote) -> None:
    remote.hangs()
    point(house, remote)
    with loads_last_until(over := asyncio.Event()):
        starting = asyncio.ensure_future(house.started())
        await until(remote.held.is_set)
        over.set()
        catalog = await starting
    assert "did not load within" in entry_of(catalog).slots["1"].reason
    assert remote.cancelled.wait(PATIENCE_S)


async def test_texts_go_through(house: House) -> None:
    with Remote(graphs.identity(TensorProto.STRING)) as remote:
        point(house, remote)
        catalog = await house.started()
        x = np.array([[b"a", "é".encode(), b"", b"0"]], dtype=object)
        assert np.array_equal((await ask(catalog, x=x)).outputs["y"], x)


async def test_a_remote_that_no_probe_can_show_alive_is_refused(
    house: House,
) -> None:
    with Remote(models.never_runs()) as running:
        point(house, running)
        catalog = await house.started()
        assert states(catalog) == {"1": "FAILED"}
        assert "does not run on any made-up input, and it has no golden cases" in catalog.versions("m")[0].reason
