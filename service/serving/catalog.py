"""The one face of serving: which version answers a request, and the operations that change it.

Hands out leases by a pointer read, so that a swap never waits for a request nor a request for a swap. Owned by the
event loop's thread. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import AbstractContextManager

from service.core.contract import ModelRef, SequenceStep
from service.core.errors import BadInput, Conflict, NotFound, Refused, RetortError
from service.observe.logs import Log
from service.observe.statistics import ModelStatistics, VersionStatistics
from service.repository.overlay import Overlay, Override
from service.runtime.threads import usable_cores
from service.serving.absence import why_not
from service.serving.entry import Entry
from service.serving.gate import FORCED
from service.serving.lifecycle import Lifecycle
from service.serving.operations import Operations
from service.serving.reports import READY, Readiness, SwapReport, VersionView
from service.serving.servable import Servable, State
from service.serving.start import load_all
from service.serving.threads import in_thread
from service.serving.watch import DEFAULT_MAX_ERROR_RATE, Tally, Watches


class Catalog:
    """Every model by name.

    Args:
        source: the repository.
        lifecycle: the operations on one model.
        log: structured log.
    """

    def __init__(self, source: Overlay, lifecycle: Lifecycle, log: Log) -> None:
        self._source = source
        self._lifecycle = lifecycle
        self._log = log
        self._entries: dict[str, Entry] = {}
        self._watches = Watches()

    def lease(self, ref: ModelRef) -> AbstractContextManager[Servable]:
        """The version that answers `ref`: `with catalog.lease(ref) as servable` holds it open for as long.

        Raises:
            NotFound: no such model, or its version is not loaded.
            NotReady: it is loading, failed, or the model has no active version.
        """
        entry = self._entry(ref.name)
        servable = entry.active if ref.version is None else entry.servable(ref.version)
        if servable is None or not (servable.state is State.READY or servable.holds_sequences):
            raise why_not(entry, ref.version)
        return servable

    def holder(self, ref: ModelRef, leased: Servable, step: SequenceStep | None) -> AbstractContextManager[Servable]:
        """Who answers a request once its sequence is known, held too: what began it, of any version or of that named.

        Whoever asks counts the request there, and not for the version that was leased first.
        """
        if step is None:
            return leased
        return self._entry(ref.name).holders.holder(leased, step, version=ref.version)

    def models(self) -> list[str]:
        """Every model's name, broken ones included."""
        return sorted(self._entries)

    def versions(self, model: str) -> list[VersionView]:
        """Every version of `model`, loaded or not. Raises NotFound."""
        entry = self._entry(model)
        return [entry.view(slot) for slot in entry.slots.values()]

    def reason(self, model: str) -> str:
        """Why `model` as a whole does not answer, "" when it does. Raises NotFound."""
        return self._entry(model).why

    def active_version(self, model: str) -> str | None:
        """The active version's id. Raises NotFound."""
        active = self._entry(model).active
        return active.version if active is not None else None

    def loaded(self) -> Iterable[Servable]:
        """Every loaded version of every model."""
        for entry in self._entries.values():
            yield from entry.loaded()

    def entries(self) -> Iterable[Entry]:
        """Every model, for the probe behind readiness."""
        return self._entries.values()

    def statistics(self, model: str | None = None, version: str | None = None) -> list[VersionStatistics]:
        """Statistics of the loaded versions that the names select. Raises NotFound."""
        servables = self._entry(model).loaded() if model is not None else list(self.loaded())
        chosen = [s.statistics for s in servables if version is None or s.version == version]
        if version is not None and not chosen:
            raise NotFound(f"version '{version[:100]}' of model '{model}' is not loaded")
        return chosen

    def counters(self) -> list[VersionStatistics]:
        """Statistics of every version that was ever loaded: closing one takes no counter back."""
        slots = (slot for entry in self._entries.values() for slot in entry.slots.values())
        return [slot.statistics for slot in slots if slot.statistics.load_s is not None]

    def model_statistics(self) -> list[ModelStatistics]:
        """What is counted per model: its active version and its swaps by outcome."""
        for entry in self._entries.values():
            entry.statistics.active = entry.active.version if entry.active is not None else None
            entry.statistics.standing = entry.standing
        return [entry.statistics for entry in self._entries.values()]

    def ready(self, model: str, version: str | None = None) -> Readiness:
        """Whether `model`, or one version of it, answers. Raises NotFound for a name that nothing here has."""
        entry = self._entry(model)
        if version is not None and version not in entry.slots:
            raise why_not(entry, version)
        servable = entry.active if version is None else entry.servable(version)
        if servable is None or servable.state is not State.READY:
            return Readiness(False, str(why_not(entry, version)))
        if servable is entry.active and entry.heart is not None and not entry.heart.ok:
            return Readiness(False, f"model '{model}' does not answer: {entry.heart.reason}")
        if not servable.batcher.healthy:
            return Readiness(False, f"model '{model}' does not answer: its batcher is being restarted")
        return READY

    async def start(self, first: Collection[str] = ()) -> None:
        """Loads what the repository holds, those `first` that are named; one that does not load keeps its reason."""
        names = await in_thread("list models", self._source.models)
        entries = [self._entries.setdefault(name, _new_entry(name)) for name in names]
        await load_all(entries, self._load_quietly, first=first, at_once=usable_cores(), log=self._log)

    async def load(self, model: str, override: Override | None = None) -> None:
        """(Re)reads a model's files and residency, or what `override` has in their place; see `Lifecycle.load`."""
        entry = self._entries.get(model)
        if entry is None:
            whole = override is not None and override.files
            if not whole and model not in await in_thread("list models", self._source.models):
                raise NotFound(f"there is no model '{model[:100]}' in the repository")
            entry = self._entries.setdefault(model, _new_entry(model))
        try:
            await entry.operations.run("load", lambda: self._lifecycle.load(entry, override))
        except Exception as error:
            entry.reason = entry.reason or ("" if entry.active is not None else _told(error))
            if override is not None and not entry.slots and entry.operations.running is None:
                self._entries.pop(model, None)  # nothing of it came to be
            raise

    async def unload(self, model: str) -> None:
        """Drains and closes every version of a model; it stays listed."""
        entry = self._entry(model)
        self._watches.stop(model)
        entry.holders.end_draining()
        await entry.operations.run("unload", lambda: self._lifecycle.unload(entry))

    async def swap(
        self,
        model: str,
        version: str,
        *,
        force: bool = False,
        watch_s: float | None = None,
        max_error_rate: float | None = None,
    ) -> SwapReport:
        """Makes `version` active; see `Lifecycle.swap`.

        Args:
            model: its name.
            version: what is to become active.
            force: overrides the gate's verdict, nothing else.
            watch_s: seconds during which the swap reverts by itself when errors exceed `max_error_rate`.
            max_error_rate: failed requests / all requests that reached the version, default 0.01.
        """
        if max_error_rate is not None and watch_s is None:
            raise BadInput("'max_error_rate' needs 'watch_s', the seconds to watch for")
        entry = self._entry(model)

        def exchanged() -> None:  # a swap that fails leaves the watch of the one before
            self._watches.stop(model)
            if watch_s is not None:
                self._watch(entry, watch_s, DEFAULT_MAX_ERROR_RATE if max_error_rate is None else max_error_rate)

        def body() -> Awaitable[SwapReport]:
            return self._lifecycle.swap(entry, version, force=force, then=exchanged)

        return await self._counted(entry, f"swap to '{version}'", body, "swapped")

    async def rollback(self, model: str) -> SwapReport:
        """Makes the version before the last swap active again; never gated.

        Does not wait for a swap that still drains: sequences that are open in what drains end.
        """
        entry = self._entry(model)
        entry.holders.end_draining()

        def body() -> Awaitable[SwapReport]:
            return self._lifecycle.rollback(entry, then=lambda: self._watches.stop(model))

        return await self._counted(entry, "rollback", body, "rolled_back")

    def give_up_loads(self) -> None:
        """Ends the loads that are under way, swaps' too, and begins no other: what answers now answers to the end."""
        self._lifecycle.give_up_loads()

    async def close(self) -> None:
        """Ends watches, loads and operations, then drains and closes every version."""
        self._watches.stop_all()
        self.give_up_loads()
        for entry in self._entries.values():
            entry.holders.end_all()
        await asyncio.gather(*(entry.operations.idle() for entry in self._entries.values()))
        unloads = (self._lifecycle.unload(entry) for entry in self._entries.values())
        ended = await asyncio.gather(*unloads, return_exceptions=True)  # one that fails hurries no other
        for error in ended:
            if error is not None:
                raise error

    def _entry(self, model: str) -> Entry:
        entry = self._entries.get(model)
        if entry is None:
            raise NotFound(f"there is no model '{model[:100]}' here")
        return entry

    async def _load_quietly(self, entry: Entry) -> None:
        try:
            await entry.operations.run("load", lambda: self._lifecycle.load(entry))
        except Exception as error:  # whatever it is costs this model, not its neighbours
            meant, reason = isinstance(error, RetortError), _told(error)
            if entry.active is None:
                entry.reason = entry.reason or reason
            self._log.warning(
                "model not served as configured", model=entry.name, reason=reason, exc_info=None if meant else error
            )

    async def _counted(
        self, entry: Entry, what: str, body: Callable[[], Awaitable[SwapReport]], done: str
    ) -> SwapReport:
        """Runs a swap or a rollback and counts how it ended, whether or not its caller stays to hear of it."""

        async def counted() -> SwapReport:
            try:
                report = await body()
            except Exception as error:
                outcome = "refused" if isinstance(error, Refused) else "failed"
                entry.statistics.swaps[outcome] += 1
                self._log.warning("swap " + outcome, model=entry.name, operation=what, reason=str(error))
                raise
            entry.statistics.swaps["forced" if report.warning and FORCED in report.warning else done] += 1
            entry.reason = ""
            self._log.info(done, **report.to_json())
            return report

        try:
            return await entry.operations.run(what, counted)
        except Conflict as error:
            if not isinstance(error, Refused):
                entry.statistics.swaps["superseded"] += 1
            raise

    def _watch(self, entry: Entry, watch_s: float, max_error_rate: float) -> None:
        watched = entry.active
        assert watched is not None  # noqa: S101 - a swap has just made it so

        named = {"model": entry.name, "version": watched.version}

        async def body(tally: Tally) -> None:
            active = entry.active  # asked in its turn: what ran before it may have swapped already
            if active is None or active.version != watched.version:
                return
            self._log.warning("swap reverts by itself", failed=tally.failed, answered=tally.answered, **named)
            await self._lifecycle.rollback(entry)
            entry.statistics.swaps["reverted"] += 1

        async def revert(tally: Tally) -> None:
            entry.holders.end_draining()
            try:
                await entry.operations.run("revert", lambda: body(tally))
            except Exception as error:  # nobody waits for this task, who could tell of it
                meant = isinstance(error, RetortError)
                entry.statistics.swaps["revert_failed"] += 1
                self._log.error("revert failed", reason=str(error), exc_info=None if meant else error, **named)

        self._watches.start(entry.name, watched.statistics, watch_s, max_error_rate, revert)


def _new_entry(name: str) -> Entry:
    return Entry(name, Operations(f"model '{name}'"), ModelStatistics(name))


def _told(error: Exception) -> str:
    """What of an error is for those who ask why a model does not answer."""
    return str(error) if isinstance(error, RetortError) else "its load met an unexpected error, which the log shows"
