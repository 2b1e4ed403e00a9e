"""A catalog of versions that answer with plain functions; everything else that the gateway sees is the real thing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from service.core.contract import Arrays, InferRequest, InferResponse, ModelRef, SequenceStep, TensorSpec, Timing
from service.core.deadline import Deadline
from service.core.errors import NotFound, NotReady, Rejected
from service.observe.statistics import ModelStatistics, VersionStatistics
from service.repository.card import Card
from service.repository.model_config import ModelConfig
from service.repository.overlay import Override
from service.serving.batchability import Batchability
from service.serving.gate import Machine
from service.serving.padding import NO_PADDING
from service.serving.reports import Readiness, SwapReport, VersionView
from service.serving.signature import Signature

Answer = Callable[[Arrays], Arrays]


def specs(*given: TensorSpec) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in given}


def double(arrays: Arrays) -> Arrays:
    """`y` is twice `x`."""
    return {"y": arrays["x"] * 2}


class FakeServable:
    """One version; `answer` may be replaced, `wait_s` and `error` make it slow or failing."""

    def __init__(
        self,
        model: str = "m",
        version: str = "1",
        inputs: tuple[TensorSpec, ...] = (TensorSpec("x", "FP32", ("batch", 4)),),
        outputs: tuple[TensorSpec, ...] = (TensorSpec("y", "FP32", ("batch", 4)),),
        answer: Answer = double,
    ) -> None:
        self.model, self.version = model, version
        self.inputs, self.outputs = specs(*inputs), specs(*outputs)
        self.answer = answer
        self.config = ModelConfig()
        self.batchability = Batchability("any")
        self.padding = NO_PADDING
        self.machine = Machine("cpu", "avx512_vnni")
        self.provider = "cpu"
        self.statistics = VersionStatistics(model, version)
        self.batched = True
        self.wait_s = 0.0
        self.error: BaseException | None = None
        self.seen: list[tuple[InferRequest, Deadline, str]] = []
        self.leases = 0
        self.cancelled = False
        self.sequencer: object | None = None
        self.cache: object | None = None
        self.batcher = self
        self.full: Rejected | None = None

    def check_room(self) -> None:
        """As a batcher's: `full` is raised where it is given."""
        if self.full is not None:
            raise self.full

    @property
    def max_batch_size(self) -> int:
        return self.config.max_batch_size if self.batchability.mixes else 0

    async def infer(self, request: InferRequest, deadline: Deadline, *, origin: str = "") -> InferResponse:
        self.seen.append((request, deadline, origin))
        signature = Signature(f"model '{self.model}'", self.inputs, self.outputs, "batch")
        signature.check_outputs(request)
        signature.rows(request.inputs)
        try:
            await asyncio.sleep(self.wait_s)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.error is not None:
            raise self.error
        outputs = signature.select(request, self.answer(request.inputs))
        return InferResponse(self.model, self.version, outputs, request.id, Timing(1_000, 2_000, 3_000, 4_000))

    def __enter__(self) -> FakeServable:
        self.leases += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.leases -= 1


class FakeCatalog:
    """What the handlers ask of a catalog; the first servable of a model is its active version."""

    def __init__(self, *servables: FakeServable) -> None:
        self.servables = list(servables)
        self.cards: dict[str, Card] = {}
        self.states: dict[str, str] = {}
        self.began: dict[int | str, FakeServable] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.error: BaseException | None = None
        self.counted = {s.model: ModelStatistics(s.model) for s in servables}

    def lease(self, ref: ModelRef) -> FakeServable:
        found = [s for s in self._of(ref.name) if ref.version in (None, s.version)]
        if not found:
            raise NotFound(f"there is no version '{str(ref.version)[:100]}' of model '{ref.name}'")
        if self.states.get(found[0].version, "READY") != "READY":
            raise NotReady(f"version '{found[0].version}' of model '{ref.name}' is loading")
        return found[0]

    def holder(self, ref: ModelRef, leased: FakeServable, step: SequenceStep | None) -> FakeServable:
        """The version that began a sequence, where `began` says so."""
        return self.began.get(step.id, leased) if step is not None else leased

    def models(self) -> list[str]:
        return sorted({s.model for s in self.servables})

    def reason(self, model: str) -> str:
        return ""

    def versions(self, model: str) -> list[VersionView]:
        first, *_ = found = self._of(model)
        return [
            VersionView(
                s.model, s.version, self.states.get(s.version, "READY"), "", s is first, self.cards.get(s.version), 10
            )
            for s in found
        ]

    def active_version(self, model: str) -> str | None:
        return self._of(model)[0].version

    def loaded(self) -> list[FakeServable]:
        return self.servables

    def statistics(self, model: str | None = None, version: str | None = None) -> list[VersionStatistics]:
        found = self.servables if model is None else self._of(model)
        return [s.statistics for s in found if version in (None, s.version)]

    def counters(self) -> list[VersionStatistics]:
        return self.statistics()

    def model_statistics(self) -> list[ModelStatistics]:
        for name, counted in self.counted.items():
            counted.active = self.active_version(name)
        return list(self.counted.values())

    def ready(self, model: str, version: str | None = None) -> Readiness:
        try:
            self.lease(ModelRef(model, version))
        except NotReady as error:
            return Readiness(False, str(error))
        return Readiness(True)

    async def load(self, model: str, override: Override | None = None) -> None:
        self._note("load", model, *([override] if override else []))

    async def unload(self, model: str) -> None:
        self._note("unload", model)

    async def swap(self, model: str, version: str, **options: Any) -> SwapReport:
        self._note("swap", model, version, options)
        return SwapReport(model, "1", version, None, {"n": 32, "max_abs": 0.0}, 1.5, 2.5, 0.0, None)

    async def rollback(self, model: str) -> SwapReport:
        self._note("rollback", model)
        return SwapReport(model, "2", "1", None, None, 0.0, 0.0, 0.0, None)

    def _note(self, *call: Any) -> None:
        self._of(call[1])
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    def _of(self, model: str) -> list[FakeServable]:
        found = [s for s in self.servables if s.model == model]
        if not found:
            raise NotFound(f"there is no model '{model[:100]}' here")
        return found


class FakeHealth:
    """Ready until told otherwise."""

    def __init__(self) -> None:
        self.readiness = Readiness(True)

    def live(self) -> Readiness:
        return Readiness(True)

    def ready(self) -> Readiness:
        return self.readiness


ROW = np.arange(4, dtype=np.float32)
