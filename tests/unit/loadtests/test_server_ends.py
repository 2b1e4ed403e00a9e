"""A server that ends while it is compared: the run ends soon, is invalid, and tells what was measured before."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from loadtests.order import Order
from loadtests.run import run
from loadtests.scenario import Scenario
from loadtests.watcher import Silent
from tests.support.scripted import Scripted, routed

METADATA = {
    "versions": ["1"],
    "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 2]}],
}
ANSWER = {
    "model_version": "1",
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 2], "data": [0.0, 1.0]}],
}
ROUTES: dict[str, Any] = {
    "GET /v2": {"extensions": []},
    "GET /v2/models/m": METADATA,
    "GET /v2/models/m/versions/1": METADATA,
    "POST /v2/models/m/versions/1/infer": ANSWER,
}


class Ends(Silent):
    """Ends the server after the first block."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def step(self, text: str) -> None:
        self._stack.close()


@pytest.mark.parametrize("mixed", [False, True], ids=["in turn", "mixed"])
def test_the_run_ends_and_is_invalid(monkeypatch: pytest.MonkeyPatch, mixed: bool) -> None:
    monkeypatch.setattr("loadtests.server.RESTART_S", 0.3)
    with ExitStack() as stack:
        server = stack.enter_context(Scripted(routed(ROUTES)))
        short = Scenario(summary="Short.", block_s=0.2, mixed=mixed)
        order = Order("m", (), (server.url,), short, rate=200.0, duration_s=60.0)
        outcome = run(order, Ends(stack))
    assert [one.round for one in outcome.blocks] == [0, 1]  # of three hundred
    assert outcome.blocks[0].good.all() and not outcome.blocks[1].good.any()
    assert not outcome.interrupted and not outcome.valid
    assert f"{server.url} does not answer any more since round 2." in outcome.problems
