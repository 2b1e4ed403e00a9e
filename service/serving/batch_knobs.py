"""The batcher's knobs as a model's configuration gives them. Knows nothing of how they are obeyed."""

from __future__ import annotations

from service.batching.contract import BatchConfig, WaitPolicy
from service.repository.config_sections import QueuePolicy
from service.repository.model_config import ModelConfig


def batch_config(config: ModelConfig, *, mixes: bool, inline_limit_s: float, shapes_vary: bool = False) -> BatchConfig:
    """The batcher's knobs as model.yaml gives them, with what was found out about the version."""
    queueing = config.dynamic_batching
    return BatchConfig(
        max_rows=config.max_batch_size,
        max_delay_s=config.max_queue_delay_s,
        preferred_rows=tuple(queueing.preferred_batch_size),
        waiting=_wait_policy(queueing),
        levels=queueing.priority_levels,
        default_level=queueing.default_priority_level,
        level_waiting={level: _wait_policy(own) for level, own in queueing.priority_queue_policy.items()},
        keeps_order=queueing.preserve_ordering,
        mixes=mixes,
        inline_limit_s=inline_limit_s,
        shapes_vary=shapes_vary,
    )


def _wait_policy(given: QueuePolicy) -> WaitPolicy:
    return WaitPolicy(
        max_queue=given.max_queue_size,
        max_wait_s=given.max_queue_wait_microseconds / 1e6 or None,
        default_timeout_s=given.default_timeout_microseconds / 1e6 or None,
        allows_timeout=given.allow_timeout_override,
        delays=given.timeout_action == "DELAY",
    )
