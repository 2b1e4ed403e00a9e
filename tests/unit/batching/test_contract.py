"""The knobs refuse what makes no sense, and the nouns are what others rely on."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from service.batching.contract import BatchConfig, CloseReason, DropReason, WaitPolicy


def test_a_batcher_that_could_take_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="max_rows must be at least 1"):
        BatchConfig(max_rows=0)
    with pytest.raises(ValueError, match="max_queue must be at least 1"):
        WaitPolicy(max_queue=0)


def test_by_default_nothing_waits_for_more_and_nothing_is_unbounded() -> None:
    config = BatchConfig()
    assert (config.max_delay_s, config.preferred_rows, config.max_rows, config.mixes) == (0.0, (), 32, True)
    assert config.waiting == WaitPolicy(max_queue=1024, default_timeout_s=None, allows_timeout=True, delays=False)
    assert (config.levels, dict(config.level_waiting), config.keeps_order) == (0, {}, False)


def test_knobs_do_not_change_under_way() -> None:
    with pytest.raises(FrozenInstanceError):
        BatchConfig().max_rows = 3  # type: ignore[misc]


def test_reasons_are_the_strings_that_metrics_carry() -> None:
    assert [str(reason) for reason in DropReason] == ["expired", "abandoned"]
    assert f"{CloseReason.IDLE_RUNNER}" == "idle_runner"
