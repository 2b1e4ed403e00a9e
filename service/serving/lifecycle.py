"""Loads, swaps, rolls back and unloads the versions of one model; a failure at any step leaves what served untouched.

Each method is one whole operation: `catalog` sees to it that they do not overlap for one model. The pointer is
exchanged in one place, `_activate`, after the new version was checked and warmed and the choice was made durable.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from structlog.stdlib import BoundLogger

from service.core.errors import BadModel, NotFound, Refused, RetortError
from service.repository.layout import Source
from service.repository.model_config import ModelConfig
from service.repository.state_file import ActiveRecord, StateFile
from service.serving.entry import Entry, Slot
from service.serving.gate import FORCED, NOT_MEASURED_HERE, decide
from service.serving.golden import GoldenReport
from service.serving.heart import Heart
from service.serving.loader import Loader
from service.serving.policy import choose_active, reload_plan, resident
from service.serving.reports import SwapReport, agreement_of
from service.serving.servable import Servable, State
from service.serving.threads import in_thread

NOT_DURABLE = "not-durable"
Then = Callable[[], None]


class Lifecycle:
    """The operations on a model.

    Args:
        source: where versions are read from.
        loader: makes servables.
        state: remembers active versions across restarts.
        log: structured log.
    """

    def __init__(self, source: Source, loader: Loader, state: StateFile, log: BoundLogger) -> None:
        self._source = source
        self._loader = loader
        self._state = state
        self._log = log

    async def load(self, entry: Entry) -> None:
        """(Re)reads configuration, files and residency; makes a version active only where none is.

        Raises:
            NotFound: the model is not in the repository.
            RetortError: what the first version that did not load failed with; the others are loaded all the same.
        """
        config, versions = await self._scan(entry)
        unloaded = [slot for slot in entry.slots.values() if slot.servable is None]
        await in_thread(f"cards of {entry.name}", lambda: self._read_cards(entry.name, unloaded))
        active = entry.active.version if entry.active else self._choice(entry, config, versions)
        plan = reload_plan(resident(versions, config.versions, active), [s.version for s in entry.loaded()])
        failures: list[RetortError] = []
        for version in plan.load:
            await self._refresh(entry, version, failures)
        if entry.active is None and active is not None:
            await self._first_activation(entry, active, failures)
        for version in plan.retire:
            await self._retire(entry, version)
        if failures:
            raise failures[0]

    async def swap(self, entry: Entry, version: str, *, force: bool, then: Then = lambda: None) -> SwapReport:
        """Makes `version` active, and calls `then` when it is, before the old one drains.

        Raises:
            NotFound: there is no such version.
            Refused: the gate or the golden cases say no, or it cannot take the active version's place.
            BadModel, DoesNotFit, Stuck: it could not be loaded.
        """
        servable, loaded_now = await self._ready_version(entry, version)
        try:
            servable.check_follows(entry.active)
            warnings = self._gate(servable, force=force)
            report = servable.examined.golden if loaded_now else await servable.hold_golden()
        except RetortError:
            if loaded_now:
                await self._retire_unless_resident(entry, version)
            raise
        return await self._exchange(entry, servable, report, loaded_now, warnings, then, ungated=FORCED in warnings)

    async def rollback(self, entry: Entry) -> SwapReport:
        """Makes the version before the last swap active again; never gated.

        Raises:
            NotFound: there was no swap.
        """
        if entry.previous is None:
            raise NotFound(f"model '{entry.name}' has no earlier active version to roll back to")
        servable, loaded_now = await self._ready_version(entry, entry.previous)
        return await self._exchange(entry, servable, servable.examined.golden, loaded_now, [], ungated=True)

    def give_up_loads(self) -> None:
        """Gives up every load that is under way: the server shuts down."""
        self._loader.give_up()

    async def unload(self, entry: Entry) -> None:
        """Drains and closes every version; the model stays listed and can be loaded again."""
        entry.active = None
        entry.holders.end_all()
        await self._replace_heart(entry)
        for servable in entry.loaded():
            await self._retire(entry, servable.version, "unloaded")

    async def _scan(self, entry: Entry) -> tuple[ModelConfig, list[str]]:
        name = entry.name
        try:
            config = await in_thread(f"read {name}", lambda: self._source.read_config(name))
            versions = await in_thread(f"list {name}", lambda: self._source.versions(name))
        except RetortError as error:
            entry.reason = str(error)
            raise
        entry.config, entry.reason = config, ""
        for version in versions:
            entry.slot(version)
        for gone in [slot for slot in entry.slots.values() if slot.version not in versions and slot.servable is None]:
            del entry.slots[gone.version]
        if not versions:
            entry.reason = f"model '{name}' has no version with a model.onnx"
            raise BadModel(entry.reason)
        return config, versions

    def _read_cards(self, model: str, slots: list[Slot]) -> None:
        """Reads what is shown of versions that are not loaded; why a card is wrong is said when its version loads."""
        for slot in slots:
            slot.card = None
            with suppress(BadModel, NotFound):
                slot.card = self._source.read_card(model, slot.version)

    def _choice(self, entry: Entry, config: ModelConfig, versions: list[str]) -> str | None:
        record = self._state.read().get(entry.name)
        entry.previous = record.previous if record is not None and record.previous in versions else None
        return choose_active(versions, config.active, record)

    async def _refresh(self, entry: Entry, version: str, failures: list[RetortError]) -> None:
        """Loads `version`, or exchanges it for what its files hold now; a failure leaves what served."""
        old = entry.servable(version)
        try:
            fresh = await self._load_into(entry.slot(version), entry, old)
            if fresh is not None and old is not None:
                await self._renew(entry, fresh, old)
        except RetortError as error:
            failures.append(error)

    async def _renew(self, entry: Entry, fresh: Servable, old: Servable) -> None:
        """Puts `fresh` in the place of `old`, the same version from older files; the gate guards the pointer."""
        if entry.active is old:
            try:
                self._gate(fresh, force=self._was_forced(entry, fresh.version))
            except Refused as error:
                slot = entry.slot(old.version)
                slot.servable, slot.card, slot.reason = old, old.card, str(error)
                await fresh.retire()
                raise
            entry.active = fresh
            await self._replace_heart(entry)
        await old.retire()

    async def _first_activation(self, entry: Entry, version: str, failures: list[RetortError]) -> None:
        servable = entry.servable(version)
        if servable is None:
            entry.reason = entry.slot(version).reason
            return
        try:
            self._gate(servable, force=self._was_forced(entry, version))
        except Refused as error:
            entry.reason = f"version '{version}' may not become active: {error}"
            failures.append(error)
            return
        entry.active = servable
        await self._replace_heart(entry)

    def _was_forced(self, entry: Entry, version: str) -> bool:
        """Whether an operator made `version` active without the gate's leave, by force or by a rollback."""
        record = self._state.read().get(entry.name)
        return record is not None and record.forced and record.active == version

    async def _ready_version(self, entry: Entry, version: str) -> tuple[Servable, bool]:
        """The servable of `version`, loaded now if it is not resident, and whether it was loaded now."""
        present = entry.servable(version)
        if present is not None and present.state is State.READY:
            return present, False
        _, versions = await self._scan(entry)
        if version not in versions:
            raise NotFound(f"model '{entry.name}' has no version '{version[:100]}'")
        loaded = await self._load_into(entry.slot(version), entry, None)
        assert loaded is not None  # noqa: S101 - nothing was loaded that it could be equal to
        return loaded, True

    async def _load_into(self, slot: Slot, entry: Entry, old: Servable | None) -> Servable | None:
        """Loads the slot's version; None when its files and configuration are those of `old`."""
        assert entry.config is not None  # noqa: S101 - `_scan` came first
        if old is None:
            slot.state, slot.reason = State.LOADING, ""
        try:
            fresh = await self._loader.load(
                entry.name,
                slot.version,
                entry.config,
                unless=old.identity if old else None,
                statistics=slot.statistics,
            )
        except Exception as error:
            expected = isinstance(error, RetortError)
            slot.reason = str(error) if expected else "its load met an unexpected error, which the log shows"
            slot.state = State.FAILED if old is None else slot.state
            named = {"model": entry.name, "version": slot.version, "reason": slot.reason}
            self._log.warning("load failed", exc_info=None if expected else error, **named)
            if expected:
                raise
            raise BadModel(slot.reason) from error  # a defect of ours costs this version, not its neighbours
        if fresh is not None:
            entry.seat(slot, fresh, self._log)
        return fresh

    def _gate(self, servable: Servable, *, force: bool) -> list[str]:
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

    async def _exchange(
        self,
        entry: Entry,
        servable: Servable,
        golden: GoldenReport | None,
        loaded_now: bool,
        warnings: list[str],
        then: Then = lambda: None,
        *,
        ungated: bool,
    ) -> SwapReport:
        old = entry.active
        if not await self._activate(entry, servable, forced=ungated):
            warnings = [*warnings, NOT_DURABLE]
        then()
        exchanged_s = time.monotonic()
        if old is not None and old is not servable:
            await self._retire_unless_resident(entry, old.version)
        return SwapReport(
            model=entry.name,
            from_version=old.version if old else None,
            to_version=servable.version,
            agreement=agreement_of(servable.card, servable.machine),
            golden={"n": golden.n, "max_abs": golden.max_abs} if golden else None,
            load_ms=servable.origins.load_ms if loaded_now else 0.0,
            warm_ms=servable.origins.warm_ms if loaded_now else 0.0,
            drain_ms=(time.monotonic() - exchanged_s) * 1e3,
            warning=", ".join(warnings) or None,
        )

    async def _activate(self, entry: Entry, servable: Servable, *, forced: bool) -> bool:
        """Writes the choice down, then exchanges the pointer; False where it could not be made durable."""
        old = entry.active
        if old is not servable:
            entry.previous = old.version if old is not None else entry.previous
        configured = entry.config.active if entry.config else None
        record = ActiveRecord(servable.version, entry.previous, configured, forced)
        problem = await in_thread(f"state {entry.name}", lambda: self._state.write(entry.name, record))
        entry.active = servable
        await self._replace_heart(entry)
        if problem:
            self._log.warning("active version not durable", model=entry.name, reason=problem)
        return not problem

    async def _replace_heart(self, entry: Entry) -> None:
        old, entry.heart = entry.heart, Heart(entry.active, self._loader.clock, self._log) if entry.active else None
        if old is not None:
            await old.stop()

    async def _retire_unless_resident(self, entry: Entry, version: str) -> None:
        residency = entry.config.versions if entry.config else "all"
        active = entry.active.version if entry.active else None
        if version not in resident(list(entry.slots), residency, active):
            await self._retire(entry, version)

    async def _retire(self, entry: Entry, version: str, reason: str = "not resident") -> None:
        slot = entry.slot(version)
        if slot.servable is not None:
            try:
                await slot.servable.retire()
            finally:
                slot.servable, slot.state, slot.reason = None, State.NOT_LOADED, reason
