"""The knobs refuse what makes no sense, and the nouns are what others rely on."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from service.batching.contract import BatchConfig, CloseReason, DropReason


@pytest.mark.parametrize("knobs", [{"max_rows": 0}, {"max_queue": 0}])
def test_a_batcher_that_could_take_nothing_is_refused(knobs: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        BatchConfig(**knobs)


def test_by_default_nothing_waits_for_more_and_nothing_is_unbounded() -> None:
    config = BatchConfig()
    assert (config.max_delay_s, config.default_timeout_s, config.preferred_rows) == (0.0, None, ())
    assert (config.max_rows, config.max_queue, config.mixes) == (32, 1024, True)


def test_knobs_do_not_change_under_way() -> None:
    with pytest.raises(FrozenInstanceError):
        BatchConfig().max_rows = 3  # type: ignore[misc]


def test_reasons_are_the_strings_that_metrics_carry() -> None:
    assert [str(reason) for reason in DropReason] == ["expired", "abandoned"]
    assert f"{CloseReason.IDLE_RUNNER}" == "idle_runner"
