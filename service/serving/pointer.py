"""The pointer to a model's active version: who may be it, who was, and the exchange, made durable first.

Knows nothing of how versions are loaded and retired.
"""

from __future__ import annotations

from service.core.clock import Clock
from service.core.errors import Refused
from service.observe.logs import Log
from service.repository.model_config import ModelConfig
from service.repository.state_file import ActiveRecord, StateFile
from service.serving.entry import Entry
from service.serving.gate import FORCED, NOT_MEASURED_HERE, decide
from service.serving.heart import Heart
from service.serving.policy import choose_active
from service.serving.servable import Servable
from service.serving.threads import in_thread


class Pointer:
    """Steps on the active version of an entry.

    Args:
        state: remembers active versions across restarts.
        clock: of the hearts.
        log: structured log.
    """

    def __init__(self, state: StateFile, clock: Clock, log: Log) -> None:
        self._state = state
        self._clock = clock
        self._log = log

    def choose(self, entry: Entry, config: ModelConfig, versions: list[str]) -> str | None:
        """The version that becomes active where none is, of `versions` on disk; remembers the one before it, too."""
        record = self._state.read().get(entry.name)
        chosen = choose_active(versions, config.active, record)
        before = (record.active, record.previous) if record is not None else ()
        entry.previous = next((version for version in before if version in versions and version != chosen), None)
        return chosen

    def was_forced(self, entry: Entry, version: str) -> bool:
        """Whether an operator made `version` active without the gate's leave, by force or by a rollback."""
        record = self._state.read().get(entry.name)
        return record is not None and record.forced and record.active == version

    def check_gate(self, servable: Servable, *, force: bool) -> list[str]:
        """Whether `servable` may become active; what is to be told if so. Raises Refused."""
        decision = decide(
            servable.card,
            servable.machine,
            profile=servable.config.gate,
            has_golden=servable.origins.golden is not None,
            force=force,
        )
        if not decision.allowed:
            raise Refused(decision.reason, decision.verdict)
        if decision.warning == FORCED:
            self._log.warning("gate overridden", model=servable.model, version=servable.version)
        return [decision.warning] if decision.warning in (FORCED, NOT_MEASURED_HERE) else []

    async def activate(self, entry: Entry, servable: Servable, *, forced: bool) -> bool:
        """Writes the choice down, then exchanges the pointer; False where it could not be made durable.

        Raises:
            Unavailable: there is no thread to write it down; nothing has changed.
        """
        old, previous = entry.active, entry.previous
        if old is not None and old is not servable:
            previous = old.version
        configured = entry.config.active if entry.config else None
        record = ActiveRecord(servable.version, previous, configured, forced)
        problem = await in_thread(f"state {entry.name}", lambda: self._state.write(entry.name, record))
        entry.active, entry.previous = servable, previous
        await self.replace_heart(entry)
        if problem:
            self._log.warning("active version not durable", model=entry.name, reason=problem)
        return not problem

    async def replace_heart(self, entry: Entry) -> None:
        """Lets the probe behind readiness follow the pointer."""
        old, entry.heart = entry.heart, Heart(entry.active, self._clock, self._log) if entry.active else None
        if old is not None:
            await old.stop()
