"""Loads, swaps, rolls back and unloads the versions of one model; a failure at any step leaves what served untouched.

Each method is one whole operation: `catalog` sees to it that they do not overlap for one model. The pointer is
exchanged in one place, `Pointer.activate`, after the new version was checked and warmed and the choice made durable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from service.core.errors import NotFound, Refused, RetortError
from service.observe.logs import Log
from service.repository.overlay import Overlay, Override
from service.repository.state_file import StateFile
from service.serving.entry import Entry
from service.serving.equipment import note_load
from service.serving.gate import FORCED
from service.serving.golden import GoldenReport
from service.serving.loader import Loader
from service.serving.pointer import Pointer
from service.serving.policy import reload_plan, resident
from service.serving.reports import SwapReport, agreement_of
from service.serving.servable import Servable, State
from service.serving.shelf import Shelf
from service.serving.takeover import Takeover
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

    def __init__(self, source: Overlay, loader: Loader, state: StateFile, log: Log) -> None:
        self._source = source
        self._loader = loader
        self._shelf = Shelf(source, loader, log)
        self._pointer = Pointer(state, loader.clock, log)
        self._takeover = Takeover(source, loader, self._shelf, self._pointer, state, log)

    async def load(self, entry: Entry, override: Override | None = None) -> None:
        """(Re)reads configuration, files and residency; makes a version active only where none is.

        Args:
            entry: of the model.
            override: what to read in place of the model's own; from a load with one, and from the next without, the
                model is taken over as a whole or not at all (`takeover`).

        Raises:
            NotFound: the model is not in the repository.
            RetortError: what the first version that did not load failed with; the others are loaded all the same.
        """
        if override is not None or self._source.given(entry.name) is not None:
            await self._takeover(entry, override)
            return
        config, versions = await self._shelf.scan(entry)
        unloaded = [slot for slot in entry.slots.values() if slot.servable is None]
        await in_thread(f"cards of {entry.name}", lambda: self._shelf.read_cards(entry.name, unloaded))
        active = entry.active.version if entry.active else self._pointer.choose(entry, config, versions)
        plan = reload_plan(resident(versions, config.versions, active), [s.version for s in entry.loaded()])
        for slot in entry.slots.values():
            slot.passing = slot.passing and slot.version in plan.load
        failures: list[RetortError] = []
        await self._refresh(entry, [version for version in plan.load if version == active], failures)
        if entry.active is None and active is not None:
            await self._first_activation(entry, active, failures)  # who names no version is answered from now on
        await self._refresh(entry, [version for version in plan.load if version != active], failures)
        for version in plan.retire:
            await self._shelf.retire(entry, version)
        try:
            if failures:
                raise failures[0]
        finally:
            failures.clear()  # its traceback holds this frame, and those in which it arose: no cycle of them

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
            warnings = self._pointer.check_gate(servable, force=force)
            report = servable.examined.golden if loaded_now else await servable.hold_golden()
        except RetortError:
            if loaded_now:
                await self._retire_unless_resident(entry, version)
            raise
        return await self._exchange(entry, servable, report, loaded_now, warnings, then, ungated=FORCED in warnings)

    async def rollback(self, entry: Entry, then: Then = lambda: None) -> SwapReport:
        """Makes the version before the last swap active again, and calls `then` when it is; never gated.

        Raises:
            NotFound: there was no swap.
        """
        if entry.previous is None:
            raise NotFound(f"model '{entry.name}' has no earlier active version to roll back to")
        servable, loaded_now = await self._ready_version(entry, entry.previous)
        return await self._exchange(entry, servable, servable.examined.golden, loaded_now, [], then, ungated=True)

    def give_up_loads(self) -> None:
        """Gives up every load that is under way: the server shuts down."""
        self._loader.give_up()

    async def unload(self, entry: Entry) -> None:
        """Drains and closes every version; the model stays listed and can be loaded again, from the repository."""
        entry.active = None
        entry.holders.end_all()
        entry.wait_for_none()  # nobody is to bring back what an operator took away
        await self._pointer.replace_heart(entry)
        for servable in entry.loaded():
            await self._shelf.retire(entry, servable.version, "unloaded")
        self._source.put(entry.name, None)  # what a load brought takes memory, and no load without it could end that

    async def _refresh(self, entry: Entry, versions: Sequence[str], failures: list[RetortError]) -> None:
        """Loads each version, or exchanges it for what its files hold now; a failure leaves what served."""
        for version in versions:
            old = entry.servable(version)
            try:
                fresh = await self._shelf.fill(entry.slot(version), entry, old)
                if fresh is not None and old is not None:
                    await self._renew(entry, fresh, old)
            except RetortError as error:
                failures.append(error)

    async def _renew(self, entry: Entry, fresh: Servable, old: Servable) -> None:
        """Puts `fresh` in the place of `old`, the same version from older files; the gate guards the pointer."""
        if entry.active is old:
            try:
                self._pointer.check_gate(fresh, force=self._pointer.was_forced(entry, fresh.version))
            except Refused as error:
                slot = entry.slot(old.version)
                slot.servable, slot.card, slot.reason = old, old.card, str(error)
                note_load(old)
                await fresh.retire()
                raise
            entry.active = fresh
            await self._pointer.replace_heart(entry)
        await old.retire()

    async def _first_activation(self, entry: Entry, version: str, failures: list[RetortError]) -> None:
        servable = entry.servable(version)
        if servable is None:
            if isinstance(failures[-1], NotFound) and entry.config is not None and entry.config.active == version:
                told = f"the configuration of model '{entry.name}' says `active: {version}`, and it has no such version"
                failures[-1] = NotFound(told)
            entry.reason = str(failures[-1])
            return
        try:
            self._pointer.check_gate(servable, force=self._pointer.was_forced(entry, version))
        except Refused as error:
            entry.reason = f"version '{version}' may not become active: {error}"
            failures.append(error)
            return
        entry.active = servable
        await self._pointer.replace_heart(entry)

    async def _ready_version(self, entry: Entry, version: str) -> tuple[Servable, bool]:
        """The servable of `version`, loaded now if it is not resident, and whether it was loaded now."""
        present = entry.servable(version)
        if present is not None and present.state is State.READY:
            return present, False
        _, versions = await self._shelf.scan(entry)
        if version not in versions:
            raise NotFound(f"model '{entry.name}' has no version '{version[:100]}'")
        slot = entry.slot(version)
        awaited = slot.passing
        try:
            loaded = await self._shelf.fill(slot, entry, None)
        except RetortError:
            slot.passing = awaited  # who asked for it now asks again; only what a load wanted comes back by itself
            raise
        assert loaded is not None  # noqa: S101 - nothing was loaded that it could be equal to
        return loaded, True

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
        try:
            durable = await self._pointer.activate(entry, servable, forced=ungated)
        except RetortError:
            if loaded_now:
                await self._retire_unless_resident(entry, servable.version)
            raise
        if not durable:
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

    async def _retire_unless_resident(self, entry: Entry, version: str) -> None:
        residency = entry.config.versions if entry.config else "all"
        active = entry.active.version if entry.active else None
        if version not in resident(list(entry.slots), residency, active):
            await self._shelf.retire(entry, version)
