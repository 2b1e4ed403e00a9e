"""uvicorn's flow control, which reads nothing more of a client while requests of it wait for their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

TAKEN_OVER_BYTES = 64 << 10  # of an answer, by a connection before it makes its writer wait


class Flow(FlowControl):
    """Of one connection; uvicorn's own would read on whenever a handler looks for its client.

    Args:
        transport: to the client.
        waiting: requests behind the one that is being answered.
    """

    def __init__(self, transport: asyncio.Transport, waiting: deque[Any]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Reads on where nothing waits."""
        if not self._waiting:
            super().resume_reading()
