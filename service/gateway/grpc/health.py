"""grpc.health.v1: "" and the inference service's name stand for the server, a model's name for that model.

Source: grpc/doc/health-checking.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.core.errors import NotFound, RetortError
from service.gateway.grpc.arrivals import Arrivals
from service.gateway.grpc.rights import key_of
from service.gateway.keyring import Keyring
from service.gateway.problems import call_problem_of
from service.gateway.rights import Right
from service.serving.catalog import Catalog
from service.serving.readiness import Health

LOOK_EVERY_S = 0.25
WATCHERS_LIMIT = 100
_NAME_LIMIT = 1024  # of what is kept of a name while it is watched; those that anything here has are shorter
INFERENCE = "inference.GRPCInferenceService"
_SERVER = ("", INFERENCE)

_Status = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """The health service.

    Args:
        catalog: asked about models.
        health: asked about the server.
        stopping: set when the server stops, which ends every watch.
        arrivals: where calls wait for their messages.
        keyring: who may ask about models; about the server everybody may. None: everybody may ask anything.
    """

    def __init__(
        self,
        catalog: Catalog,
        health: Health,
        stopping: asyncio.Event,
        arrivals: Arrivals,
        keyring: Keyring | None = None,
    ) -> None:
        self._arrivals = arrivals
        self._keyring = keyring
        self._catalog = catalog
        self._health = health
        self._stopping = stopping
        self._watchers = 0

    async def Check(self, _requests: Any, context: Any) -> Any:
        """The status of a service now; NOT_FOUND for a name that nothing here has."""
        status = self._status(await self._asked(context))
        if status == _Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no service or model of that name")
        return _Status(status=status)

    async def Watch(self, _requests: Any, context: Any) -> AsyncIterator[Any]:
        """The status now, and again whenever it changes, until the client leaves or the server stops."""
        service = await self._asked(context)
        if self._watchers >= WATCHERS_LIMIT:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"there are {WATCHERS_LIMIT} watchers already")
        self._watchers += 1
        try:
            told = None
            while True:
                status = self._status(service)
                if status != told:
                    told = status
                    yield _Status(status=status)
                if self._stopping.is_set():
                    return
                await self._check_key(service, context)  # which may be taken away meanwhile
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), LOOK_EVERY_S)
        finally:
            self._watchers -= 1

    async def _asked(self, context: Any) -> str:
        """Which service a call asks for; ends the call where that may not be."""
        try:
            service: str = (await self._arrivals.message(context)).service[:_NAME_LIMIT]
        except RetortError as error:
            await _abort(context, error)
        await self._check_key(service, context)
        return service

    async def _check_key(self, service: str, context: Any) -> None:
        if self._keyring is None or service in _SERVER:
            return
        metadata = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        try:
            self._keyring.identify(key_of(metadata), Right.INFER)
        except RetortError as error:
            await _abort(context, error)

    def _status(self, service: str) -> int:
        try:
            readiness = self._health.ready() if service in _SERVER else self._catalog.ready(service)
        except NotFound:
            return int(_Status.SERVICE_UNKNOWN)
        return int(_Status.SERVING if readiness.ok else _Status.NOT_SERVING)


async def _abort(context: Any, error: RetortError) -> None:
    problem = call_problem_of(error, "")
    await context.abort(grpc.StatusCode[problem.code], problem.sentence)
