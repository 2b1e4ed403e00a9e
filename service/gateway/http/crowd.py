"""Requests that are no inference take their turns of the loop, too: a crowd of them is begun over many.

A turn in which a loop answered hundreds of them would keep engines and inference waiting, and new connections most of
all, of which it accepts one a turn. Their share is their own: a crowd of inference requests keeps none of them waiting.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from service.gateway.http.request_head import CAME_S
from service.gateway.turns import Turns


class Crowd:
    """An application whose requests wait for their turn.

    Args:
        app: answers them.
        turns: of the loop, for these alone.
    """

    def __init__(self, app: ASGIApp, turns: Turns) -> None:
        self._app = app
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on when it is its turn."""
        if (turn := self._turns.take()) is not None:
            scope[CAME_S] = self._turns.now_s()
            await turn
        await self._app(scope, receive, send)
