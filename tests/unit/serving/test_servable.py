"""One loaded version: what it answers and refuses, what it counts, and when it closes."""

import asyncio
import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.core.contract import Array, InferRequest, ModelRef, RequestedOutput
from service.core.deadline import Deadline
from service.core.errors import BadInput, Draining, Expired, NotFinite, Refused, Rejected
from service.repository.card import Batching
from service.repository.model_config import ModelConfig
from service.runtime.memory import resident_bytes
from service.runtime.onnx import OnnxRunner
from service.serving.failures import BACKEND, CANCELED, OTHER
from service.serving.row_limits import RUNS_LIMIT
from service.serving.servable import Servable, State
from tests.unit.runtime import graphs
from tests.unit.serving import models
from tests.unit.serving.cards import card
from tests.unit.serving.house import House, ask, counted, servable_of, until
from tests.unit.serving.steering import held_runs

ROWS = models.rows(1, 2, 3)


async def loaded(house: House, onnx: bytes, **config: object) -> Servable:
    """Version 1 of model m, loaded and READY."""
    house.put("1", onnx)
    if config:
        house.configure(**config)
    return servable_of(await house.started(), "1")


async def infer(servable: Servable, outputs: tuple[str, ...] = (), **inputs: Array) -> Mapping[str, Array]:
    request = InferRequest(inputs, tuple(RequestedOutput(name) for name in outputs), id="request 7")
    return (await counted(servable, request)).outputs


def failures(servable: Servable) -> dict[str, int]:
    return {reason: failure.count for reason, failure in servable.statistics.failures.items() if failure.count}


async def test_an_answer_names_who_gave_it_and_echoes_the_id(house: House) -> None:
    servable = await loaded(house, models.scales(2.0))
    answer = await servable.infer(InferRequest({"x": ROWS}, id="request 7"), Deadline.never())
    assert (answer.model, answer.version, answer.id) == ("m", "1", "request 7")
    assert np.array_equal(answer.outputs["y"], ROWS * 2)
    assert (servable.state, servable.provider, servable.max_batch_size) == (State.READY, "cpu", 32)
    assert (list(servable.inputs), list(servable.outputs), servable.verified_here) == (["x"], ["y"], False)


async def test_outputs_come_as_asked_for_and_in_that_order(house: House) -> None:
    servable = await loaded(house, models.sum_and_difference())
    inputs = {"a": ROWS, "b": np.ones((3, 4), np.int64)}
    assert list(await infer(servable, **inputs)) == ["sum", "difference"]
    assert list(await infer(servable, ("difference", "sum"), **inputs)) == ["difference", "sum"]
    only = await infer(servable, ("difference",), **inputs)
    assert np.array_equal(only["difference"], ROWS - 1)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"z": ROWS}, "model 'm' has no input 'z', only 'x'"),
        ({}, "needs input 'x'"),
        ({"x": ROWS.astype(np.float64)}, "input 'x' of model 'm' must be FP32"),
        ({"x": ROWS[:, :3]}, r"has shape \[3, 3\], expected \[-1, 4\]"),
        ({"x": ROWS[0]}, r"has shape \[4\], expected \[-1, 4\]"),
    ],
)
async def test_a_wrong_request_is_refused_in_words_and_counted_against_nobody(
    house: House, inputs: dict[str, Array], sentence: str
) -> None:
    servable = await loaded(house, models.scales(2.0))
    with pytest.raises(BadInput, match=sentence):
        await infer(servable, **inputs)
    assert failures(servable) == {OTHER: 1}


async def test_a_request_of_more_rows_than_its_bytes_tell_costs_nothing(house: House) -> None:
    servable = await loaded(house, graphs.identity(shape=("n", "w")))
    with pytest.raises(BadInput, match=f"at most {32 * RUNS_LIMIT} rows a request, got {1 << 40}: .* 32 at a time"):
        await infer(servable, x=np.zeros((1 << 40, 0), np.float32))
    assert servable.batcher.pending == 0


async def test_a_request_of_as_many_runs_as_the_limit_is_answered_whole(house: House) -> None:
    servable = await loaded(house, models.scales(2.0), max_batch_size=2)
    most = np.arange(8 * RUNS_LIMIT, dtype=np.float32).reshape(-1, 4)
    assert np.array_equal((await infer(servable, x=most))["y"], most * 2)
    with pytest.raises(BadInput, match=f"at most {2 * RUNS_LIMIT} rows a request, got {2 * RUNS_LIMIT + 1}"):
        await infer(servable, x=np.zeros((2 * RUNS_LIMIT + 1, 4), np.float32))


async def test_an_output_that_it_does_not_have_is_refused_before_anything_runs(house: House) -> None:
    servable = await loaded(house, models.scales(2.0))
    with pytest.raises(BadInput, match="model 'm' has no output 'z', only 'y'"):
        await infer(servable, ("z",), x=ROWS)
    assert servable.statistics.batches == 0


async def test_more_rows_than_the_maximum_are_split_and_answered_whole(house: House) -> None:
    servable = await loaded(house, models.scales(2.0), max_batch_size=4)
    many = models.rows(*range(11))
    assert np.array_equal((await infer(servable, x=many))["y"], many * 2)
    assert (servable.statistics.batches, servable.statistics.rows) == (3, 11)


async def test_of_a_large_answer_in_parts_nothing_stays(house: House) -> None:
    """Each part is a view of what its run took: kept until the last, they had ONNX Runtime take new memory for each."""
    wide = graphs.model(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        [graphs.value("x", TensorProto.FLOAT, ["N", 1])],
        [graphs.value("y", TensorProto.FLOAT, ["N", 4096])],
        [numpy_helper.from_array(np.ones((1, 4096), np.float32), "w")],
    )
    servable = await loaded(house, wide)
    before_bytes = resident_bytes()
    answer = await infer(servable, x=np.ones((10_000, 1), np.float32))
    assert answer["y"].nbytes > 150 << 20
    del answer
    await until(lambda: resident_bytes() - before_bytes < 50 << 20)


async def test_where_nothing_is_split_more_rows_than_the_maximum_are_refused_with_the_reason(house: House) -> None:
    servable = await loaded(house, models.softmax_over_rows(), max_batch_size=3)
    assert servable.max_batch_size == 0
    answer = (await infer(servable, x=ROWS))["y"]
    assert np.allclose(answer.sum(axis=0), 1.0)
    with pytest.raises(BadInput, match=r"at most 3 rows a request, got 4; .*not split because a row's answer changed"):
        await infer(servable, x=models.rows(1, 2, 3, 4))


async def test_requests_of_a_version_that_is_no_batch_never_meet(house: House) -> None:
    servable = await loaded(house, models.softmax_over_rows())
    many = [models.rows(index, index + 1) for index in range(8)]
    answers = await asyncio.gather(*(infer(servable, x=x) for x in many))
    assert all(np.allclose(answer["y"].sum(axis=0), 1.0) for answer in answers)
    assert servable.statistics.batches == 8


async def test_the_cards_word_keeps_requests_apart(house: House) -> None:
    says = Batching(mode="single-request-only", sensitivity=0.02, reason="its scale is per tensor")
    house.put("1", models.scales(2.0), card=card(variant_of=None, batching=says))
    servable = servable_of(await house.started(), "1")
    await asyncio.gather(*(infer(servable, x=ROWS) for _ in range(6)))
    assert servable.statistics.batches == 6


async def test_requests_of_a_batched_version_share_runs_and_get_their_own_rows(house: House) -> None:
    servable = await loaded(house, models.scales(2.0))
    many = [models.rows(index, -index) for index in range(30)]
    answers = await asyncio.gather(*(infer(servable, x=x) for x in many))
    assert all(np.array_equal(answer["y"], x * 2) for answer, x in zip(answers, many, strict=True))
    assert servable.statistics.batches < 30
    assert servable.statistics.success.count == 30


async def test_no_rows_are_answered_with_no_rows(house: House) -> None:
    servable = await loaded(house, models.scales(2.0))
    assert (await infer(servable, x=np.zeros((0, 4), np.float32)))["y"].shape == (0, 4)


@pytest.mark.parametrize("finite_outputs", [False, True])
async def test_an_answer_that_is_not_finite_is_counted_and_refused_where_that_is_promised(
    house: House, finite_outputs: bool
) -> None:
    servable = await loaded(house, models.inverts(), finite_outputs=finite_outputs)
    good, bad = infer(servable, x=models.rows(4)), infer(servable, x=models.rows(0))
    answers = await asyncio.gather(good, bad, return_exceptions=True)
    assert np.array_equal(answers[0]["y"], models.rows(0.25))  # type: ignore[index,call-overload]
    if finite_outputs:
        assert isinstance(answers[1], NotFinite)
        assert str(answers[1]) == "output 'y' of model 'm' is not finite for this input"
        assert failures(servable) == {BACKEND: 1}
    else:
        assert math.isinf(answers[1]["y"][0, 0])  # type: ignore[index,call-overload]
        assert failures(servable) == {}
    assert servable.statistics.non_finite == 1


async def test_an_answer_that_is_not_finite_because_the_question_was_not_is_no_fault_of_the_version(
    house: House,
) -> None:
    servable = await loaded(house, models.scales(2.0), finite_outputs=True)
    with pytest.raises(BadInput, match="output 'y' of model 'm' is not finite, and neither is input 'x'"):
        await infer(servable, x=models.rows(math.nan))
    assert failures(servable) == {OTHER: 1}


async def test_a_caller_that_leaves_counts_as_cancelled(house: House) -> None:
    servable = await loaded(house, graphs.loop())
    slow = asyncio.ensure_future(infer(servable, **models.turns(10_000_000)))
    await until(lambda: servable.batcher.pending == 1)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert failures(servable) == {CANCELED: 1}


async def test_it_closes_after_the_last_lease_and_takes_no_request_meanwhile(
    house: House, open_runners: list[OnnxRunner]
) -> None:
    servable = await loaded(house, models.scales(2.0), instances=2)
    one, other = ExitStack(), ExitStack()
    for lease in (one, other):
        lease.enter_context(servable)
    retiring = asyncio.ensure_future(servable.retire())
    await asyncio.sleep(0.02)
    assert (servable.state, servable.leases, len(open_runners)) == (State.DRAINING, 2, 2)
    assert np.array_equal((await infer(servable, x=ROWS))["y"], ROWS * 2)  # a lease of before the retirement
    one.close()
    await asyncio.sleep(0.02)
    assert not retiring.done()
    other.close()
    await retiring
    assert (servable.state, servable.leases, open_runners) == (State.CLOSED, 0, [])
    with pytest.raises(Draining):
        await infer(servable, x=ROWS)
    await servable.retire()
    assert servable.state is State.CLOSED


async def test_a_request_that_runs_when_its_lease_ends_is_answered_before_the_close(
    house: House, open_runners: list[OnnxRunner]
) -> None:
    servable = await loaded(house, models.scales(2.0))
    with held_runs(open_runners) as held:
        slow = asyncio.ensure_future(infer(servable, x=ROWS))
        await until(held.begun.is_set, within_s=30.0)
        retiring = asyncio.ensure_future(servable.retire())
        await until(lambda: servable.state is State.DRAINING, within_s=30.0)
        await asyncio.sleep(0.02)
        assert (retiring.done(), slow.done(), len(open_runners)) == (False, False, 1)
    await retiring
    assert (servable.state, open_runners) == (State.CLOSED, [])
    assert np.array_equal((await slow)["y"], ROWS * 2)


@pytest.mark.parametrize("onnx", [models.scales(2.0), models.softmax_over_rows()], ids=["batched", "one at a time"])
async def test_golden_cases_are_held_through_the_queue(house: House, onnx: bytes) -> None:
    rows = models.rows(*range(40))
    recorded = np.ones_like(rows) if onnx != models.scales(2.0) else rows * 2
    house.put("1", onnx, golden=({"x": rows}, {"y": recorded}))
    servable = servable_of(await house.started(), "1")
    report = await servable.hold_golden()
    assert report is not None
    assert (report.n, report.max_abs) == (40, 0.0)
    assert servable.statistics.success.count == 0


async def test_golden_cases_that_hold_no_more_are_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.put("1", models.scales(2.0), golden=({"x": ROWS}, {"y": ROWS * 2}))
    servable = servable_of(await house.started(), "1")
    monkeypatch.setattr(OnnxRunner, "run", lambda _runner, arrays: {"y": arrays["x"] * 3})
    with pytest.raises(Refused, match="golden cases do not hold"):
        await servable.hold_golden()


async def test_without_golden_cases_there_is_nothing_to_hold(house: House) -> None:
    assert await (await loaded(house, models.scales(2.0))).hold_golden() is None


async def test_the_models_own_timeout_and_queue_bound_every_request(house: House) -> None:
    queueing = {"max_queue_size": 1, "default_timeout_microseconds": 50_000}
    servable = await loaded(house, graphs.loop(), dynamic_batching=queueing)
    answers = [asyncio.ensure_future(infer(servable, **models.turns(10_000_000))) for _ in range(4)]
    await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    refused = [answer.exception() for answer in answers if answer.done()]
    assert refused and all(isinstance(error, (Expired, Rejected)) for error in refused)
    assert any(isinstance(error, Rejected) and "full" in str(error) for error in refused)
    for answer in answers:
        answer.cancel()
    await asyncio.gather(*answers, return_exceptions=True)


async def test_priority_and_timeout_of_a_request_reach_its_queue(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    servable = await loaded(house, models.scales(2.0))
    wishes: list[Any] = []
    submit = servable.batcher.submit

    async def noting(*args: Any, **wish: Any) -> Any:
        wishes.append((wish["priority"], wish["timeout_s"]))
        return await submit(*args, **wish)

    monkeypatch.setattr(servable.batcher, "submit", noting)
    for timeout_us in (None, 0, 250_000):
        await servable.infer(InferRequest({"x": ROWS}, priority=3, timeout_us=timeout_us), Deadline.never())
    assert wishes == [(3, None), (3, None), (3, 0.25)]


async def test_a_lease_holds_it_for_the_time_of_a_request(house: House) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    servable = servable_of(catalog, "1")
    with catalog.lease(ModelRef("m")) as leased:
        assert leased is servable
        assert servable.leases == 1
    assert servable.leases == 0
    with pytest.raises(BadInput):
        await ask(catalog, z=ROWS)
    assert servable.leases == 0


def test_equal_identities_answer_alike() -> None:
    assert ModelConfig() == ModelConfig()
    assert ModelConfig(max_batch_size=2) != ModelConfig()
