"""Is this version alive? Its own probe rows go through its queue, again and again; clients' requests prove nothing.

A full queue or a long one does not fail it as long as batches go on ending. A runner that neither answers the probe
nor ends any batch within `allowed_s` does, and so does a wrong answer.
"""

from __future__ import annotations

import asyncio

from service.core.clock import Clock
from service.core.deadline import Deadline
from service.core.errors import Expired, Rejected, RetortError
from service.serving.nearness import near
from service.serving.servable import PROBE_ORIGIN, Servable

LEAST_ALLOWED_S = 1.0
_RUNS_ALLOWED = 4
_SILENT = "its runner does not answer"


class Heart:
    """The probe of one servable; `tick` it a few times a second.

    Attributes:
        ok: what the last evidence says.
        reason: one sentence when not ok.
    """

    def __init__(self, servable: Servable, clock: Clock) -> None:
        self._servable = servable
        self._clock = clock
        self._began_s = self._alive_s = clock.now_s()
        self._task: asyncio.Task[str] | None = None
        self.ok = True
        self.reason = ""

    def tick(self) -> None:
        """Takes note of a probe that ended, begins the next, or finds that the present one takes too long."""
        if not self._servable.batcher.healthy:
            self._note("its batcher has failed and is being restarted")
            return
        if self._task is None or self._task.done():
            if self._task is not None:
                self._note(self._task.result())
            self._begin()
        elif self._silent_since(self._began_s):
            self._note(_SILENT)

    async def stop(self) -> None:
        """Cancels the probe under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        self._began_s = self._clock.now_s()
        self._task = asyncio.get_running_loop().create_task(self._probe(), name=f"probe {self._servable.model}")

    def _note(self, reason: str) -> None:
        self.ok, self.reason = not reason, reason

    def _silent_since(self, sign_s: float) -> bool:
        """Whether neither at `sign_s` nor later there was a sign of life, for longer than one may take to come."""
        run_s = self._servable.examined.curve.predict_s(self._servable.config.max_batch_size)
        last_sign_s = max(sign_s, self._servable.pulse.last_batch_s)
        return self._clock.now_s() - last_sign_s > max(LEAST_ALLOWED_S, _RUNS_ALLOWED * run_s)

    async def _probe(self) -> str:
        """One probe; returns what is wrong, "" when nothing is."""
        servable, rows = self._servable, self._servable.examined.rows
        count = 1 if servable.batchability.mixes and rows.rows is not None else None
        try:
            answer = await servable.batcher.submit(
                rows.take([0]), count, Deadline.never(), origin=PROBE_ORIGIN, quiet=True
            )
        except (Rejected, Expired):  # a full queue is no fault, unless it is full because nothing ends any more
            return _SILENT if self._silent_since(self._alive_s) else ""
        except RetortError as error:
            return f"its probe failed: {error}"
        self._alive_s = self._clock.now_s()
        return "" if near(servable.examined.expected, answer.outputs) else "its probe got a wrong answer"
