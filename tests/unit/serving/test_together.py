"""What features promise alone holds together: split, padded, cached, by level, in order, bad requests among them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import numpy as np
import onnxruntime
import pytest

from service.core.contract import Array, InferRequest, InferResponse
from service.core.errors import BadInput
from service.serving.servable import Servable
from tests.unit.serving import texts
from tests.unit.serving.house import House, counted, servable_of

REQUESTS = 150
ILLEGAL = 1 << 40  # no word: its row fails, and with it any batch
COMMON: dict[str, Any] = {"max_batch_size": 4, "instances": 2, "pad": texts.PAD}
QUEUES = {
    "priority_levels": 3,
    "max_queue_size": 10_000,
    "timeout_action": "DELAY",
    "default_timeout_microseconds": 100,
}


def made(draw: random.Random) -> dict[str, Array]:
    """One request: up to 10 rows where a run takes 4, of 1 to 20 words, in few enough kinds that some come again."""
    kind = np.random.default_rng(draw.randrange(40))
    rows, length = int(kind.integers(1, 11)), int(kind.integers(1, 21))
    mask = np.ones((rows, length), np.int64)
    mask[:, 1 + int(kind.integers(0, length)) :] = 0
    return {"ids": kind.integers(0, texts.WORDS, (rows, length)), "mask": mask}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"dynamic_batching": {**QUEUES, "preserve_ordering": True}},
        {"dynamic_batching": {**QUEUES, "max_queue_delay_microseconds": 500}, "response_cache": {}},
    ],
    ids=["padded", "in order", "cached"],
)
async def test_everyone_gets_their_own_answer_and_each_is_counted_once(house: House, config: dict[str, Any]) -> None:
    onnx = texts.heeds_its_mask()
    house.put("1", onnx)
    house.configure(**COMMON, **config)
    servable = servable_of(await house.started(), "1")
    assert servable.padding.pads is not None
    draw, truth = random.Random(3), onnxruntime.InferenceSession(onnx)
    ends = await asyncio.gather(*(_ask(servable, draw, truth, number) for number in range(REQUESTS)))
    statistics = servable.statistics
    failed = {reason: duration.count for reason, duration in statistics.failures.items() if duration.count}
    assert (statistics.success.count, sum(failed.values())) == (
        ends.count("answered"),
        REQUESTS - ends.count("answered"),
    )
    assert failed.get("OTHER") == ends.count("failed") > 0
    assert failed.get("CANCELED", 0) == ends.count("left")
    assert (servable.batcher.pending, servable.leases, servable.batcher.healthy) == (0, 0, True)
    assert statistics.cache_hit.count + statistics.cache_miss.count == (
        ends.count("answered") if "response_cache" in config else 0
    )


async def _ask(servable: Servable, draw: random.Random, truth: onnxruntime.InferenceSession, number: int) -> str:
    """One request and how it ended; its answer is that of the graph alone."""
    inputs = made(draw)
    if number % 10 == 3:
        inputs["ids"][-1, 0] = ILLEGAL
    request = InferRequest(inputs, priority=draw.randrange(5))
    asked = asyncio.create_task(counted(servable, request))
    await asyncio.sleep(0)
    if number % 10 == 7:
        asked.cancel()
    try:
        answer: InferResponse = await asked
    except BadInput:
        assert number % 10 == 3
        return "failed"
    except asyncio.CancelledError:
        assert number % 10 == 7
        return "left"
    for name, expected in zip(("hidden", "pooled"), truth.run(["hidden", "pooled"], inputs), strict=True):
        np.testing.assert_allclose(answer.outputs[name], expected, rtol=1e-4, atol=1e-5)
    return "answered"
