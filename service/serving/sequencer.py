"""Runs the requests of sequences: each waits for its turn, runs with the state of the one before, and leaves its own.

The state advances exactly when a request is answered: one that failed, came too late or whose client left has not been,
however far its run got. Owned by the event loop's thread; what runs is `batching`'s.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping

from service.batching.alarm import Alarm
from service.batching.contract import Answer
from service.core.clock import Clock
from service.core.contract import Array, Arrays, SequenceStep, TensorSpec
from service.core.deadline import Deadline
from service.core.errors import BadInput, Expired, Rejected
from service.observe.sequence_counts import SequenceCounts
from service.repository.model_config import ModelConfig
from service.serving.sequences import SequenceLimits, Sequences, Turn
from service.serving.state_plan import StatePlan

DRAIN_LIMIT_S = 30.0

Run = Callable[[dict[str, Array]], Awaitable[Answer]]


class Sequencer:
    """The sequences of one version; made on a running event loop.

    Args:
        model: its name, for messages.
        plan: states and controls.
        limits: how much may be open and wait.
        counts: of sequences begun, ended and forgotten.
        clock: monotonic seconds.
        default_timeout_s: how long a request may wait for its turn; None for ever.
    """

    def __init__(
        self,
        model: str,
        plan: StatePlan,
        limits: SequenceLimits,
        counts: SequenceCounts,
        clock: Clock,
        default_timeout_s: float | None = None,
    ) -> None:
        self._model = model
        self._plan = plan
        self._clock = clock
        self._default_timeout_s = default_timeout_s
        self._loop = asyncio.get_running_loop()
        self._sequences = Sequences(model, limits, counts)
        self._expiry = Alarm(self._loop, clock, self._expire)
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def hidden(self) -> Mapping[str, TensorSpec]:
        """Name -> spec of the graph's inputs that no client sends: states and controls."""
        return self._plan.hidden

    def __len__(self) -> int:
        """Sequences that are open."""
        return len(self._sequences)

    def holds(self, sequence_id: int | str) -> bool:
        """Whether `sequence_id` is open here."""
        return self._sequences.holds(sequence_id)

    def check(self, step: SequenceStep | None, rows: int | None) -> None:
        """Refuses what can be no request of a sequence. Raises BadInput."""
        must = f"inference request to model '{self._model}' must specify"
        if step is None:
            raise BadInput(f"{must} a non-zero or non-empty correlation ID: the parameter 'sequence_id'")
        if rows not in (None, 1):
            raise BadInput(f"{must} batch-size 1, because it belongs to a sequence; got {rows} rows")
        self._plan.fill({}, None, step)

    async def answer(
        self, step: SequenceStep, inputs: Arrays, deadline: Deadline, run: Run, timeout_s: float | None = None
    ) -> Answer:
        """Runs one request in its turn.

        Args:
            step: its sequence.
            inputs: the client's.
            deadline: after which nobody waits any more.
            run: given the graph's inputs; raises for a request that is not answered.
            timeout_s: how long it is ready to wait for its turn; it may shorten the default, never lengthen it.

        Raises:
            BadInput: it starts nothing and continues nothing.
            Rejected, Expired, Draining: as `core.errors` says.
            Whatever `run` raises.
        """
        began_s = self._clock.now_s()
        until = deadline
        for limit_s in filter(None, (self._default_timeout_s, timeout_s)):
            until = until.sooner(Deadline.after(began_s, limit_s))
        granted: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            if not granted.done():
                granted.set_result(None)

        turn = self._sequences.enter(step, wake)
        self._empty.clear()
        state: Arrays | None = None
        try:
            await self._wait(granted, until, own=until is deadline)
            waited_ns = int((self._clock.now_s() - began_s) * 1e9)
            answer = await run(self._plan.fill(inputs, turn.sequence.state, step))
            state = self._plan.carried(answer.outputs)
            timing = answer.timing
            return answer._replace(timing=timing._replace(queue_ns=timing.queue_ns + waited_ns))
        finally:
            self._leave(turn, state)

    async def drain(self) -> None:
        """Begins no other sequence, and returns when the open ones have ended, or were ended after `DRAIN_LIMIT_S`."""
        self._sequences.close()
        try:
            async with asyncio.timeout(DRAIN_LIMIT_S):
                await self._empty.wait()
        except TimeoutError:
            self.end_all()
            await self._empty.wait()

    def end(self, sequence_id: int | str) -> None:
        """Ends a sequence that is open here: it begins anew elsewhere."""
        self._sequences.end(sequence_id)
        self._expire(self._clock.now_s())

    def end_all(self) -> None:
        """Ends every open sequence; requests that wait in one are still answered."""
        self._sequences.end_all()
        self._expire(self._clock.now_s())

    async def _wait(self, granted: asyncio.Future[None], until: Deadline, *, own: bool) -> None:
        left_s = until.left_s(self._clock.now_s())
        try:
            async with asyncio.timeout(None if math.isinf(left_s) else max(0.0, left_s)):
                await granted
        except TimeoutError:
            what = "passed before the request's turn in its sequence came"
            raise (Expired(f"the deadline {what}") if own else Rejected(f"the timeout {what}")) from None

    def _leave(self, turn: Turn, state: Arrays | None) -> None:
        now_s = self._clock.now_s()
        self._sequences.leave(turn, now_s, state)
        self._expire(now_s)

    def _expire(self, now_s: float) -> None:
        self._sequences.expire(now_s)
        self._expiry.at(self._sequences.next_expiry_s)
        if not self._sequences:
            self._expiry.cancel()
            self._empty.set()


def limits_of(config: ModelConfig) -> SequenceLimits:
    """How many sequences a version may have open, by Triton's reckoning of places. `config.sequences` must be there."""
    section = config.sequences
    assert section is not None  # noqa: S101 - the caller asks for stateful versions only
    candidates = config.max_batch_size if section.strategy == "direct" else section.max_candidate_sequences
    return SequenceLimits(
        places=candidates * config.instances,
        waiting=section.max_waiting_sequences,
        steps=config.dynamic_batching.max_queue_size,
        idle_s=section.max_sequence_idle_microseconds / 1e6,
    )
