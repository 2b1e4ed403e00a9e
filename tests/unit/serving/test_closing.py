"""Every runner is closed, whatever stands in the way of that."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from service.runtime.onnx import OnnxRunner
from service.serving.closing import close_runners
from tests.unit.serving import models
from tests.unit.serving.house import House


async def test_they_are_closed_beside_the_loop_also_where_one_does_not_close_well() -> None:
    closed: list[str] = []

    def fail() -> None:
        raise OSError("it will not go")

    def close() -> None:
        closed.append(threading.current_thread().name)

    runners: list[Any] = [SimpleNamespace(close=end) for end in (close, fail, close)]
    with pytest.raises(OSError, match="will not go"):
        await close_runners("m/1", runners)
    assert closed == ["close m/1"] * 2


async def test_a_reload_for_whose_end_there_is_no_thread_is_none_that_failed(
    house: House, open_runners: list[OnnxRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, nice = threading.Thread.start, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def refused(thread: threading.Thread) -> None:
        if thread.name.startswith("close "):
            raise RuntimeError("can't start new thread")
        start(thread)

    house.put("1", models.scales(2.0))
    catalog = await house.started()
    house.put("1", models.scales(3.0))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        await catalog.load("m")
    assert len(open_runners) == 1
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == nice, "the loop stands back for nobody"
