"""Every way in, as one part: HTTP and gRPC bind together, answer together, and stop together.

What both share is made here once: the regions of shared memory, the counts of answers, the budget of the bytes in
flight, and the turns of the loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from service.core.clock import Clock
from service.gateway import http
from service.gateway.budget import ByteBudget
from service.gateway.controls import Controls
from service.gateway.credentials import Credentials
from service.gateway.http.limits import Limits, connections_within
from service.gateway.http.server import HttpServer
from service.gateway.shared_memory import SharedMemory
from service.gateway.turns import Turns
from service.observe.names import GRPC_CODES
from service.serving.catalog import Catalog
from service.serving.readiness import Health

T = TypeVar("T")

NO_PORT = -1


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how to listen.

    Attributes:
        host: address to bind.
        http_port: 0 for a free one.
        grpc_port: 0 for a free one, `NO_PORT` for no gRPC.
        max_body_bytes: the largest request.
        drain_timeout_s: how long requests in flight may take once stopping has begun.
        max_in_flight_bytes: of requests and answers at once; a body is never let be larger.
        descriptors: that the process may have open, -1 for any number.
        access_log: whether every request gets a line.
        cors_origins: whose web pages may use the service.
        shared_memory: whether clients on this machine may pass tensors in shared memory.
    """

    host: str
    http_port: int
    grpc_port: int
    max_body_bytes: int
    drain_timeout_s: float
    max_in_flight_bytes: int = sys.maxsize
    descriptors: int = -1
    access_log: bool = False
    cors_origins: tuple[str, ...] = ()
    shared_memory: bool = False


class AddressRefused(Exception):
    """An address cannot be bound; one sentence says which, why, and what to do."""


class Front(Protocol):
    """One server."""

    @property
    def url(self) -> str:
        """Where clients reach it."""
        ...

    async def start(self) -> None:
        """Begins to answer."""
        ...

    def hurry(self) -> None:
        """Stops waiting for requests in flight."""
        ...

    async def stop(self) -> None:
        """Takes nothing new, answers what is in flight, and closes."""
        ...


class _Common:
    """What the servers of one process have in common, made once; makes each of them, bound."""

    def __init__(
        self,
        catalog: Catalog,
        health: Health,
        listening: Listening,
        clock: Clock,
        controls: Controls,
        credentials: Credentials,
    ) -> None:
        self._catalog = catalog
        self._health = health
        self._listening = listening
        self._clock = clock
        self._controls = controls
        self._credentials = credentials
        self._budget = ByteBudget(listening.max_in_flight_bytes)
        self._max_body_bytes = min(listening.max_body_bytes, self._budget.large_limit_bytes)
        self._shared_memory = SharedMemory(listening.shared_memory, self._max_body_bytes)
        self._turns = Turns(clock)
        self._calls = Counter(dict.fromkeys(GRPC_CODES, 0))

    def http(self) -> HttpServer:
        """Raises OSError: the port cannot be bound."""
        listening, credentials, responses = self._listening, self._credentials, Counter[int]()
        app = http.build(
            self._catalog,
            self._health,
            max_body_bytes=self._max_body_bytes,
            access_log=listening.access_log,
            shared_memory=self._shared_memory,
            cors_origins=listening.cors_origins,
            calls=self._calls,
            responses=responses,
            budget=self._budget,
            clock=self._clock,
            controls=self._controls,
            keyring=credentials.keyring,
            turns=self._turns,
            certificate_left_s=None if credentials.certificate is None else credentials.certificate.left_s,
        )

        def refused(status: int) -> None:
            responses[status] += 1

        return HttpServer(
            app,
            listening.host,
            listening.http_port,
            drain_timeout_s=listening.drain_timeout_s,
            tls=credentials.context,
            limits=Limits(connections=connections_within(listening.descriptors)),
            refused=refused,
        )

    def grpc(self) -> Front:
        """Raises OSError: the port cannot be bound."""
        from service.gateway.grpc.build import build  # noqa: PLC0415 - takes a quarter of a second

        return build(
            self._catalog,
            self._health,
            self._listening.host,
            self._listening.grpc_port,
            shared_memory=self._shared_memory,
            responses=self._calls,
            clock=self._clock,
            max_body_bytes=self._max_body_bytes,
            drain_timeout_s=self._listening.drain_timeout_s,
            access_log=self._listening.access_log,
            controls=self._controls,
            budget=self._budget,
            keyring=self._credentials.keyring,
            certificate=self._credentials.certificate,
            turns=self._turns,
        )


class Fronts:
    """The servers of one process, bound when made; made on the event loop.

    Args:
        catalog: who answers.
        health: whether the server is live and ready.
        listening: where and how.
        clock: monotonic seconds, for deadlines.
        controls: what is traced and logged.
        credentials: the keys that clients hold, and the certificate that they see.

    Raises:
        AddressRefused: a port is taken, or the address is none of this machine.
    """

    def __init__(
        self,
        catalog: Catalog,
        health: Health,
        listening: Listening,
        clock: Clock,
        controls: Controls,
        credentials: Credentials,
    ) -> None:
        common, host = _Common(catalog, health, listening, clock, controls, credentials), listening.host
        http_front = _bound(common.http, f"{host}:{listening.http_port}", "--http-port")
        self._fronts: tuple[Front, ...] = (http_front,)
        if listening.grpc_port == NO_PORT:
            return
        try:
            grpc_front = _bound(common.grpc, f"{host}:{listening.grpc_port}", "--grpc-port")
        except AddressRefused:
            http_front.close()
            raise
        self._fronts = (http_front, grpc_front)

    @property
    def urls(self) -> str:
        """Where clients reach them, for a person."""
        return " ".join(front.url for front in self._fronts)

    async def start(self) -> None:
        """Begins to answer; returns when all do."""
        await asyncio.gather(*(front.start() for front in self._fronts))

    def hurry(self) -> None:
        """Stops waiting for requests in flight."""
        for front in self._fronts:
            front.hurry()

    async def stop(self) -> None:
        """Takes nothing new, answers what is in flight, and closes."""
        await asyncio.gather(*(front.stop() for front in self._fronts))


def _bound(bind: Callable[[], T], where: str, option: str) -> T:
    try:
        return bind()
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while ")[0].lower()
        raise AddressRefused(f"cannot listen on {where}: {reason}; choose another with --host and {option}") from error
