"""uvicorn as a part: binds first, tells when it answers, and stops when it is told, in two steps.

Signals are the application's: nothing here listens to them. Knows nothing of what the ASGI application does.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from service.gateway.http.bounds import Bounds
from service.gateway.http.connection import Connection
from service.gateway.http.heads import KNOWN_BYTES, Heads
from service.gateway.http.limits import Limits
from service.gateway.http.sweeper import Sweeper
from service.gateway.tls import GOODBYE_LIMIT_S, HANDSHAKE_LIMIT_S
from service.observe import logs

BACKLOG = 2048

# What uvicorn says of clients: of one that left while its answer was sent, of one that speaks no HTTP, and of one that
# offers another protocol. It is nobody's error here, answers are counted, and anyone could fill the log so.
_NO_NEWS = (
    "ASGI callable returned without completing response.",
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
)
_NO_WEBSOCKETS = "No supported WebSocket library"


class HttpServer:
    """One listening socket and the connections it accepts.

    Args:
        app: the ASGI application.
        host: address to bind.
        port: 0 for a free one.
        drain_timeout_s: how long requests in flight may take once stopping has begun.
        tls: of the connections; None for plain ones.
        limits: of each connection.
        refused: is told the status of each answer that is given before `app` hears of a request.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        drain_timeout_s: float,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        refused: Callable[[int], None] = lambda _: None,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self.host = host
        self._scheme = "http" if tls is None else "https"
        self.port: int = self._socket.getsockname()[1]
        limits = limits or Limits()
        self._sweeper = Sweeper(logs.logger("service.gateway.http"), limits.look_s)
        heads = Heads(min(KNOWN_BYTES, limits.head_bytes), limits.head_fields)
        connection: Any = partial(Connection, Bounds(limits, self._sweeper, refused, heads))
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                loop="none",
                http=connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # the peer is who connected; access rules rely on it
                backlog=BACKLOG,
                timeout_graceful_shutdown=max(1, round(drain_timeout_s)),
            ),
            tls,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"{self._scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def start(self) -> None:
        """Begins to answer; returns when it does."""
        connections: Any = self._server.server_state.connections  # ours, each
        self._sweeper.start(connections)  # first: whoever waits at the socket is accepted with the start, and timed
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="http")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait({self._task, up}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            self._sweeper.stop()
            self._task.result()

    def hurry(self) -> None:
        """Stops waiting for requests in flight."""
        self._server.force_exit = True

    async def stop(self) -> None:
        """Accepts no more connections, answers the requests in flight, and closes."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._sweeper.stop()
        self.close()

    def close(self) -> None:
        """Gives the address back; enough for a server that never started."""
        self._socket.close()


def _is_news(line: logging.LogRecord) -> bool:
    return line.msg not in _NO_NEWS and not str(line.msg).startswith(_NO_WEBSOCKETS)


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers, with an event for the moment it answers, and an end to slow handshakes."""

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._tls = tls
        self.up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        handshake_s, goodbye_s = (None, None) if self._tls is None else (HANDSHAKE_LIMIT_S, GOODBYE_LIMIT_S)
        self.servers = []
        for listening in sockets or ():
            server = await asyncio.get_running_loop().create_server(
                self._connection,
                sock=listening,
                ssl=self._tls,
                backlog=BACKLOG,
                ssl_handshake_timeout=handshake_s,
                ssl_shutdown_timeout=goodbye_s,
            )
            self.servers.append(server)
        self.started = True
        self.up.set()

    def _connection(self) -> asyncio.Protocol:
        connection: Any = self.config.http_protocol_class
        made: asyncio.Protocol = connection(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made
