"""The server as a whole: the order in which its parts start and stop. `assembly` makes the parts.

Start: listen (not ready), load, probe, ready. Stop: ready off, answer on for the drain delay, stop accepting, finish
what was accepted, close batchers, close runners.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import uvloop

from service import assembly
from service.core.clock import MonotonicClock
from service.core.supervise import Supervisor
from service.gateway.controls import Controls
from service.gateway.fronts import Fronts
from service.observe import logs
from service.observe.log_settings import LogSettings
from service.observe.logs import Log
from service.runtime import memory
from service.runtime.trial_process import TrialAhead
from service.serving.readiness import Health
from service.serving.threads import in_thread
from service.settings import Settings

TRACES_CLOSE_S = 5.0  # a collector that hangs costs spans, not a slow end
_YOUNG_OBJECTS = 10_000  # before a look for cycles among them: those of 64 requests are thousands, and hold none
CLOSE_AT_LEAST_S = 1.0  # closing a model that nobody uses takes milliseconds, and is not given up for haste


def serve(settings: Settings, say: Callable[[str], None], ahead: TrialAhead | None = None) -> int:
    """Serves until SIGTERM or SIGINT.

    Args:
        settings: of this process.
        say: gets one line when the server is ready.
        ahead: a process that waits for the first trial; closed once the models are loaded.

    Returns:
        The exit code: 0 after a signal, 1 when a part gave up for good.

    Raises:
        CannotStart: the address is taken, or the provider that was asked for is not to be had.
    """
    memory.share_one_heap()
    output = logs.configure(settings.log_level, settings.log_format)
    server = Server(settings, say, LogSettings(output, settings.log_level), ahead)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        exit_code = runner.run(server.run())
        _hear_no_more(runner.get_loop())
    if server.left_runs_behind:  # the interpreter would end under a thread inside ONNX Runtime, which aborts
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    return exit_code


def _hear_no_more(loop: asyncio.AbstractEventLoop) -> None:
    """A signal that comes now finds a server that has ended well; the loop would leave it to the system."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


@dataclass(slots=True)
class _Ending:
    """Why the server ends: a signal (again: in a hurry), or a part that gave up for good."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    in_a_hurry: asyncio.Event = field(default_factory=asyncio.Event)
    exit_code: int = 0

    def by_signal(self) -> None:
        if self.begun.is_set():
            self.in_a_hurry.set()
        self.begun.set()

    def by_failure(self) -> None:
        self.exit_code = 1
        self.begun.set()


class Server:
    """Every part of one running service, put together.

    Args:
        settings: of this process.
        say: gets one line when the server is ready.
        log_settings: what clients may change of the log; None for nothing.
        ahead: a process that waits for the first trial.

    Attributes:
        left_runs_behind: whether models did not close in time, so that runs may still go on.
    """

    def __init__(
        self,
        settings: Settings,
        say: Callable[[str], None],
        log_settings: LogSettings | None = None,
        ahead: TrialAhead | None = None,
    ) -> None:
        self._settings = settings
        self._say = say
        self._log: Log = logs.logger("service")
        self._ending = _Ending()
        self.left_runs_behind = False
        self._clock = MonotonicClock()
        self._credentials = assembly.credentials_of(settings, self._clock, self._log)
        self._traces = assembly.traces_of(settings)
        tracing = self._traces.tracing
        self._controls = Controls(tracing, log_settings) if log_settings is not None else Controls(tracing)
        self._catalog = assembly.catalog_of(settings, self._clock, self._log, self._fatal, ahead)
        self._ahead = ahead
        self._health = Health(self._catalog, settings.required_models)

    async def run(self) -> int:
        """Starts, serves, stops; returns the exit code."""
        renewal = self._credentials.renewal
        fronts = assembly.fronts_of(
            self._settings, self._catalog, self._health, self._clock, self._controls, self._credentials
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.by_signal)
        if renewal is not None:
            loop.add_signal_handler(signal.SIGHUP, renewal.read_all)
        elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` sets it
            loop.add_signal_handler(signal.SIGHUP, self._ending.by_signal)
        await fronts.start()
        watchers = assembly.watchers_of(
            self._catalog, self._health, self._clock, self._log, self._fatal, self._credentials
        )
        loading = asyncio.create_task(self._load(fronts, watchers), name="load models")
        loading.add_done_callback(self._loaded)
        await self._ending.begun.wait()
        await self._stop(fronts, watchers, loading)
        return self._ending.exit_code

    async def _load(self, fronts: Fronts, watchers: list[Supervisor]) -> None:
        await self._catalog.start(first=self._settings.required_models or ())
        if self._ahead is not None:
            self._ahead.close()
        self._health.started()
        for watcher in watchers:
            watcher.start()
        gc.freeze()  # what lives now lives long: keep it out of later collections
        gc.set_threshold(_YOUNG_OBJECTS)
        served = [name for name in self._catalog.models() if self._catalog.ready(name).ok]
        if self._settings.single_file is not None and not served:
            self._fatal("; ".join(self._catalog.reason(name) for name in self._catalog.models()))
            return
        if not served:
            self._log.warning("no model is served", repository=[str(folder) for folder in self._settings.repository])
        ready = self._health.ready()
        told = f"{fronts.urls} (models: {', '.join(served) or 'none'})"
        try:
            self._say(f"retort ready: {told}" if ready.ok else f"retort not ready: {told}: {ready.reason}")
        except OSError as error:  # its reader left, which is no reason not to serve
            self._log.warning("nobody took the ready line", reason=error.strerror)

    def _loaded(self, loading: asyncio.Task[None]) -> None:
        """A model that does not load is its own affair; anything else that fails here leaves nothing to serve."""
        error = None if loading.cancelled() else loading.exception()
        if error is not None:
            self._log.error("loading failed", exc_info=error)
            self._fatal("the models could not be loaded")

    async def _stop(self, fronts: Fronts, watchers: list[Supervisor], loading: asyncio.Task[None]) -> None:
        self._health.draining()
        self._log.info("stopping")
        hurry = asyncio.create_task(self._ending.in_a_hurry.wait())
        hurry.add_done_callback(lambda task: None if task.cancelled() else fronts.hurry())
        await asyncio.wait({hurry}, timeout=self._settings.drain_delay_s)
        self._catalog.give_up_loads()
        loading.cancel()
        await asyncio.gather(loading, *(watcher.stop() for watcher in watchers), return_exceptions=True)
        end_s = self._clock.now_s() + self._settings.drain_timeout_s  # of all that is in flight, here and in queues
        await fronts.stop()
        await self._close_models(end_s, hurry)
        await self._close_traces(end_s, hurry)
        hurry.cancel()
        self._log.info("stopped")

    async def _close_models(self, end_s: float, hurry: asyncio.Task[bool]) -> None:
        closing = asyncio.create_task(self._catalog.close(), name="close models")
        left_s = max(CLOSE_AT_LEAST_S, end_s - self._clock.now_s())
        await asyncio.wait({closing, hurry}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({closing}, timeout=CLOSE_AT_LEAST_S)
        if not closing.done():
            self._log.error("models did not close in time", seconds=self._settings.drain_timeout_s)
            closing.cancel()
            self.left_runs_behind = True
        [ended] = await asyncio.gather(closing, return_exceptions=True)
        if isinstance(ended, Exception):
            self._log.error("models did not close well", exc_info=ended)

    async def _close_traces(self, end_s: float, hurry: asyncio.Task[bool]) -> None:
        if self._traces.open:
            left_s = max(CLOSE_AT_LEAST_S, min(TRACES_CLOSE_S, end_s - self._clock.now_s()))
            closing = asyncio.create_task(in_thread("close traces", lambda: self._traces.close(left_s)))
            await asyncio.wait({closing, hurry}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({closing}, timeout=CLOSE_AT_LEAST_S)

    def _fatal(self, sentence: str) -> None:
        self._log.error("giving up", reason=sentence)
        self._ending.by_failure()
