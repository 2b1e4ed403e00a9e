"""A version with a response cache: what is answered from it, what never is, and how it is counted."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from service.batching.contract import Answer
from service.core.contract import NO_TIME, Array, InferRequest, InferResponse, RequestedOutput
from service.core.deadline import Deadline
from service.core.errors import NotFinite
from service.serving import cached
from service.serving.servable import Servable
from tests.unit.serving import models
from tests.unit.serving.house import House, counted, servable_of, until

ROWS = models.rows(1, 2)


async def caching(house: House, onnx: bytes, **config: object) -> Servable:
    house.put("1", onnx)
    house.configure(response_cache={"max_bytes": 1 << 20}, **config)
    return servable_of(await house.started(), "1")


async def ask(servable: Servable, *outputs: str, **inputs: Array) -> InferResponse:
    return await counted(servable, InferRequest(inputs, tuple(RequestedOutput(name) for name in outputs), id="mine"))


async def test_the_same_inputs_are_answered_without_a_run(house: House) -> None:
    servable = await caching(house, models.scales(2.0))
    first, second = await ask(servable, x=ROWS), await ask(servable, x=ROWS.copy())
    assert (first.cached, second.cached, second.id) == (False, True, "mine")
    assert np.array_equal(second.outputs["y"], ROWS * 2)
    assert servable.statistics.batches == 1
    assert not (await ask(servable, x=ROWS + 1)).cached
    assert servable.statistics.batches == 2


async def test_what_a_client_does_to_its_answer_is_not_seen_by_the_next(house: House) -> None:
    servable = await caching(house, models.scales(2.0))
    first = await ask(servable, x=ROWS)
    first.outputs["y"][:] = 7
    assert np.array_equal((await ask(servable, x=ROWS)).outputs["y"], ROWS * 2)


async def test_every_selection_of_outputs_comes_from_the_same_answer(house: House) -> None:
    servable = await caching(house, models.sum_and_difference())
    inputs = {"a": ROWS, "b": np.ones((2, 4), np.int64)}
    await ask(servable, "sum", **inputs)
    answer = await ask(servable, "difference", "sum", **inputs)
    assert (answer.cached, list(answer.outputs)) == (True, ["difference", "sum"])
    assert np.array_equal(answer.outputs["difference"], ROWS - 1)


async def test_hits_and_misses_are_counted_as_triton_does(house: House) -> None:
    servable = await caching(house, models.scales(2.0))
    for _ in range(3):
        await ask(servable, x=ROWS)
    told = servable.statistics.to_triton()
    stats = told["inference_stats"]
    assert (told["inference_count"], told["execution_count"]) == (2, 1)
    found = {name: stats[name]["count"] for name in ("success", "queue", "compute_infer", "cache_hit", "cache_miss")}
    assert found == {"success": 3, "queue": 3, "compute_infer": 1, "cache_hit": 2, "cache_miss": 1}
    assert stats["cache_hit"]["ns"] > 0
    assert stats["cache_miss"]["ns"] > 0


async def test_without_the_key_nothing_is_kept(house: House) -> None:
    house.put("1", models.scales(2.0))
    servable = servable_of(await house.started(), "1")
    for _ in range(2):
        assert not (await ask(servable, x=ROWS)).cached
    assert (servable.statistics.batches, servable.statistics.caches) == (2, False)


@pytest.mark.parametrize("strict", [True, False])
async def test_what_is_not_finite_is_not_kept(house: House, strict: bool) -> None:
    servable = await caching(house, models.inverts(), finite_outputs=strict)
    zero = models.rows(0)
    for _ in range(2):
        if strict:
            with pytest.raises(NotFinite):
                await ask(servable, x=zero)
        else:
            assert not (await ask(servable, x=zero)).cached
    assert servable.cache is not None
    assert len(servable.cache.kept) == 0
    assert servable.statistics.cache_hit.count == 0


async def test_a_version_that_draws_at_random_keeps_nothing_and_says_so(house: House) -> None:
    servable = await caching(house, models.draws_lots())
    assert servable.cache is None
    assert not servable.examined.repeats
    (warning,) = house.logged("answers are not kept: one input may be answered differently twice")
    assert (warning["level"], warning["version"]) == ("warning", "1")


async def test_large_inputs_are_hashed_on_a_thread_and_past_the_busy_ones_not_at_all(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    servable = await caching(house, models.scales(2.0), max_batch_size=4)
    large = np.ones((cached.INLINE_BYTES // 16 + 1, 4), np.float32)
    threads: list[str] = []
    hashed, all_hashed = cached.in_thread, asyncio.Barrier(cached.THREADS)

    async def noted(name: str, work: object) -> object:
        threads.append(name)
        result = await hashed(name, work)  # type: ignore[arg-type]
        if len(threads) <= cached.THREADS:
            await all_hashed.wait()  # or the answer to the one would be kept before the other looks for it
        return result

    monkeypatch.setattr(cached, "in_thread", noted)
    assert servable.cache is not None
    await servable.cache.answer(
        {"x": large[:1]}, lambda: servable.batcher.submit({"x": large[:1]}, 1, Deadline.never())
    )
    assert threads == []
    answers = await asyncio.gather(
        *(
            servable.cache.answer({"x": large}, lambda: servable.batcher.submit({"x": ROWS}, 2, Deadline.never()))
            for _ in range(4)
        )
    )
    assert len(threads) == cached.THREADS
    assert [was_kept for _, was_kept in answers] == [False] * 4
    assert (await servable.cache.answer({"x": large}, _never))[1]


async def _never() -> object:  # type: ignore[misc]
    raise AssertionError("a kept answer was run for")


async def test_large_answers_are_copied_on_a_thread_and_past_the_busy_ones_not_kept(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    servable = await caching(house, models.scales(2.0))
    assert servable.cache is not None
    names: list[str] = []
    beside = cached.in_thread

    async def noted(name: str, work: object) -> object:
        names.append(name)
        return await beside(name, work)  # type: ignore[arg-type]

    monkeypatch.setattr(cached, "in_thread", noted)
    large = np.ones(cached.INLINE_BYTES + 1, np.uint8)

    async def run() -> Answer:
        return Answer({"y": large}, NO_TIME, 1)

    asked = [servable.cache.answer({"x": np.float32([row])}, run) for row in range(4)]
    await asyncio.gather(*asked)
    assert names == ["copy of an answer"] * cached.THREADS
    assert len(servable.cache.kept) == cached.THREADS
    large[:] = 7
    kept, was_kept = await servable.cache.answer({"x": np.float32([0])}, run)
    assert (was_kept, kept.outputs["y"][0]) == (True, 1)


async def test_a_client_that_leaves_frees_no_thread_that_still_works(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    servable = await caching(house, models.scales(2.0))
    assert servable.cache is not None
    go = threading.Event()
    monkeypatch.setattr(cached, "key_of", lambda _inputs: str(go.wait(30)).encode())
    large = {"x": np.ones(cached.INLINE_BYTES + 1, np.uint8)}

    async def run() -> Answer:
        return Answer({"y": ROWS}, NO_TIME, 1)

    leaving = [asyncio.create_task(servable.cache.answer(large, run)) for _ in range(cached.THREADS)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    assert not (await servable.cache.answer(large, run))[1]  # past the cache: at once, although nothing is hashed
    go.set()
    await until(lambda: servable.cache is not None and servable.cache._busy == 0)


async def test_where_no_thread_is_to_be_had_requests_go_past_the_cache_until_there_is_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    servable = await caching(house, models.scales(2.0))
    assert servable.cache is not None
    large = {"x": np.ones(cached.INLINE_BYTES + 1, np.uint8)}

    async def run() -> Answer:
        return Answer({"y": ROWS}, NO_TIME, 1)

    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        for _ in range(2 * cached.THREADS):
            assert not (await servable.cache.answer(large, run))[1]
    assert [(await servable.cache.answer(large, run))[1] for _ in range(2)] == [False, True]


async def test_the_cache_goes_with_the_version(house: House) -> None:
    servable = await caching(house, models.scales(2.0))
    await ask(servable, x=ROWS)
    assert servable.cache is not None
    assert len(servable.cache.kept) == 1
    await house.opened[-1].unload("m")
    assert len(servable.cache.kept) == 0
