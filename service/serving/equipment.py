"""What a servable gets beside its batcher, as its configuration says: the order of its sequences, a response cache."""

from __future__ import annotations

from collections.abc import Sequence

from service.core.clock import Clock
from service.observe.statistics import VersionStatistics
from service.repository.model_config import ModelConfig
from service.runtime.runner import Runner
from service.serving.cached import CachedAnswers
from service.serving.examine import Examined
from service.serving.sequencer import Sequencer, limits_of
from service.serving.servable import Servable
from service.serving.state_plan import StatePlan
from service.serving.stateful_runner import StatefulRunner


def plan_of(runners: Sequence[Runner]) -> StatePlan | None:
    """States and controls of a stateful version; None for every other."""
    first = runners[0]
    return first.plan if isinstance(first, StatefulRunner) else None


def sequencer_of(
    model: str, config: ModelConfig, plan: StatePlan | None, statistics: VersionStatistics, clock: Clock
) -> Sequencer | None:
    """What orders the requests of sequences; None for a version that keeps no state."""
    if plan is None:
        return None
    default_timeout_s = config.dynamic_batching.default_timeout_microseconds / 1e6 or None
    return Sequencer(model, plan, limits_of(config), statistics.sequences, clock, default_timeout_s)


def cache_of(config: ModelConfig, examined: Examined, statistics: VersionStatistics) -> CachedAnswers | None:
    """The kept answers; None where none are asked for, and for a version whose answers are drawn at random."""
    if config.response_cache is None or not examined.repeats:
        return None
    return CachedAnswers(config.response_cache.max_bytes, statistics)


def note_load(servable: Servable) -> None:
    """Says in a version's statistics what is loaded: at its load, and again where another load of it was undone."""
    identity, origins, statistics = servable.identity, servable.origins, servable.statistics
    size = identity.card.size if identity.card is not None else None
    statistics.memory_bytes = (size.resident_bytes if size is not None else None) or identity.bytes_total
    statistics.load_s = (origins.load_ms + origins.warm_ms) / 1e3
    statistics.processes = origins.processes
