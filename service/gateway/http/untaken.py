"""What is read of a server, its metrics and descriptions, within a budget of its own until clients have taken it.

Such an answer has megabytes where there are hundreds of models, and whoever opens thousands of connections and takes
nothing would have the server keep as many. Not within that of inference, whose overload is to be seen here.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.errors import Rejected
from service.gateway.http.answers import problem_answer
from service.gateway.http.flow import TAKEN_OVER_BYTES
from service.gateway.problems import problem_of
from service.observe.logs import REQUEST_ID

_MIB = 1 << 20


class Untaken:
    """An application whose large answers to GET wait for their clients within a limit, one of any size alone.

    Args:
        app: answers, each time whole.
        limit_bytes: of such answers at once; one that would go beyond is refused.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes an answer on, or a refusal in its place."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        starts: list[Message] = []

        async def weighed(message: Message) -> None:
            if message["type"] == "http.response.start":
                starts.append(message)
                return
            size_bytes = len(message["body"])
            if size_bytes <= TAKEN_OVER_BYTES:
                size_bytes = 0
            elif self._held_bytes and self._held_bytes + size_bytes > self._limit_bytes:
                await problem_answer(problem_of(self._refusal(), REQUEST_ID.get("")))(scope, receive, send)
                return
            self._held_bytes += size_bytes
            try:
                await send(starts.pop())
                await send(message)
            finally:
                self._held_bytes -= size_bytes

        await self._app(scope, receive, weighed)

    def _refusal(self) -> Rejected:
        return Rejected(f"answers that their clients have not taken hold all of their {self._limit_bytes // _MIB} MiB")
