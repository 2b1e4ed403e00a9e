"""The process that takes the place of one that died: loaded on a thread of its own, when it is wanted or ahead of that.

Ahead for a version that takes long to load; it costs the memory of one more. A load goes on though the run that waits
for it is given up: the next finds it. There is one at a time, and its time is bounded.
`take`, `wait` and `prepare` by one thread at a time; `close` by any.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from service.core.clock import Clock
from service.core.errors import NotReady, Stuck
from service.runtime.isolation.child import Child

Born = Callable[[Callable[[], bool]], Child]

_LOOK_S = 0.02


class Spare:
    """None or one.

    Args:
        born: makes one, blocking; asks what it is given whether that is still wanted.
        clock: monotonic seconds.
        load_timeout_s: after which it is no longer wanted.
    """

    def __init__(self, born: Born, clock: Clock, load_timeout_s: float) -> None:
        self._born = born
        self._clock = clock
        self._load_timeout_s = load_timeout_s
        self._changed = threading.Condition()  # guards what follows, which a thread of its own brings
        self._child: Child | None = None
        self._error: Exception | None = None  # of the last load
        self._loading = False
        self._closed = False

    @property
    def resident_bytes(self) -> int:
        """Its memory now."""
        child = self._child
        return child.resident_bytes if child is not None else 0

    def prepare(self) -> None:
        """Begins to load one, unless one is there or on its way; returns at once. Where that fails there is none."""
        with self._changed:
            if self._loading or self._closed or self._child is not None:
                return
            try:
                threading.Thread(target=self._load, name="spare process", daemon=True).start()
            except RuntimeError:  # what models start may count with the server's own
                self._error = NotReady("no thread can be started to load the model's process")
            else:
                self._loading, self._error = True, None

    def take(self) -> Child | None:
        """The one that is ready; None where there is none, or it has died."""
        with self._changed:
            child, self._child = self._child, None
        if child is not None and not child.alive:
            child.close()
            return None
        return child

    def wait(self, given_up: Callable[[], bool]) -> Child:
        """The one that is ready, or else the next, loaded now; blocks.

        Raises:
            Stuck: given up meanwhile; it is loaded on, for whoever comes next.
            RetortError: it cannot be loaded.
        """
        child = self.take()
        if child is not None:
            return child
        self.prepare()
        with self._changed:
            while self._loading:
                if given_up():
                    raise Stuck("the run was stopped")
                self._changed.wait(_LOOK_S)
            error, self._error = self._error, None
            child, self._child = self._child, None
        try:
            if child is None:
                raise error or Stuck("the run was stopped")
            return child
        finally:
            del error  # whose traceback holds this frame: no cycle may keep the runner

    def close(self) -> None:
        """Ends it; one that is being loaded ends within some milliseconds."""
        with self._changed:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.close()

    def _load(self) -> None:
        end_s = self._clock.now_s() + self._load_timeout_s
        child, error = None, None
        try:
            child = self._born(lambda: self._closed or self._clock.now_s() > end_s)
        except Exception as raised:
            error = raised.with_traceback(None)  # whose frames would keep the cradle
            error.__cause__ = error.__context__ = None
        with self._changed:
            self._loading, self._error = False, error
            if not self._closed:
                self._child, child = child, None
            self._changed.notify_all()
        if child is not None:
            child.close()
