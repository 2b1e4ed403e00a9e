"""Runs that end: one that takes longer than it may is stopped between two operators, and a sentence says so.

A model file is a program, and a loop in it need not end; nor need a loop of a variant end where its full version's
does. The limit costs a run two writes of an attribute. Knows nothing of what is measured.
"""

from __future__ import annotations

import threading
import time
import weakref

from service.core.contract import Array, Arrays, TensorSpec
from service.core.errors import Stuck
from service.runtime.runner import Runner

RUN_TIMEOUT_S = 300.0
_LOOKS_S = 0.25


class BoundedRunner:
    """A runner whose runs end by themselves or are stopped; itself a `Runner`, for one thread.

    Args:
        runner: what runs; it is closed with this one.
        timeout_s: of a run.
    """

    def __init__(self, runner: Runner, timeout_s: float = RUN_TIMEOUT_S) -> None:
        self._runner = runner
        self._timeout_s = timeout_s
        self._began_s: float | None = None  # of the run in flight
        self._closed = threading.Event()
        # By a weak reference: one that nobody closed ends its thread, too.
        watch = threading.Thread(target=_watch, args=(weakref.ref(self), self._closed), name="retort-run", daemon=True)
        watch.start()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """See `Runner.inputs`."""
        return self._runner.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Runner.outputs`."""
        return self._runner.outputs

    @property
    def omitted_outputs(self) -> tuple[str, ...]:
        """See `Runner.omitted_outputs`."""
        return self._runner.omitted_outputs

    @property
    def provider(self) -> str:
        """See `Runner.provider`."""
        return self._runner.provider

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """See `Runner.run`.

        Raises:
            Stuck: it took longer than it may.
        """
        self._began_s = time.monotonic()
        try:
            return self._runner.run(arrays)
        except Stuck as error:
            rows = max((len(array) for array in arrays.values() if array.ndim), default=1)
            raise Stuck(
                f"the model's run of {rows} row{'s' if rows > 1 else ''} was stopped: it was expected to end within "
                f"{self._timeout_s:g} s (--run-timeout), and a loop in the graph may never end"
            ) from error
        finally:
            self._began_s = None

    def stop(self) -> None:
        """See `Runner.stop`."""
        self._runner.stop()

    def close(self) -> None:
        """See `Runner.close`."""
        self._closed.set()
        self._runner.close()

    def stop_overdue(self) -> None:
        """Stops the run in flight if its time is up."""
        began_s = self._began_s
        if began_s is not None and time.monotonic() - began_s > self._timeout_s:
            self._runner.stop()


def _watch(watched: weakref.ref[BoundedRunner], closed: threading.Event) -> None:
    while not closed.wait(_LOOKS_S):
        runner = watched()
        if runner is None:
            return
        runner.stop_overdue()
        del runner  # a strong reference would keep it while this waits
