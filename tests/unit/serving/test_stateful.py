"""Sequences of stateful versions, served: equal to the graph run step by step, never mixed, and what ends them."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from service.core.contract import Array, InferRequest, ModelRef, RequestedOutput, SequenceStep
from service.core.deadline import Deadline
from service.core.errors import BadInput, BadModel, Draining, Expired, NotReady, Rejected, RunFailed
from service.runtime.onnx import OnnxRunner
from service.serving.catalog import Catalog
from service.serving.failures import BACKEND
from service.serving.servable import Servable, State
from tests.unit.serving import models, recurrent
from tests.unit.serving.house import House, servable_of, until
from tests.unit.serving.steering import held_runs

ONE = np.ones((1, 4), np.float32)


async def stateful(house: House, onnx: bytes, sequences: dict[str, Any], **config: Any) -> Servable:
    house.put("1", onnx)
    house.configure(sequences=sequences, **config)
    return servable_of(await house.started(), "1")


async def step(
    servable: Servable,
    sequence_id: int | str,
    start: bool = False,
    end: bool = False,
    deadline: Deadline | None = None,
    **inputs: Array,
) -> dict[str, Array]:
    request = InferRequest(inputs or {"x": ONE}, sequence=SequenceStep(sequence_id, start, end))
    return dict((await servable.infer(request, deadline or Deadline.never())).outputs)


async def summed(servable: Servable, sequence_id: int | str, **flags: Any) -> float:
    return float((await step(servable, sequence_id, **flags))["y"][0, 0])


def counts(servable: Servable) -> tuple[int, int, int, int]:
    """Sequences open, begun, ended and forgotten."""
    seen = servable.statistics.sequences
    assert seen.open is not None
    return seen.open(), seen.started, seen.ended, seen.expired


async def follow(servable: Servable, sequence_id: int, steps: list[dict[str, Array]]) -> list[dict[str, Array]]:
    last = len(steps) - 1
    return [await step(servable, sequence_id, at == 0, at == last, **feed) for at, feed in enumerate(steps)]


async def test_nothing_is_kept_of_a_version_that_is_closed(house: House) -> None:
    house.put("1", recurrent.sums())
    house.configure(sequences=recurrent.SUMS)
    catalog = await house.started()
    kept = weakref.ref(servable_of(catalog, "1"))
    await catalog.unload("m")
    await until(lambda: kept() is None)


@pytest.mark.parametrize("kind", ["sums", "gru", "voice"])
async def test_sequences_side_by_side_answer_as_the_graph_does_step_by_step(house: House, kind: str) -> None:
    onnx, section = getattr(recurrent, kind)(), getattr(recurrent, kind.upper())
    state, output, shape = {
        "sums": ("h", "h_out", (1, 4)),
        "gru": ("h0", "h1", (1, 1, recurrent.HIDDEN)),
        "voice": ("state", "stateN", (2, 1, 128)),
    }[kind]
    servable = await stateful(house, onnx, section)
    assert servable.batchability.mixes is (kind != "voice")
    assert [*servable.inputs, *servable.outputs] == (["input", "sr", "output"] if kind == "voice" else ["x", "y"])
    rng = np.random.default_rng(5)

    def feed() -> dict[str, Array]:
        if kind == "voice":
            return {"input": rng.standard_normal((1, 512)).astype(np.float32), "sr": np.asarray(16_000, np.int64)}
        return {"x": rng.standard_normal((1, 4)).astype(np.float32)}

    plans = [[feed() for _ in range(4)] for _ in range(20)]
    answers = await asyncio.gather(*(follow(servable, number + 1, steps) for number, steps in enumerate(plans)))
    for steps, answered in zip(plans, answers, strict=True):
        expected = recurrent.offline(onnx, {state: np.zeros(shape, np.float32)}, {state: output}, steps)
        for found, wanted in zip(answered, expected, strict=True):
            assert found.keys() == wanted.keys()
            for name, array in wanted.items():
                np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
    assert counts(servable) == (0, 20, 20, 0)


async def test_a_thousand_sequences_share_batches_and_never_mix(house: House) -> None:
    servable = await stateful(house, recurrent.sums(), recurrent.SUMS)
    for turn in range(3):
        answers = await asyncio.gather(
            *(step(servable, i, turn == 0, turn == 2, x=np.full((1, 4), i, np.float32)) for i in range(1, 1001))
        )
        found = np.concatenate([answer["y"][:, 0] for answer in answers])
        assert np.array_equal(found, np.arange(1, 1001, dtype=np.float32) * (turn + 1))
    assert servable.statistics.batches < 3000, "no two sequences shared a batch"
    assert counts(servable) == (0, 1000, 1000, 0)


async def test_requests_of_one_sequence_go_in_the_order_in_which_they_came(house: House) -> None:
    servable = await stateful(house, recurrent.sums(), recurrent.SUMS)
    flags = [{"start": True}, {}, {}, {"end": True}]
    assert await asyncio.gather(*(summed(servable, "abc", **f) for f in flags)) == [1, 2, 3, 4]


async def test_a_start_begins_an_open_sequence_anew(house: House) -> None:
    servable = await stateful(house, recurrent.sums(), recurrent.SUMS)
    assert await summed(servable, 7, start=True) == 1
    assert await summed(servable, 7) == 2
    assert await summed(servable, 7, start=True) == 1
    assert await summed(servable, 7, end=True) == 2
    assert counts(servable) == (0, 2, 2, 0)


async def test_a_request_must_belong_to_an_open_sequence(house: House) -> None:
    servable = await stateful(house, recurrent.sums(), recurrent.SUMS)
    with pytest.raises(BadInput, match="must specify the START flag on the first request"):
        await step(servable, 7)
    with pytest.raises(BadInput, match="model 'm' must specify a non-zero or non-empty correlation ID"):
        await servable.infer(InferRequest({"x": ONE}), Deadline.never())
    with pytest.raises(BadInput, match="must specify batch-size 1"):
        await step(servable, 7, start=True, x=np.ones((2, 4), np.float32))
    assert await summed(servable, 7, start=True, end=True) == 1
    with pytest.raises(BadInput, match=r"sequence 7 .* must specify the START flag"):
        await step(servable, 7)
    assert counts(servable)[:2] == (0, 1)


async def test_states_can_neither_be_sent_nor_asked_for(house: House) -> None:
    servable = await stateful(house, recurrent.sums(), recurrent.SUMS)
    with pytest.raises(BadInput, match="has no input 'h'"):
        await step(servable, 7, start=True, x=ONE, h=ONE)
    request = InferRequest({"x": ONE}, (RequestedOutput("h_out"),), sequence=SequenceStep(7, start=True))
    with pytest.raises(BadInput, match="has no output 'h_out'"):
        await servable.infer(request, Deadline.never())


async def test_a_version_without_state_takes_no_sequence(house: House) -> None:
    house.put("1", models.scales(2.0))
    servable = servable_of(await house.started(), "1")
    with pytest.raises(BadInput, match="keeps no state"):
        await step(servable, 7, start=True)
    assert servable.statistics.sequences.open is None


async def test_controls_tell_start_end_ready_and_the_id(house: House) -> None:
    servable = await stateful(house, recurrent.controlled(), recurrent.CONTROLS)
    assert list(servable.inputs) == ["x"]
    first = await step(servable, (1 << 64) - 1, start=True)
    last = await step(servable, (1 << 64) - 1, end=True)
    seen = [[answer[f"{name}_seen"].item() for name in ("start", "end", "ready", "corrid")] for answer in (first, last)]
    assert seen == [[1.0, False, 1, (1 << 64) - 1], [0.0, True, 1, (1 << 64) - 1]]
    assert (first["start_seen"].dtype, first["corrid_seen"].shape) == (np.float32, (1, 1))
    with pytest.raises(BadInput, match="'sequence_id' is a text"):
        await step(servable, "abc", start=True)


async def test_a_text_id_is_told_as_bytes(house: House) -> None:
    servable = await stateful(house, recurrent.controlled(TensorProto.STRING), recurrent.CONTROLS)
    assert (await step(servable, "grüße", start=True))["corrid_seen"].tolist() == [["grüße".encode()]]


async def test_an_id_that_the_model_cannot_hold_opens_nothing(house: House) -> None:
    servable = await stateful(house, recurrent.controlled(TensorProto.INT32), recurrent.CONTROLS)
    with pytest.raises(BadInput, match="larger than INT32 holds"):
        await step(servable, 1 << 31, start=True)
    assert counts(servable) == (0, 0, 0, 0)


async def test_the_state_begins_as_configured(house: House) -> None:
    section = {"states": [{"input": "h", "output": "h_out", "initial": 10, "shape": [4]}]}
    servable = await stateful(house, recurrent.sums(), section)
    assert [await summed(servable, 7, start=True), await summed(servable, 7)] == [11, 12]


async def test_a_request_that_fails_leaves_the_state_as_it_was(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    servable = await stateful(house, recurrent.sums(), recurrent.SUMS)
    assert await summed(servable, 7, start=True) == 1
    submit = servable.batcher.submit

    async def failing(*args: Any, **more: Any) -> Any:
        await submit(*args, **more)
        raise RunFailed("the run failed")

    monkeypatch.setattr(servable.batcher, "submit", failing)
    with pytest.raises(RunFailed):
        await step(servable, 7)
    monkeypatch.undo()
    assert await summed(servable, 7) == 2


async def test_a_client_that_leaves_mid_run_has_not_advanced_the_state(
    house: House, open_runners: list[OnnxRunner]
) -> None:
    servable = await stateful(house, recurrent.sums(), recurrent.SUMS)
    assert await summed(servable, 7, start=True) == 1
    with held_runs(open_runners) as held:
        leaving = asyncio.create_task(step(servable, 7))
        await until(held.begun.is_set)
        waiting = asyncio.create_task(summed(servable, 7))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    assert leaving.cancelled()
    assert await waiting == 2


async def test_a_deadline_bounds_the_wait_for_a_place(house: House) -> None:
    servable = await stateful(house, recurrent.sums(), recurrent.SUMS | {"strategy": "direct"}, max_batch_size=1)
    assert await summed(servable, 1, start=True) == 1
    with pytest.raises(Expired, match="turn in its sequence"):
        await step(servable, 2, start=True, deadline=Deadline.after(asyncio.get_running_loop().time(), 0.02))
    with pytest.raises(BadInput, match="START"):
        await step(servable, 2)
    assert counts(servable) == (1, 2, 1, 0)


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_timeout_bounds_that_wait_where_the_model_lets_it(house: House, allowed: bool) -> None:
    batching = {"allow_timeout_override": allowed}
    section = recurrent.SUMS | {"strategy": "direct"}
    servable = await stateful(house, recurrent.sums(), section, max_batch_size=1, dynamic_batching=batching)
    assert await summed(servable, 1, start=True) == 1
    hurried = InferRequest({"x": ONE}, sequence=SequenceStep(2, True, True), timeout_us=20_000)
    waiting = asyncio.create_task(servable.infer(hurried, Deadline.never()))
    done, _ = await asyncio.wait({waiting}, timeout=20 if allowed else 0.1)
    assert bool(done) is allowed
    assert await summed(servable, 1, end=True) == 2
    if allowed:
        assert isinstance(waiting.exception(), Rejected)
    else:
        assert (await waiting).outputs["y"][0, 0] == 1


async def test_sequences_beyond_the_places_wait_and_beyond_the_waiting_are_rejected(house: House) -> None:
    section = recurrent.SUMS | {"max_candidate_sequences": 1, "max_waiting_sequences": 1}
    servable = await stateful(house, recurrent.sums(), section)
    assert await summed(servable, 1, start=True) == 1
    waiting = asyncio.create_task(summed(servable, 2, start=True, end=True))
    await until(lambda: counts(servable)[0] == 2)
    with pytest.raises(Rejected, match="1 open sequences and 1 that wait"):
        await step(servable, 3, start=True)
    assert await summed(servable, 1) == 2
    assert not waiting.done()
    assert await summed(servable, 1, end=True) == 3
    assert await waiting == 1


async def test_an_idle_sequence_is_forgotten_and_its_place_given_on(house: House) -> None:
    section = recurrent.SUMS | {"max_candidate_sequences": 1, "max_sequence_idle_microseconds": 30_000}
    servable = await stateful(house, recurrent.sums(), section)
    assert await summed(servable, 1, start=True) == 1
    assert await summed(servable, 2, start=True, end=True) == 1, "the place came free by the timer alone"
    with pytest.raises(BadInput, match="without a request for too long"):
        await step(servable, 1)
    assert counts(servable) == (0, 2, 1, 1)


async def ask(catalog: Catalog, sequence: SequenceStep, version: str | None = None) -> tuple[str, float]:
    """One request as the gateway makes it; who answered, and what."""
    ref = ModelRef("m", version)
    with catalog.lease(ref) as servable, catalog.holder(ref, servable, sequence) as holder:
        answer = await holder.infer(InferRequest({"x": ONE}, sequence=sequence), Deadline.never())
    return answer.version, float(answer.outputs["y"][0, 0])


@pytest.mark.parametrize("residency", ["all", "active"])
async def test_a_swap_leaves_open_sequences_with_the_version_that_began_them(house: House, residency: str) -> None:
    house.put("1", recurrent.sums(1.0))
    house.put("2", recurrent.sums(100.0))
    house.configure(sequences=recurrent.SUMS, versions=residency, active="1")
    catalog = await house.started()
    old = servable_of(catalog, "1")
    assert await ask(catalog, SequenceStep(7, start=True)) == ("1", 1)
    assert await ask(catalog, SequenceStep(8, start=True)) == ("1", 1)
    swap = asyncio.create_task(catalog.swap("m", "2"))
    await until(lambda: catalog.active_version("m") == "2" and (residency == "all" or old.state is State.DRAINING))
    assert await ask(catalog, SequenceStep(7)) == ("1", 2)
    assert await ask(catalog, SequenceStep(8, start=True)) == ("2", 100), "a new sequence is the new version's"
    assert await ask(catalog, SequenceStep(8)) == ("2", 200)
    assert await ask(catalog, SequenceStep(7), "1") == ("1", 3), "by name too, while it drains"
    if residency == "active":
        assert not swap.done()
        with pytest.raises(Draining, match="no new sequences"):
            await ask(catalog, SequenceStep(9, start=True), "1")
    assert await ask(catalog, SequenceStep(7, end=True)) == ("1", 4)
    await swap
    assert old.state is (State.CLOSED if residency == "active" else State.READY)
    with pytest.raises(BadInput, match="START"):
        await ask(catalog, SequenceStep(7))


async def test_a_drain_ends_sequences_that_go_on_for_too_long(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.serving.sequencer.DRAIN_LIMIT_S", 0.01)
    house.put("1", recurrent.sums(1.0))
    house.put("2", recurrent.sums(100.0))
    house.configure(sequences=recurrent.SUMS, versions="active", active="1")
    catalog = await house.started()
    old = servable_of(catalog, "1")
    await ask(catalog, SequenceStep(7, start=True))
    await catalog.swap("m", "2")
    assert old.state is State.CLOSED
    with pytest.raises(BadInput, match="START"):
        await ask(catalog, SequenceStep(7))


async def test_a_reload_leaves_open_sequences_of_a_version_named_with_what_began_them(house: House) -> None:
    house.put("1", recurrent.sums(1.0))
    house.put("2", recurrent.sums(1000.0))
    house.configure(sequences=recurrent.SUMS, active="2")
    catalog = await house.started()
    assert await ask(catalog, SequenceStep(7, start=True), "1") == ("1", 1)
    house.put("1", recurrent.sums(100.0))
    old = servable_of(catalog, "1")
    load = asyncio.create_task(catalog.load("m"))
    await until(lambda: old.state is State.DRAINING)
    assert await ask(catalog, SequenceStep(8, start=True), "1") == ("1", 100)
    assert await ask(catalog, SequenceStep(7), "1") == ("1", 2)
    assert counts(old)[0] == 2, "one in each"
    with pytest.raises(BadInput, match="START"):
        await ask(catalog, SequenceStep(7), "2")  # another version's, which was named: not handed on
    assert await ask(catalog, SequenceStep(7, end=True), "1") == ("1", 3)
    await load
    assert old.state is State.CLOSED


async def test_a_swap_to_a_version_without_state_leaves_open_sequences_too(house: House) -> None:
    house.put("1", recurrent.sums(1.0))
    house.configure(sequences=recurrent.SUMS, versions="all", active="1")
    catalog = await house.started()
    assert await ask(catalog, SequenceStep(7, start=True)) == ("1", 1)
    house.put("2", models.scales(2))
    (house.root / "m" / "model.yaml").unlink()
    await catalog.swap("m", "2")
    assert await ask(catalog, SequenceStep(7)) == ("1", 2)
    with pytest.raises(BadInput, match="keeps no state"):
        await ask(catalog, SequenceStep(9, start=True))


async def test_who_answers_in_a_sequence_is_held_until_it_has(house: House) -> None:
    house.put("1", recurrent.sums(1.0))
    house.put("2", recurrent.sums(100.0))
    house.configure(sequences=recurrent.SUMS, active="1")
    catalog = await house.started()
    await ask(catalog, SequenceStep(7, start=True))
    await catalog.swap("m", "2")
    old, ref = servable_of(catalog, "1"), ModelRef("m")
    with catalog.lease(ref) as leased, catalog.holder(ref, leased, SequenceStep(7)) as holder:
        assert (leased.version, holder, old.leases, leased.leases) == ("2", old, 1, 1)
    assert (old.leases, leased.leases) == (0, 0)


@pytest.mark.parametrize("then", ["rollback", "unload", "revert"])
async def test_who_takes_a_swap_back_does_not_wait_for_the_sequences_of_what_drains(house: House, then: str) -> None:
    house.put("1", recurrent.sums(1.0))
    house.put("2", recurrent.sums(100.0))
    house.configure(sequences=recurrent.SUMS, versions="active", active="1")
    catalog = await house.started()
    await ask(catalog, SequenceStep(7, start=True))
    swap = asyncio.create_task(catalog.swap("m", "2", watch_s=60))
    await until(lambda: catalog.active_version("m") == "2" and servable_of(catalog, "1").state is State.DRAINING)
    assert await ask(catalog, SequenceStep(7)) == ("1", 2)
    async with asyncio.timeout(25):  # control: left alone, the swap takes `DRAIN_LIMIT_S`
        if then == "revert":
            for _ in range(20):
                servable_of(catalog, "2").statistics.request_failed(BACKEND, 1)
            await until(lambda: catalog.active_version("m") == "1")
        else:
            await (catalog.rollback("m") if then == "rollback" else catalog.unload("m"))
        await swap
    assert catalog.active_version("m") == (None if then == "unload" else "1")


async def test_an_unload_ends_open_sequences_at_once(house: House) -> None:
    servable = await stateful(house, recurrent.sums(), recurrent.SUMS)
    catalog = house.opened[-1]
    await ask(catalog, SequenceStep(7, start=True))
    async with asyncio.timeout(20):
        await catalog.unload("m")
    assert servable.state is State.CLOSED
    with pytest.raises(NotReady):
        await ask(catalog, SequenceStep(7))
    await catalog.load("m")
    with pytest.raises(BadInput, match="START"):
        await ask(catalog, SequenceStep(7))


async def test_golden_cases_are_the_clients_and_each_is_a_sequence_of_its_own(house: House) -> None:
    x = models.rows(1, 2, 3)
    house.put("1", recurrent.sums(), golden=({"x": x}, {"y": x}))
    house.configure(sequences=recurrent.SUMS)
    servable = servable_of(await house.started(), "1")
    report = await servable.hold_golden()
    assert report is not None
    assert (report.n, report.max_abs) == (3, 0)


WRONG = [
    ({"states": [{"input": "hh", "output": "h_out"}]}, "has no input 'hh', which 'sequences' names"),
    ({"states": [{"input": "h", "output": "z"}]}, "has no output 'z', which 'sequences' names"),
    ({"states": [{"input": "h", "output": "h_out", "shape": [5]}]}, r"cannot begin with shape \[5\]"),
    ({"states": [{"input": "x", "output": "y"}, {"input": "h", "output": "h_out"}]}, "no input or no output"),
    ({"controls": [{"input": "h", "kind": "start"}]}, r"has shape \[-1, 4\], expected \[1\]"),
    ({"controls": [{"input": "h", "kind": "corrid"}]}, "is FP32, expected one of UINT64"),
]


@pytest.mark.parametrize(("section", "says"), WRONG)
async def test_what_does_not_fit_the_graph_is_refused_at_load(house: House, section: dict[str, Any], says: str) -> None:
    house.put("1", recurrent.sums())
    house.configure(sequences=section)
    catalog = house.catalog()
    with pytest.raises(BadModel, match=says):
        await catalog.load("m")


async def test_a_stateful_model_keeps_no_answers(house: House) -> None:
    house.put("1", recurrent.sums())
    house.configure(sequences=recurrent.SUMS, response_cache={})
    with pytest.raises(BadModel, match="both 'sequences' and 'response_cache'"):
        await house.catalog().load("m")


async def test_the_configuration_tells_the_kinds_of_what_clients_do_not_send(house: House) -> None:
    servable = await stateful(house, recurrent.controlled(), recurrent.CONTROLS)
    assert servable.sequencer is not None
    kinds = {name: spec.datatype for name, spec in servable.sequencer.hidden.items()}
    assert kinds == {"start": "FP32", "end": "BOOL", "ready": "INT32", "corrid": "UINT64"}
