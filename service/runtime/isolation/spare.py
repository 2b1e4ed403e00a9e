"""A process that is loaded before it is needed, for a version that takes long to load. It costs the memory of one more.

`take` and `prepare` by one thread at a time; `close` by any.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from service.core.errors import RetortError
from service.runtime.isolation.child import Child

Born = Callable[[Callable[[], bool]], Child]


class Spare:
    """None or one.

    Args:
        born: makes one, blocking; asks what it is given whether that is still wanted.
    """

    def __init__(self, born: Born) -> None:
        self._born = born
        self._lock = threading.Lock()  # guards _child, which a thread of its own brings
        self._child: Child | None = None
        self._closed = False

    @property
    def resident_bytes(self) -> int:
        """Its memory now."""
        child = self._child
        return child.resident_bytes if child is not None else 0

    def prepare(self) -> None:
        """Begins to load one; returns at once. Where that fails there is none."""
        threading.Thread(target=self._load, name="spare process", daemon=True).start()

    def take(self) -> Child | None:
        """The one that is ready; None where there is none, or it has died."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None and not child.alive:
            child.close()
            return None
        return child

    def close(self) -> None:
        """Ends it; one that is being loaded ends within some milliseconds."""
        with self._lock:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.close()

    def _load(self) -> None:
        try:
            child = self._born(lambda: self._closed)
        except RetortError:
            return
        with self._lock:
            if not self._closed and self._child is None:
                self._child = child
                return
        child.close()
