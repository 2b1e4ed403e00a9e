"""A repository on disk and the real serving over it, for one test."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from service.core.clock import Clock, MonotonicClock
from service.core.contract import Array, InferRequest, InferResponse, ModelRef
from service.core.cpu import cpu_class
from service.core.deadline import Deadline
from service.observe import logs
from service.repository.card import Card, FileEntry
from service.repository.layout import Repository
from service.repository.overlay import Overlay
from service.repository.state_file import StateFile
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from service.serving.catalog import Catalog
from service.serving.counted import Counted
from service.serving.entry import Entry
from service.serving.lifecycle import Lifecycle
from service.serving.load_options import LoadOptions, Trial
from service.serving.loader import Loader
from service.serving.servable import Servable
from service.serving.trial import no_trial
from tests.support.logs import KeptLog
from tests.support.waiting import PATIENCE_S
from tests.unit.serving.cards import card, quality

Golden = tuple[Mapping[str, Array], Mapping[str, Array]]
ELSEWHERE = "other" if cpu_class() != "other" else "neon"


class House:
    """Versions are put on disk with `put`; `catalog` serves them, a new one each time, as a restart would.

    Args:
        folder: for the repository and the state.
        always: what every model.yaml says beside what a test wants.

    Attributes:
        fatal: what batchers gave up for.
        opened: every catalog made, closed at the end of the test.
        log: what catalogs log to; `logged` reads it.
    """

    def __init__(self, folder: Path, **always: Any) -> None:
        self._always = always
        self.root = folder / "repository"
        self.root.mkdir()
        self.state_file = folder / "state" / "active.json"
        self.fatal: list[str] = []
        self.reported: list[str] = []
        self.opened: list[Catalog] = []
        self.source = Overlay(Repository(self.root))
        self._kept = KeptLog()
        self.log = logs.logger(f"house {id(self)}")
        own = logging.getLogger(f"house {id(self)}")
        own.handlers, own.propagate = [self._kept], False
        own.setLevel(logging.DEBUG)

    def put(
        self,
        version: str,
        onnx: bytes,
        *,
        model: str = "m",
        golden: Golden | None = None,
        card: Card | None = None,
        **external: bytes,
    ) -> Path:
        """Writes a version; the card gets the hashes of what is written."""
        files = {"model.onnx": onnx, **{name.replace("_", "."): data for name, data in external.items()}}
        if golden is not None:
            files["golden.npz"] = npz(golden)
        if card is not None:
            entries = {n: FileEntry(sha256=hashlib.sha256(d).hexdigest(), bytes=len(d)) for n, d in files.items()}
            named = {"model": model, "version": version, "files": entries}
            files["card.json"] = card.model_copy(update=named).to_json()
        if self._always and not (self.root / model / "model.yaml").exists():
            self.configure(model)
        folder = self.root / model / version
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return folder

    def configure(self, model: str = "m", **values: Any) -> None:
        """Writes model.yaml; JSON is YAML."""
        (self.root / model).mkdir(exist_ok=True)
        (self.root / model / "model.yaml").write_text(json.dumps({**self._always, **values}))

    def loader(
        self,
        *,
        trial: Trial = no_trial,
        load_timeout_s: float = 30.0,
        run_timeout_s: float = 30.0,
        provider: str = "cpu",
        clock: Clock | None = None,
        inline_limit_s: float = 0.0,
    ) -> Loader:
        """A loader whose runs all have a thread of their own, so that tests may make them hang."""
        obstacles = {"cpu": "", "cuda": "this is a test", "tensorrt": "this is a test"}
        options = LoadOptions(provider, 1, load_timeout_s, run_timeout_s, obstacles, None, inline_limit_s)  # type: ignore[arg-type]
        return Loader(
            self.source,
            options,
            trial=trial,
            clock=clock or MonotonicClock(),
            report=self.reported.append,
            on_fatal=self.fatal.append,
        )

    def catalog(self, *, state: StateFile | None = None, **loader: Any) -> Catalog:
        """A catalog that has loaded nothing yet, over the same disk and state file as the ones before."""
        state = state or StateFile(self.state_file)
        lifecycle = Lifecycle(self.source, self.loader(**loader), state, self.log)
        self.opened.append(Catalog(self.source, lifecycle, self.log))
        return self.opened[-1]

    async def started(self, **more: Any) -> Catalog:
        """A catalog that has loaded the repository."""
        catalog = self.catalog(**more)
        await catalog.start()
        return catalog

    async def close(self) -> None:
        for catalog in self.opened:
            await catalog.close()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What was logged under `event`, with its level."""
        return [dict(kept, level=kept["log_level"]) for kept in self._kept.events if kept["event"] == event]


class SlowBuild:
    """In the place of `OnnxRunner.load`: `begun`, it waits for `go`, deaf to its cancellation; `built` at its end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.built = threading.Event()
        self._build = OnnxRunner.load

    def __call__(
        self, onnx: bytes, external: Mapping[str, bytes], options: RunnerOptions, _cancel: object
    ) -> OnnxRunner:
        self.begun.set()
        self.go.wait(60)
        try:
            return self._build(onnx, external, options)
        finally:
            self.built.set()


def npz(golden: Golden) -> bytes:
    """golden.npz of (inputs, outputs)."""
    inputs, outputs = golden
    named = {f"input/{n}": a for n, a in inputs.items()} | {f"output/{n}": a for n, a in outputs.items()}
    file = io.BytesIO()
    np.savez(file, **named)  # type: ignore[arg-type]
    return file.getvalue()


def variant(verdict: str = "pass", *, here: bool = True, **more: Any) -> Card:
    """The card of a variant of version 1, measured on this machine's kind or on another."""
    measured = quality(verdict).model_copy(update={"cpu_class": cpu_class() if here else ELSEWHERE})
    return card(verdict=verdict, **more).model_copy(update={"quality": (measured,)})


async def ask(catalog: Catalog, model: str = "m", version: str | None = None, **inputs: Array) -> InferResponse:
    """One request, as the gateway makes it."""
    with catalog.lease(ModelRef(model, version)) as servable:
        return await counted(servable, InferRequest(inputs))


async def counted(servable: Servable, request: InferRequest) -> InferResponse:
    """One request, counted as the gateway counts it."""
    with Counted(servable.statistics) as count:
        count.answered(answer := await servable.infer(request, Deadline.never()))
        return answer


def entry_of(catalog: Catalog, model: str = "m") -> Entry:
    return next(entry for entry in catalog.entries() if entry.name == model)


def servable_of(catalog: Catalog, version: str, model: str = "m") -> Servable:
    servable = entry_of(catalog, model).servable(version)
    assert servable is not None, f"version {version} is not loaded"
    return servable


def states(catalog: Catalog, model: str = "m") -> dict[str, str]:
    return {view.version: view.state for view in catalog.versions(model)}


async def until(holds: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Returns once `holds()`; fails when it does not within `within_s`."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event, and needs none but here
            await asyncio.sleep(0.005)
