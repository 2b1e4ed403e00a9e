from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.batching.policy import wait_limits
from service.runtime.onnx import OnnxRunner
from tests.unit.serving.house import House


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues may stand for a minute where a test says nothing else: on a busy machine runs take many times as long."""
    monkeypatch.setattr(
        "service.batching.admission.wait_limits",
        lambda run_s, most_s: wait_limits(run_s, 60.0 if most_s is None else most_s),
    )


@pytest.fixture
def open_runners(monkeypatch: pytest.MonkeyPatch) -> list[OnnxRunner]:
    """Every real runner that was built and not closed yet."""
    runners: list[OnnxRunner] = []
    make, close = OnnxRunner.__init__, OnnxRunner.close

    def making(runner: OnnxRunner, *args: Any) -> None:
        make(runner, *args)
        runners.append(runner)

    def closing(runner: OnnxRunner) -> None:
        close(runner)
        if runner in runners:
            runners.remove(runner)

    monkeypatch.setattr(OnnxRunner, "__init__", making)
    monkeypatch.setattr(OnnxRunner, "close", closing)
    return runners


@pytest.fixture
async def house(tmp_path: Path, open_runners: list[OnnxRunner]) -> AsyncIterator[House]:
    """A house that must leave no runner open and no lease taken."""
    house = House(tmp_path)
    yield house
    await house.close()
    assert not open_runners
    assert house.fatal == []
