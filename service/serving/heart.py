"""Is this version alive? Its own probe rows go through its queue, again and again; clients' requests prove nothing.

A full queue or a long one does not fail it as long as batches go on ending, nor does a long run that computes. A runner
that neither answers the probe nor ends any batch nor computes for longer than its runs take does, and so does a wrong
answer.
"""

from __future__ import annotations

import asyncio

from service.core.clock import Clock
from service.core.deadline import Deadline
from service.core.errors import Expired, Rejected, RetortError
from service.observe.logs import Log
from service.serving.effort import Effort
from service.serving.nearness import near
from service.serving.servable import PROBE_ORIGIN, Servable

LEAST_ALLOWED_S = 1.0
_RUNS_ALLOWED = 4
_RUNS_APART = 10  # from one probe's begin to the next: a slow version spends a tenth of its time on them at most
_RUNS_APART_IN_USE = 300  # where clients are answered, who would wait for them
_MOST_APART_IN_USE_S = 1.5  # for only a probe sees a wrong answer; of a version whose ten runs take less
_LOOKED_AT = 0.25  # of the silence that is allowed: whether anybody computes
_SILENT = "its runner does not answer"


class Heart:
    """The probe of one servable; `tick` it a few times a second.

    Attributes:
        ok: what the last evidence says.
        reason: one sentence when not ok.
    """

    def __init__(self, servable: Servable, clock: Clock, log: Log | None = None) -> None:
        self._servable = servable
        self._clock = clock
        self._log = log
        self._began_s = self._alive_s = self._next_s = self._next_in_use_s = clock.now_s()
        self._effort = Effort(servable, clock)
        self._task: asyncio.Task[str] | None = None
        self._clients_wait = False
        self.ok = True
        self.reason = ""

    def tick(self) -> None:
        """Takes note of a probe that ended, begins the next, or finds that the present one takes too long."""
        if not self._servable.batcher.healthy:
            self._note("its batcher has failed and is being restarted")
        elif self._servable.examined.rows is None:
            self._note(_SILENT if self._stands_still() else "")
        else:
            self._probe_on()

    def _stands_still(self) -> bool:
        """Whether clients wait and nothing ends: all there is to see of a version that nothing made up runs on."""
        waited, self._clients_wait = self._clients_wait, self._servable.batcher.pending > 0
        if not waited:
            self._alive_s = self._clock.now_s()
        # A runner that refuses one request after another does not stand still; nobody else can prove it well.
        return self._clients_wait and self._silent_since(max(self._alive_s, self._servable.pulse.last_refusal_s))

    def _probe_on(self) -> None:
        if self._task is not None and self._task.done():
            self._note(self._task.result())
            self._task = None
        if self._task is None:
            if self._clock.now_s() >= (self._next_in_use_s if self._is_in_use() else self._next_s):
                self._begin()
        elif self._silent_since(self._began_s):
            self._note(_SILENT)
        elif self.reason == _SILENT:
            self._note("")

    def _is_in_use(self) -> bool:
        """Whether clients wait, and runs of theirs have been ending until now; never of a version that is not well."""
        silent_s = self._clock.now_s() - self._servable.pulse.last_batch_s
        return self.ok and self._servable.batcher.pending > 0 and silent_s <= self._usual_s()

    async def stop(self) -> None:
        """Cancels the probe under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        self._began_s = self._clock.now_s()
        run_s = self._servable.examined.curve.predict_s(1)
        self._next_s = self._began_s + _RUNS_APART * run_s
        in_use_s = min(_RUNS_APART_IN_USE * run_s, _MOST_APART_IN_USE_S)
        self._next_in_use_s = max(self._next_s, self._began_s + in_use_s)
        self._task = asyncio.get_running_loop().create_task(self._probe(), name=f"probe {self._servable.model}")

    def _note(self, reason: str) -> None:
        self.ok, self.reason = not reason, reason

    def _silent_since(self, sign_s: float) -> bool:
        """Whether neither at `sign_s` nor later there was a sign of life, for longer than one may take to come."""
        pulse = self._servable.pulse
        # The curve knows rows alone; rows that are longer than usual show in the slowest run.
        run_s = max(self._usual_s(), pulse.slowest_run_s)
        delay_s = self._servable.config.max_queue_delay_s  # the probe's row waits too
        allowed_s = max(LEAST_ALLOWED_S, _RUNS_ALLOWED * run_s) + delay_s
        silent_s = self._clock.now_s() - max(sign_s, pulse.last_batch_s)
        if silent_s > _LOOKED_AT * allowed_s:
            self._effort.look()
            silent_s = min(silent_s, self._clock.now_s() - self._effort.seen_s)
        return silent_s > allowed_s

    def _usual_s(self) -> float:
        """Of the largest run."""
        return self._servable.examined.curve.predict_s(self._servable.config.max_batch_size)

    async def _probe(self) -> str:
        """One probe; returns what is wrong, "" when nothing is."""
        servable, rows = self._servable, self._servable.examined.rows
        assert rows is not None  # noqa: S101 - `tick` probes no other
        count = 1 if servable.batchability.mixes and rows.rows is not None else None
        try:
            answer = await servable.batcher.submit(
                rows.take([0]), count, Deadline.never(), origin=PROBE_ORIGIN, quiet=True
            )
            self._alive_s = self._clock.now_s()
            return "" if near(servable.examined.expected, answer.outputs) else "its probe got a wrong answer"
        except (Rejected, Expired):  # a full queue is no fault, unless it is full because nothing ends any more
            return _SILENT if self._silent_since(self._alive_s) else ""
        except RetortError as error:
            return f"its probe failed: {error}"
        except Exception as error:  # ours, wherever it is: this version is not well, and others are probed on
            if self._log is not None:
                self._log.error("probe failed", model=servable.model, version=servable.version, exc_info=error)
            return "its probe met an unexpected error"
