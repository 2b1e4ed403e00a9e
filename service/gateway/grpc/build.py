"""Puts the gRPC side together. Imported when a server starts: the stubs take a quarter of a second to load."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from importlib.metadata import version as installed_version
from typing import Any

from grpc_health.v1 import health_pb2_grpc
from tritonclient.grpc import service_pb2_grpc

from service.core.clock import Clock
from service.gateway.budget import ByteBudget
from service.gateway.controls import Controls
from service.gateway.grpc.arrivals import Arrivals
from service.gateway.grpc.calls import Calls
from service.gateway.grpc.health import INFERENCE, HealthService
from service.gateway.grpc.inference import Inference
from service.gateway.grpc.readable import TolerantServer
from service.gateway.grpc.server import GrpcServer
from service.gateway.grpc.service import InferenceService
from service.gateway.grpc.settings import Settings
from service.gateway.keyring import Keyring
from service.gateway.shared_memory import SharedMemory
from service.gateway.tls import Certificate
from service.gateway.turns import Turns
from service.observe import logs
from service.serving.catalog import Catalog
from service.serving.readiness import Health

_HEALTH = "grpc.health.v1.Health"


def build(  # noqa: PLR0913 - all of it is the composition root's to say
    catalog: Catalog,
    health: Health,
    host: str,
    port: int,
    *,
    shared_memory: SharedMemory,
    responses: Counter[str],
    clock: Clock,
    max_body_bytes: int,
    drain_timeout_s: float,
    access_log: bool = False,
    controls: Controls | None = None,
    budget: ByteBudget | None = None,
    keyring: Keyring | None = None,
    certificate: Certificate | None = None,
    turns: Turns | None = None,
) -> GrpcServer:
    """The gRPC side of the service, bound and not yet answering.

    Args:
        catalog: who answers.
        health: whether the server is live and ready.
        host: address to bind.
        port: 0 for a free one.
        shared_memory: the regions that clients registered.
        responses: gRPC code -> calls that ended so; counted here.
        clock: monotonic seconds, for deadlines.
        max_body_bytes: the largest message.
        drain_timeout_s: how long calls in flight may take once stopping has begun.
        access_log: whether every answer gets a line.
        controls: what is traced and logged; None for nothing that could be changed.
        budget: of the bytes in flight; None for as many as come.
        keyring: who may do what; None for the rules of a server without keys.
        certificate: shown to clients; None for plain connections.
        turns: of the loop, for inference requests; None for turns that nobody else takes.

    Raises:
        OSError: the address cannot be bound.
    """
    access = logs.logger("service.access") if access_log else None
    budget = budget or ByteBudget(sys.maxsize)
    arrivals = Arrivals(budget, max_body_bytes)
    calls = Calls(responses, logs.logger("service.gateway.grpc"), access, keyring, budget, arrivals)
    controls = controls or Controls()
    stopping = asyncio.Event()
    turns = turns or Turns(clock)
    inference = Inference(calls, catalog, clock, shared_memory, controls.tracing, stopping, turns)
    settings, version = Settings(catalog, controls), installed_version("retort")
    service = InferenceService(calls, inference, catalog, health, shared_memory, settings, version)

    def register(bare: Any) -> None:
        server = TolerantServer(bare)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)
        about = HealthService(catalog, health, stopping, arrivals, keyring)
        health_pb2_grpc.add_HealthServicer_to_server(about, server)

    return GrpcServer(
        register,
        (INFERENCE, _HEALTH),
        host,
        port,
        max_body_bytes=max_body_bytes,
        drain_timeout_s=drain_timeout_s,
        stopping=stopping,
        certificate=certificate,
    )
