"""HTTP: FastAPI is the face, with every route and its description; `build` puts the parts together."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from prometheus_client import ProcessCollector
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from service.core.clock import Clock, MonotonicClock
from service.core.errors import RetortError
from service.gateway.budget import ByteBudget
from service.gateway.controls import Controls
from service.gateway.http.crowd import Crowd
from service.gateway.http.docs import Docs, openapi_of
from service.gateway.http.door import guarded
from service.gateway.http.entrance import Entrance, Problems
from service.gateway.http.health import HealthRoutes
from service.gateway.http.metrics import Metrics
from service.gateway.http.open_inference import OpenInference
from service.gateway.http.predict import Predict
from service.gateway.http.repository import RepositoryRoutes
from service.gateway.http.routes import Route
from service.gateway.http.settings_routes import SettingsRoutes
from service.gateway.http.shared_memory import SharedMemoryRoutes
from service.gateway.http.untaken import Untaken
from service.gateway.keyring import Keyring
from service.gateway.rights import Right
from service.gateway.shared_memory import SharedMemory
from service.gateway.turns import Turns
from service.observe import logs
from service.observe.collector import StatisticsCollector
from service.observe.machine import Machine
from service.observe.names import STATUS_CODES
from service.serving.catalog import Catalog
from service.serving.readiness import Health

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

_EXPOSED = ("Inference-Header-Content-Length", "Retry-After", "Traceresponse", "X-Request-Id")
_PREFLIGHT_S = 600
_READ_SHARE, _READ_LEAST_BYTES = 8, 16 << 20  # of the budget, and beside it: for what is read of the server
# Spans are made where requests come in, see `traced`; the framework would make its own of whatever it finds set up.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def build(  # noqa: PLR0913 (all that the HTTP side is made of)
    catalog: Catalog,
    health: Health,
    *,
    max_body_bytes: int,
    access_log: bool = False,
    shared_memory: SharedMemory | None = None,
    cors_origins: Sequence[str] = (),
    calls: Mapping[str, int] | None = None,
    responses: Counter[int] | None = None,
    budget: ByteBudget | None = None,
    clock: Clock | None = None,
    controls: Controls | None = None,
    keyring: Keyring | None = None,
    turns: Turns | None = None,
    certificate_left_s: Callable[[], float] | None = None,
) -> ASGIApp:
    """The HTTP side of the service.

    Args:
        catalog: who answers.
        health: whether the server is live and ready.
        max_body_bytes: the largest request body.
        access_log: whether every request gets a line.
        shared_memory: the regions in which tensors may lie; None where it is off.
        cors_origins: whose web pages may use the service, "*" for everyone's; none: browsers refuse them all.
        calls: gRPC code -> calls that ended so, for the metrics.
        responses: HTTP status -> answers sent; counted here.
        budget: of the bytes in flight; None for as many as come.
        clock: monotonic seconds, for deadlines.
        controls: what is traced and logged; None for nothing that could be changed.
        keyring: who may do what; None for the rules of a server without keys.
        turns: of the loop, for inference requests; None for turns that nobody else takes.
        certificate_left_s: until the certificate ends, for the metrics; None where there is none.
    """
    clock = clock or MonotonicClock()
    controls = controls or Controls()
    turns = turns or Turns(clock)
    shared_memory = shared_memory or SharedMemory(False, max_body_bytes)
    version = installed_version("retort")
    responses = Counter() if responses is None else responses
    responses.update(dict.fromkeys(STATUS_CODES, 0))
    statistics = StatisticsCollector(
        catalog.counters,
        catalog.model_statistics,
        responses,
        calls or {},
        Machine(),
        {} if keyring is None else keyring.requests,
        certificate_left_s,
    )
    inference = OpenInference(catalog, clock, max_body_bytes, version, shared_memory)
    routes = [
        *inference.routes(),
        *Predict(catalog, clock, max_body_bytes, turns).routes(),
        *HealthRoutes(catalog, health).routes(),
        *RepositoryRoutes(catalog, max_body_bytes).routes(),
        *SettingsRoutes(catalog, controls).routes(),
        *SharedMemoryRoutes(shared_memory).routes(),
        *Metrics([statistics, ProcessCollector(registry=None)]).routes(),
    ]
    problems = Problems(logs.logger("service.gateway"))
    read_bytes = sys.maxsize if budget is None else max(_READ_LEAST_BYTES, budget.limit_bytes // _READ_SHARE)
    app = Crowd(Untaken(_face(routes, problems, version, keyring), read_bytes), Turns(clock))
    access = logs.logger("service.access") if access_log else None
    infer = guarded(inference.infer, Right.INFER, keyring)
    entrance = Entrance(app, infer, problems, responses, access, controls.tracing, budget, turns)
    return _shared_with(cors_origins, entrance) if cors_origins else entrance


def _shared_with(origins: Sequence[str], app: ASGIApp) -> ASGIApp:
    """`app`, whose answers the web pages of `origins` may read; Fetch standard, "CORS protocol"."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),
        expose_headers=_EXPOSED,
        max_age=_PREFLIGHT_S,
    )


def _face(routes: list[Route], problems: Problems, version: str, keyring: Keyring | None) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False, telemetry=_NO_TELEMETRY)
    app.openapi = openapi_of(lambda: app.routes, version)  # type: ignore[method-assign]
    for route in routes:
        route.add_to(app, keyring)
    app.add_api_route("/docs", Docs(app.openapi).page, methods=["GET", "HEAD"], include_in_schema=False)
    for kind in (RetortError, HTTPException, Exception):
        app.add_exception_handler(kind, problems)
    return app
