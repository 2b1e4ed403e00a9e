"""A `Runner` whose session lives in a process of its own: when that dies, the rows in flight are run once more.

An inference changes nothing, so a second run is safe. Rows that end a second process are a failure of the run, and the
batcher looks for the request to blame as for any other. Knows nothing of requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn

from service.core.clock import Clock
from service.core.contract import Array, Arrays, TensorSpec
from service.core.errors import NotReady, RetortError, RunFailed, Stuck, Unavailable
from service.core.supervise import CrashWindow
from service.runtime.isolation.child import Child
from service.runtime.isolation.nursery import Nursery
from service.runtime.isolation.recipe import Recipe
from service.runtime.isolation.spare import Spare
from service.runtime.isolation.wire import Gone
from service.runtime.signature import Signature

Load = Callable[[Child, Callable[[], bool]], None]
Died = Callable[[str, str], None]

_REST_S = 10.0  # of a version whose processes die by themselves


class ProcessRunner:
    """One instance of a version.

    Args:
        recipe: of the version.
        nursery: where processes come from.
        device_id: the accelerator.
        cancel: set from another thread to give the first load up.
        clock: monotonic seconds.
        load_timeout_s: of a later load, in place of a process that died.
        spare: keeps a second process loaded, to take the place of the first at once.
        on_death: told why a process is gone that was not closed, and how it ended; on the thread of a run or a load.
        tries: how often rows are run whose process dies; 1 for a test that shows what the second is for.
        tell: told in a sentence that it rests, since its processes keep dying by themselves.

    Attributes:
        restarts: processes that took the place of another.

    Raises:
        BadModel, DoesNotFit, ...: as `OnnxRunner.load`.
        Stuck: cancelled.
    """

    def __init__(  # noqa: PLR0913 (all that a runner with processes is made of)
        self,
        recipe: Recipe,
        nursery: Nursery,
        device_id: int,
        *,
        cancel: threading.Event,
        clock: Clock,
        load_timeout_s: float,
        spare: bool = False,
        on_death: Died = lambda _reason, _ending: None,
        tries: int = 2,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._blank: Callable[[], Child] = nursery.child
        self._ending: Callable[[int], str] = nursery.ending
        self._on_death = on_death
        self._load: Load = lambda child, given_up: child.load(recipe, device_id, given_up)
        self._clock = clock
        self._tries = tries
        self._tell = tell
        self._busy = threading.Lock()  # between a run and `close`, which take the child apart
        self._closed = False
        self._stopped = False
        self._proven = False  # whether the child was given a run
        self._deaths = CrashWindow()  # of children that were given none: no rows are to blame
        self._not_before_s = -_REST_S
        self.restarts = 0
        self._signature: Signature | None = None
        self._child = self._born(cancel.is_set)
        self._signature = self._child.signature
        self._keeps_spare = spare
        self._spare = Spare(self._born, clock, load_timeout_s)
        if spare:
            self._spare.prepare()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Every input without a default."""
        return self._child.signature.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Every output that is a tensor; at least one."""
        return self._child.signature.outputs

    @property
    def omitted_outputs(self) -> tuple[str, ...]:
        """Names of the outputs that are never computed for a client."""
        return self._child.signature.omitted_outputs

    @property
    def provider(self) -> str:
        """What it runs on: "cpu", "cuda" or "tensorrt"."""
        return self._child.provider

    @property
    def resident_bytes(self) -> int:
        """Memory of its process now, and of its spare."""
        return self._child.resident_bytes + self._spare.resident_bytes

    @property
    def used_s(self) -> float:
        """Processor time of its process so far."""
        return self._child.used_s

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """Computes every output; see `Runner.run`.

        Raises:
            NotReady: its process is gone, and none takes its place.
        """
        with self._busy:
            self._stopped = False
            for _ in range(self._tries):
                self._replace_the_dead()
                self._proven = True  # whatever it dies of now, these rows are to blame for
                try:
                    return self._child.run(arrays)
                except Gone as gone:
                    self._bury(
                        self._child, "it did not end its run when it was asked to" if self._stopped else str(gone)
                    )
                    if self._stopped or self._closed:
                        raise Stuck("the run was stopped") from None
        raise RunFailed("the model's process died while it ran this request")

    def stop(self) -> None:
        """Ends the run in flight between two operators, or with its process; see `Runner.stop`."""
        self._stopped = True
        self._child.stop()

    def close(self) -> None:
        """Ends the process, and with it a run in flight; blocks for some milliseconds."""
        self._closed = True
        self._child.kill()
        self._spare.close()
        with self._busy:
            self._child.close()
            # Whoever still holds this holds neither bytes nor cradle.
            self._blank, self._load, self._ending = _closed, _closed, _closed

    def _replace_the_dead(self) -> None:
        if self._closed:
            _closed()
        if self._child.alive:
            return
        if not self._child.closed:
            self._bury(self._child, "it ended between two runs")
            if not self._proven:
                self._note_death()
        if self._clock.now_s() < self._not_before_s:
            raise self._resting()
        self._child, self._proven = self._next(), False
        self.restarts += 1

    def _next(self) -> Child:
        try:
            return self._spare.wait(lambda: self._closed or self._stopped)
        except Unavailable:
            raise
        except RetortError as error:
            raise NotReady(f"the model's process died and cannot be started again: {error}") from None
        finally:
            if self._keeps_spare:
                self._spare.prepare()

    def _born(self, given_up: Callable[[], bool]) -> Child:
        while True:
            child = self._blank()
            try:
                self._load(child, given_up)
                if self._signature not in (None, child.signature):
                    raise NotReady("the model's process died, and the next one describes another model")
            except Gone as gone:
                self._bury(child, str(gone))
                self._note_death()
            except BaseException:
                child.close()
                raise
            else:
                return child

    def _bury(self, child: Child, reason: str) -> None:
        """Lets a dead one's memory go, ends one that lies, and tells of it unless this runner is closed."""
        child.close()
        if not self._closed:
            self._on_death(reason, self._ending(child.pid))

    def _note_death(self) -> None:
        """Counts a death that no run is to blame for; the third within a minute is a crash loop."""
        if not self._deaths.record(self._clock.now_s()):
            self._not_before_s = self._clock.now_s() + _REST_S
            self._tell(f"its processes keep dying by themselves, the next is tried in {_REST_S:.0f} s")
            raise self._resting()

    def _resting(self) -> NotReady:
        return NotReady("the model's process keeps dying by itself", retry_after_s=int(_REST_S))


def _closed(*_: object) -> NoReturn:
    raise RunFailed("this version is closed")
