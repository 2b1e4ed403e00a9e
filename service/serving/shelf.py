"""The versions of one model as they stand on disk and in memory: lists, loads and retires them, and says why not.

Each method is a step of an operation that `lifecycle` makes whole. Knows nothing of which version is active.
"""

from __future__ import annotations

from contextlib import suppress

from service.core.errors import BadModel, NotFound, RetortError, Unavailable
from service.observe.logs import Log
from service.repository.layout import Source
from service.repository.model_config import ModelConfig
from service.serving.entry import Entry, Slot
from service.serving.loader import Loader
from service.serving.servable import Servable, State
from service.serving.threads import in_thread


class Shelf:
    """Steps on the slots of an entry.

    Args:
        source: where versions are read from.
        loader: makes servables.
        log: structured log.
    """

    def __init__(self, source: Source, loader: Loader, log: Log) -> None:
        self._source = source
        self._loader = loader
        self._log = log

    async def scan(self, entry: Entry) -> tuple[ModelConfig, list[str]]:
        """Reads the configuration and lists the versions, and makes both known. Raises NotFound, BadModel."""
        name = entry.name
        try:
            config = await in_thread(f"read {name}", lambda: self._source.read_config(name))
            versions = await in_thread(f"list {name}", lambda: self._source.versions(name))
        except RetortError as error:
            entry.reason = str(error)
            raise
        except Exception as error:
            entry.reason = "its load met an unexpected error, which the log shows"
            self._log.error("scan failed", model=name, exc_info=error)
            raise BadModel(entry.reason) from error  # a defect of ours costs this model alone
        self.tell(entry, config, versions)
        entry.config, entry.reason = config, ""
        for version in versions:
            entry.slot(version)
        for gone in [slot for slot in entry.slots.values() if slot.version not in versions and slot.servable is None]:
            del entry.slots[gone.version]
        if not versions:
            entry.reason = f"model '{name}' has no version with a model.onnx"
            raise BadModel(entry.reason)
        return config, versions

    def tell(self, entry: Entry, config: ModelConfig, versions: list[str]) -> None:
        """Logs what has no effect of a configuration that was not read before."""
        if config != entry.config:
            absent = [f"version '{version}' is named and not there" for version in config.absent(versions)]
            for warning in (*config.warnings, *absent):
                self._log.warning("configuration", model=entry.name, warning=warning)

    def read_cards(self, model: str, slots: list[Slot]) -> None:
        """Reads what is shown of versions that are not loaded; why a card is wrong is said when its version loads."""
        for slot in slots:
            slot.card = None
            with suppress(BadModel, NotFound, Unavailable):
                slot.card = self._source.read_card(model, slot.version)

    async def fill(self, slot: Slot, entry: Entry, old: Servable | None) -> Servable | None:
        """Loads the slot's version; None when its files and configuration are those of `old`."""
        assert entry.config is not None  # noqa: S101 - `scan` came first
        named = {"model": entry.name, "version": slot.version}
        if old is None:
            slot.state, slot.reason = State.LOADING, ""
        try:
            unless = old.identity if old else None
            fresh = await self._loader.load(
                entry.name, slot.version, entry.config, unless=unless, statistics=slot.statistics
            )
        except Exception as error:
            expected, slot.passing = isinstance(error, RetortError), isinstance(error, Unavailable)
            slot.reason = str(error) if expected else "its load met an unexpected error, which the log shows"
            slot.state = State.FAILED if old is None else slot.state
            self._log.warning("load failed", exc_info=None if expected else error, reason=slot.reason, **named)
            if expected:
                raise
            raise BadModel(slot.reason) from error  # a defect of ours costs this version, not its neighbours
        if fresh is not None:
            entry.seat(slot, fresh, self._log)
            if fresh.examined.rows is None:
                self._log.warning("not tried", reason=fresh.batchability.reason, **named)
        return fresh

    async def retire(self, entry: Entry, version: str, reason: str = "not resident") -> None:
        """Drains and closes a version, if it is loaded; it stays listed with `reason`."""
        slot = entry.slot(version)
        slot.passing = False
        if slot.servable is not None:
            try:
                await slot.servable.retire()
            finally:
                slot.servable, slot.state, slot.reason = None, State.NOT_LOADED, reason
