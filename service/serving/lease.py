"""Holds a servable open while a request is answered."""

from __future__ import annotations

from types import TracebackType

from service.serving.servable import Servable


class Lease:
    """Holds a servable open for one request: `with catalog.lease(ref) as servable`."""

    __slots__ = ("_servable",)

    def __init__(self, servable: Servable) -> None:
        self._servable = servable
        servable.acquire()

    def __enter__(self) -> Servable:
        return self._servable

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._servable.release()
