"""Puts what a load request brought in the place of all that a model serves, or the repository's again; as one step.

Every version is loaded, and the gate asked, before anything is exchanged: whatever fails, what served serves on, and
the source is what it was. Requests in flight keep the version that they hold.
"""

from __future__ import annotations

from service.core.errors import BadModel
from service.observe.logs import Log
from service.repository.model_config import ModelConfig
from service.repository.overlay import Overlay, Override
from service.repository.state_file import StateFile
from service.serving.entry import Entry
from service.serving.equipment import note_load
from service.serving.loader import Loader
from service.serving.pointer import Pointer
from service.serving.policy import choose_active, resident
from service.serving.servable import Servable
from service.serving.shelf import Shelf
from service.serving.threads import in_thread


class Takeover:
    """The operation on one model.

    Args:
        source: what is read, with what was brought over it.
        loader: makes servables.
        shelf: retires versions.
        pointer: asks the gate, moves the heart.
        state: remembers active versions; only read.
        log: structured log.
    """

    def __init__(
        self, source: Overlay, loader: Loader, shelf: Shelf, pointer: Pointer, state: StateFile, log: Log
    ) -> None:
        self._source = source
        self._loader = loader
        self._shelf = shelf
        self._pointer = pointer
        self._state = state
        self._log = log

    async def __call__(self, entry: Entry, override: Override | None) -> None:
        """Takes the model over; None brings the repository's own back.

        Raises:
            RetortError: what could not be read or loaded; nothing has changed.
        """
        before, known = self._source.given(entry.name), set(entry.slots)
        fresh: dict[str, Servable] = {}
        self._source.put(entry.name, override)
        try:
            config, versions = await self._read(entry)
            active = self._active(entry, config, versions)
            wanted = resident(versions, config.versions, active)
            for version in wanted:
                await self._load(entry, version, config, fresh)
            servable = fresh.get(active) or entry.servable(active)
            if servable is not None and servable is not entry.active:
                self._pointer.check_gate(servable, force=self._pointer.was_forced(entry, active))
        except BaseException as error:
            self._log.warning("load failed", model=entry.name, reason=str(error), brought=override is not None)
            self._source.restore(entry.name, before)
            await self._undo(entry, known, fresh)
            raise
        self._shelf.tell(entry, config, versions)
        entry.config, entry.reason = config, ""
        await self._exchange(entry, versions, wanted, active, fresh)

    async def _read(self, entry: Entry) -> tuple[ModelConfig, list[str]]:
        name = entry.name
        config = await in_thread(f"read {name}", lambda: self._source.read_config(name))
        versions = await in_thread(f"list {name}", lambda: self._source.versions(name))
        if not versions:
            raise BadModel(f"model '{name}' has no version with a {config.onnx_file}")
        return config, versions

    def _active(self, entry: Entry, config: ModelConfig, versions: list[str]) -> str:
        """The version that is active now, if there is one of that name; else the one that a start would choose."""
        if entry.active is not None and entry.active.version in versions:
            return entry.active.version
        chosen = choose_active(versions, config.active, self._state.read().get(entry.name))
        assert chosen is not None  # noqa: S101 - there is a version
        return chosen

    async def _load(self, entry: Entry, version: str, config: ModelConfig, fresh: dict[str, Servable]) -> None:
        old, slot = entry.servable(version), entry.slot(version)
        unless = old.identity if old is not None else None
        loaded = await self._loader.load(entry.name, version, config, unless=unless, statistics=slot.statistics)
        if loaded is not None:
            fresh[version] = loaded

    async def _undo(self, entry: Entry, known: set[str], fresh: dict[str, Servable]) -> None:
        for version, servable in fresh.items():
            if (serving := entry.servable(version)) is not None:
                note_load(serving)
            await servable.retire()
        for version in set(entry.slots) - known:
            del entry.slots[version]

    async def _exchange(
        self, entry: Entry, versions: list[str], wanted: list[str], active: str, fresh: dict[str, Servable]
    ) -> None:
        replaced = [old for old in map(entry.servable, fresh) if old is not None]
        for version, servable in fresh.items():
            entry.seat(entry.slot(version), servable, self._log)
        entry.active = entry.servable(active)
        if entry.previous not in versions or entry.previous == active:
            entry.previous = None
        for version in versions:
            entry.slot(version)
        await self._pointer.replace_heart(entry)
        for old in replaced:
            await old.retire()
        for version in [version for version in entry.slots if version not in wanted]:
            await self._shelf.retire(entry, version)
            if version not in versions:
                del entry.slots[version]
