"""What is known of one model: its configuration, every version and how it stands, and the pointer to the active one.

Plain state without a policy; `lifecycle` alone changes it, on the event loop's thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from service.observe.logs import Log
from service.observe.statistics import ModelStatistics, VersionStatistics
from service.repository.card import Card
from service.repository.model_config import ModelConfig
from service.serving.heart import Heart
from service.serving.operations import Operations
from service.serving.reports import VersionView
from service.serving.sequence_holders import SequenceHolders
from service.serving.servable import Servable, State


@dataclass(slots=True)
class Slot:
    """One version of a model.

    Attributes:
        statistics: of all its loads together, so that no counter goes back when it is closed.
        state: NOT_LOADED, LOADING or FAILED while there is no servable; the servable's own state otherwise.
        reason: why it is not loaded.
        passing: whether it is not loaded because what runs it was not to be had at that moment.
        card: what its card says, once read.
        servable: the loaded version.
    """

    version: str
    statistics: VersionStatistics
    state: State = State.NOT_LOADED
    reason: str = ""
    passing: bool = False
    card: Card | None = None
    servable: Servable | None = None

    def pending(self) -> int:
        """Requests of clients that wait for its answers."""
        return self.servable.batcher.pending if self.servable is not None else 0


@dataclass(slots=True)
class Entry:
    """One model.

    Attributes:
        config: as last read; None while it could not be read, with `reason`.
        waits: whether its turn to be loaded at the start has not come.
        slots: version -> slot.
        active: who answers when the client names no version.
        previous: the version before the last swap, what a rollback returns to.
        heart: the probe of `active`.
        holders: the versions that may have open sequences.
    """

    name: str
    operations: Operations
    statistics: ModelStatistics
    config: ModelConfig | None = None
    reason: str = ""
    waits: bool = False
    slots: dict[str, Slot] = field(default_factory=dict)
    active: Servable | None = None
    previous: str | None = None
    heart: Heart | None = None
    holders: SequenceHolders = field(default_factory=SequenceHolders)

    @property
    def why(self) -> str:
        """Why the model as a whole does not answer, "" where nothing is known to be wrong."""
        return "its turn to be loaded has not come" if self.waits and self.active is None else self.reason

    @property
    def standing(self) -> str:
        """One of `names.STANDINGS`: whether it answers, and if not, whether that is about to change."""
        if self.active is not None and self.active.state is State.READY:
            return "ready"
        if self.waits:
            return "waiting"
        return "loading" if self.operations.running is not None else "unavailable"

    def seat(self, slot: Slot, servable: Servable, log: Log) -> None:
        """Puts a loaded version into its slot, and logs that."""
        slot.servable, slot.card, slot.reason, slot.passing = servable, servable.card, "", False
        self.holders.add(servable)
        if servable.sequencer is not None:
            slot.statistics.sequences.open = partial(self.holders.open_in, slot.version)
        named = {"model": self.name, "version": slot.version}
        log.info("loaded", load_ms=round(servable.origins.load_ms, 1), **named)
        if servable.config.response_cache is not None and servable.cache is None:
            log.warning("answers are not kept: one input may be answered differently twice", **named)
        if servable.padding.reason:
            log.warning("padding refused", reason=servable.padding.reason, **named)

    def slot(self, version: str) -> Slot:
        """The slot of `version`, made when it is new."""
        slot = self.slots.get(version)
        if slot is None:
            slot = self.slots[version] = Slot(version, VersionStatistics(self.name, version))
            slot.statistics.pending = slot.pending
        return slot

    def servable(self, version: str) -> Servable | None:
        """The loaded servable of `version`."""
        slot = self.slots.get(version)
        return slot.servable if slot is not None else None

    def loaded(self) -> list[Servable]:
        """Every loaded version."""
        return [slot.servable for slot in self.slots.values() if slot.servable is not None]

    def wait_for_none(self) -> None:
        """Forgets which versions might be loaded once what runs them is there again."""
        for slot in self.slots.values():
            slot.passing = False

    def view(self, slot: Slot) -> VersionView:
        """How `slot` looks from outside."""
        servable = slot.servable
        if servable is None:
            return VersionView(self.name, slot.version, slot.state.value, slot.reason, False, slot.card)
        return VersionView(
            self.name,
            slot.version,
            servable.state.value,
            slot.reason,
            servable is self.active,
            servable.card,
            disk_bytes=servable.identity.disk_bytes,
            unverified_here=servable.origins.golden is not None and not servable.verified_here,
            load_s=(servable.origins.load_ms + servable.origins.warm_ms) / 1e3,
            warnings=servable.config.warnings,
        )
