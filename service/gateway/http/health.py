"""Liveness and readiness, of the server and of single models, as small JSON bodies."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from service.gateway.http.answers import json_answer
from service.gateway.http.request_head import ref_of
from service.gateway.http.routes import Route, at_each_version
from service.gateway.rights import Right
from service.serving.catalog import Catalog
from service.serving.readiness import Health
from service.serving.reports import Readiness


class HealthRoutes:
    """Handlers of what orchestrators ask."""

    def __init__(self, catalog: Catalog, health: Health) -> None:
        self._catalog = catalog
        self._health = health

    def routes(self) -> list[Route]:
        """Every route of this module."""
        ready = Route("GET", "/v2/models/{model}/ready", self.model_ready, "Whether a model answers", "Ready")
        return [
            Route("GET", "/v2/health/live", self.live, "Whether the process lives", "Live", right=Right.OPEN),
            Route("GET", "/v2/health/ready", self.ready, "Whether to send traffic", "Ready", right=Right.OPEN),
            *at_each_version(ready),
        ]

    async def live(self, _request: Request) -> Response:
        """200 as long as the process answers."""
        return _answer("live", self._health.live())

    async def ready(self, _request: Request) -> Response:
        """200 when the server's own probes are answered, 503 while it starts, drains, or a required model fails."""
        return _answer("ready", self._health.ready())

    async def model_ready(self, request: Request) -> Response:
        """200 when the model, or the version of it, answers; else 503 with the reason."""
        ref = ref_of(request)
        return _answer("ready", self._catalog.ready(ref.name, ref.version))


def _answer(word: str, readiness: Readiness) -> Response:
    if readiness.ok:
        return json_answer({word: True})
    answer = json_answer({word: False, "error": readiness.reason}, 503)
    answer.headers["Retry-After"] = "1"
    return answer
