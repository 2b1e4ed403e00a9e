"""One loaded version: its runners behind a batcher, its state, and the requests that hold it.

A request keeps the servable it leased, even if a swap happens now; the servable closes after its last lease.
Owned by the event loop's thread. Knows nothing of files, of HTTP, or of which version is active.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from service.batching.batcher import Batcher
from service.batching.contract import Answer
from service.core.contract import Array, Arrays, InferRequest, InferResponse, TensorSpec
from service.core.deadline import Deadline
from service.core.errors import BadInput, NotFinite, Refused
from service.core.finite import not_finite
from service.observe.statistics import Processes, VersionStatistics
from service.observe.tracing import TRACE
from service.repository.card import Card
from service.repository.golden import Golden
from service.repository.model_config import ModelConfig
from service.runtime.runner import Runner
from service.serving.cached import CachedAnswers
from service.serving.closing import close_runners
from service.serving.examine import Examined
from service.serving.golden import GoldenReport, chunks, hold, join
from service.serving.pulse import Pulse
from service.serving.row_limits import RowLimits
from service.serving.sequencer import Sequencer

PROBE_ORIGIN = "retort-probe"  # the server's own requests: run like any other, counted in no statistics


class State(Enum):
    """Where a version is in its life."""

    NOT_LOADED = "NOT_LOADED"
    LOADING = "LOADING"
    READY = "READY"
    DRAINING = "DRAINING"
    CLOSED = "CLOSED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Identity:
    """What was loaded: equal identities answer alike, so a reload need not replace one with the other."""

    model: str
    version: str
    digest: str
    bytes_total: int
    disk_bytes: int
    card: Card | None
    config: ModelConfig


@dataclass(frozen=True, slots=True)
class Origins:
    """How a servable came to be.

    Attributes:
        golden: its golden cases; None without.
        load_ms: reading, checking and building the session.
        warm_ms: batchability probe, golden cases and warm-up.
        processes: of its own; None where it runs in the server's.
    """

    golden: Golden | None
    load_ms: float
    warm_ms: float
    processes: Processes | None = None


class Servable:
    """A version that answers.

    Args:
        identity: model, version, files, card and configuration.
        examined: what running it found out: signature, batchability, expected answers.
        origins: how it was loaded.
        runners: what runs; closed with the servable.
        batcher: started already, over those runners.
        statistics: counts of this version.
        pulse: when a batch last ended.
        sequencer: runs the requests of a version that keeps state; None for every other.
        cache: the kept answers; None where none are kept.
    """

    def __init__(  # noqa: PLR0913 (all that a servable is made of)
        self,
        identity: Identity,
        examined: Examined,
        origins: Origins,
        runners: Sequence[Runner],
        batcher: Batcher,
        statistics: VersionStatistics,
        pulse: Pulse,
        *,
        sequencer: Sequencer | None = None,
        cache: CachedAnswers | None = None,
    ) -> None:
        self.identity = identity
        self.model = identity.model
        self.version = identity.version
        self.config = identity.config
        self.card = identity.card
        self.examined = examined
        self.signature = examined.signature
        self.batchability = examined.batchability
        self.padding = examined.padding
        self.origins = origins
        self.machine = examined.machine
        self.batcher = batcher
        self.statistics = statistics
        self.pulse = pulse
        self.sequencer = sequencer
        self.cache = cache
        self.state = State.READY
        self._runners = runners
        self._row_limits = RowLimits(examined.signature.where, examined.batchability, identity.config.max_batch_size)
        self._leases = 0
        self._free: asyncio.Event | None = None  # of who waits for the last lease

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Name -> spec, in graph order."""
        return self.signature.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Name -> spec, in graph order."""
        return self.signature.outputs

    @property
    def provider(self) -> str:
        """cpu, cuda, tensorrt or remote."""
        return self.machine.provider

    @property
    def batched(self) -> bool:
        """Whether the first axis of every input and output is the batch."""
        return self.signature.batch_axis is not None

    @property
    def max_batch_size(self) -> int:
        """The most rows of one run; 0 where requests are never put together."""
        return self.config.max_batch_size if self.batchability.mixes else 0

    @property
    def verified_here(self) -> bool:
        """Whether golden cases held within a tolerance that the card states for this machine."""
        return self.examined.golden is not None and self.examined.golden.known_here

    async def infer(self, request: InferRequest, deadline: Deadline, *, origin: str = "") -> InferResponse:
        """Answers one request; whoever asks counts it, see `counted`.

        Args:
            request: decoded; its arrays are not changed.
            deadline: after which nobody waits any more.
            origin: who sent it, for isolating a sender of failing requests.

        Raises:
            BadInput: names, datatypes, shapes or rows are not the version's.
            Rejected, Expired, RunFailed, NotFinite, Stuck, Draining: as `core.errors` says.
        """
        rows, trace = self._rows(request), TRACE.get()
        if trace is not None:
            trace.asked(self.model, self.version, rows or 1)
        if self.sequencer is None and self.cache is None:
            answer, cached = await self._submit(request, rows, deadline, origin, request.inputs), False
            if not answer.finite:
                self._check_outputs(answer, request)
        else:
            answer, cached = await self._kept_or_run(request, rows, deadline, origin)
        outputs = self.signature.select(request, answer.outputs)
        return InferResponse(self.model, self.version, outputs, request.id, answer.timing, cached)

    async def _kept_or_run(
        self, request: InferRequest, rows: int | None, deadline: Deadline, origin: str
    ) -> tuple[Answer, bool]:
        """Of a version that keeps state or answers: what it answers, and whether that was kept."""

        async def run(inputs: Arrays = request.inputs) -> Answer:
            answer = await self._submit(request, rows, deadline, origin, inputs)
            if not answer.finite:
                self._check_outputs(answer, request)
            return answer

        if self.sequencer is not None and request.sequence is not None:
            wait_s = _timeout_s(request) if self.config.dynamic_batching.allow_timeout_override else None
            return await self.sequencer.answer(request.sequence, request.inputs, deadline, run, wait_s), False
        return (await run(), False) if self.cache is None else await self.cache.answer(request.inputs, run)

    def _submit(
        self, request: InferRequest, rows: int | None, deadline: Deadline, origin: str, inputs: Arrays
    ) -> Awaitable[Answer]:
        wait_s, trace = _timeout_s(request), TRACE.get()
        return self.batcher.submit(
            inputs, rows, deadline, origin=origin, priority=request.priority, timeout_s=wait_s, trace=trace
        )

    async def hold_golden(self) -> GoldenReport | None:
        """Holds the golden cases through the queue, among the clients' requests; None without golden cases.

        Raises:
            Refused: they do not hold.
        """
        golden = self.origins.golden
        if golden is None:
            return None

        async def run(chunk: Arrays) -> dict[str, Array]:
            rows = next(iter(chunk.values())).shape[0] if self.batchability.mixes else None
            return (await self.batcher.submit(chunk, rows, Deadline.never(), origin=PROBE_ORIGIN, quiet=True)).outputs

        answers = [await run(chunk) for chunk in chunks(golden, self.examined.golden_chunk_rows)]
        return hold(golden, join(golden, answers), self.card, self.machine)

    def check_follows(self, active: Servable | None) -> None:
        """Refuses to take the place of a version whose requests this one would fail; nothing overrides that.

        Raises:
            Refused: says what the requests of `active` would miss.
        """
        gap = self.signature.gap(active.signature) if active is not None else ""
        if active is not None and gap:
            sentence = f"version '{self.version}' of model '{self.model}' cannot take the place of version "
            raise Refused(f"{sentence}'{active.version}': {gap}", {"signature": gap})

    @property
    def holds_sequences(self) -> bool:
        """Whether it drains, and sequences that it began go on meanwhile."""
        return self.state is State.DRAINING and self.sequencer is not None and len(self.sequencer) > 0

    def __enter__(self) -> Servable:
        """Takes a lease: the servable stays open until it is given back."""
        self._leases += 1
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Gives a lease back."""
        self._leases -= 1
        if self._free is not None and not self._leases:
            self._free.set()

    @property
    def leases(self) -> int:
        """Requests that hold this servable now."""
        return self._leases

    async def retire(self) -> None:
        """Waits for the last lease, then closes batcher and runners and gives the memory back to the machine."""
        if self.state is State.CLOSED:
            return
        self.state = State.DRAINING
        if self.sequencer is not None:
            await self.sequencer.drain()
        while self._leases:
            self._free = asyncio.Event()
            await self._free.wait()
        await self.batcher.close(drain=True)
        if self.cache is not None:
            self.cache.kept.clear()
        await close_runners(f"{self.model}/{self.version}", self._runners)
        self.state = State.CLOSED

    def _rows(self, request: InferRequest) -> int | None:
        self.signature.check_outputs(request)
        rows = self.signature.rows(request.inputs)
        if self.sequencer is not None:
            self.sequencer.check(request.sequence, rows)
        elif request.sequence is not None:
            raise BadInput(f"{self.signature.where} keeps no state, and the request has a 'sequence_id'")
        return None if rows is None else self._row_limits.check(rows)

    def _check_outputs(self, answer: Answer, request: InferRequest) -> None:
        """Counts outputs that are not finite, of those that were asked for, and refuses them where that is wished."""
        outputs = self.signature.select(request, answer.outputs)
        for name in filter(None, map(not_finite, outputs.items())):
            self.statistics.non_finite += 1
            if self.config.finite_outputs:
                what = f"output '{name}' of {self.signature.where} is not finite"
                for given in filter(None, map(not_finite, request.inputs.items())):  # which is not the version's fault
                    raise BadInput(f"{what}, and neither is input '{given}'")
                raise NotFinite(f"{what} for this input")


def _timeout_s(request: InferRequest) -> float | None:
    return request.timeout_us / 1e6 if request.timeout_us else None
