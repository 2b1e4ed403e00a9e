"""Whether a connection is read from: uvicorn's flow control, which waits for the requests that wait for their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """Reads nothing more while requests wait for their turn: uvicorn would, whenever a handler looks for its client.

    Args:
        transport: of the connection.
        waiting: its requests that wait for their turn.
    """

    def __init__(self, transport: asyncio.Transport, waiting: deque[Any]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Reads on, where nobody waits."""
        if not self._waiting:
            super().resume_reading()
