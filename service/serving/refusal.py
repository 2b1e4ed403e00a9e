"""Turns requests away before they are read, while the version that would answer them lets nobody in.

Under overload most requests are refused, and what each refusal costs is taken from those that are served. Knows nothing
of transports, nor of what the request asks for: one that need not be run, or that is next in its sequence, is let pass.
"""

from __future__ import annotations

from service.core.contract import ModelRef
from service.core.errors import RetortError
from service.serving.catalog import Catalog
from service.serving.counted import Counted
from service.serving.servable import Servable


def check_room(servable: Servable) -> None:
    """Raises Rejected where a request to `servable` would be refused whatever it says."""
    if servable.cache is None and servable.sequencer is None:
        servable.batcher.check_room()


def turn_away(catalog: Catalog, ref: ModelRef) -> None:
    """Raises Rejected, counted for the version that would answer `ref`, where that lets nobody in.

    A name that nothing answers to is let pass: it is told so once the request is read.
    """
    try:
        lease = catalog.lease(ref)
    except RetortError:
        return
    with lease as servable, Counted(servable.statistics):
        check_room(servable)
