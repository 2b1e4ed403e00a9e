"""The order of a start: a process for the first trial where one is to be expected, then the server."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.cli import launch
from service.cli.failure import Failure
from service.runtime import trial_memory
from service.runtime.trial_process import TrialLimits
from service.settings import Settings


class Ahead:
    """In the place of a process that waits."""

    def __init__(self, limits: TrialLimits) -> None:
        self.limits = limits
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the server is given in place of starting."""
    given: list[Any] = []

    def serve(_settings: Settings, _say: object, ahead: Ahead | None) -> int:
        assert gc.isenabled()
        assert ahead is None or not ahead.closed
        given.append(ahead)
        return 3

    monkeypatch.setattr(launch, "TrialAhead", Ahead)
    monkeypatch.setitem(sys.modules, "service.app", SimpleNamespace(serve=serve))  # type: ignore[arg-type]
    yield given
    gc.unfreeze()


def settings(state_dir: Path | None, **more: Any) -> Settings:
    return Settings.read({"state_dir": state_dir, **more})


@pytest.mark.parametrize("state", [True, False])
def test_where_nothing_was_tried_a_process_waits_and_is_ended_at_last(
    given: list[Any], tmp_path: Path, state: bool
) -> None:
    asked = settings(tmp_path, load_timeout_s=100.0)
    asked = asked if state else asked.model_copy(update={"state_dir": None})
    assert launch.launch(asked, print) == 3
    [ahead] = given
    assert ahead.limits.timeout_s < 100
    assert ahead.limits.memory_bytes == asked.trial_memory_bytes
    assert ahead.closed


def test_a_restart_and_a_server_that_trusts_every_file_pay_nothing(given: list[Any], tmp_path: Path) -> None:
    launch.launch(settings(tmp_path, trial_memory_bytes=0), print)
    (tmp_path / trial_memory.FILE).write_text("{}")
    launch.launch(settings(tmp_path), print)
    assert given == [None, None]


def test_where_no_process_is_to_be_had_the_server_starts_all_the_same(
    given: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_limits: TrialLimits) -> Ahead:
        raise BlockingIOError("Resource temporarily unavailable")  # as fork says it at the limit of processes

    monkeypatch.setattr(launch, "TrialAhead", refuse)
    assert launch.launch(settings(tmp_path), print) == 3
    assert given == [None]


def test_a_state_folder_that_cannot_be_looked_into_does_not_keep_the_server_from_starting(
    given: list[Any], tmp_path: Path
) -> None:
    assert launch.launch(settings(tmp_path / ("x" * 300)), print) == 3
    assert given == [None]


def test_the_collector_rests_while_the_server_is_imported_and_not_after(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[bool] = []

    class Importing:
        def __getattr__(self, name: str) -> object:
            seen.append(gc.isenabled())
            raise ValueError(f"OTEL_PROPAGATORS is wrong for {name}")

    monkeypatch.setattr(launch, "TrialAhead", Ahead)
    monkeypatch.setitem(sys.modules, "service.app", Importing())  # type: ignore[arg-type]
    with pytest.raises(Failure, match="cannot start: OTEL_PROPAGATORS is wrong"):
        launch.launch(settings(tmp_path), print)
    gc.unfreeze()
    assert not any(seen)
    assert seen
    assert gc.isenabled()
