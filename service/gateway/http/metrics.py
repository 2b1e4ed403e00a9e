"""The scrape: every metric in Prometheus' text format, collected when asked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from service.gateway.http.routes import Route
from service.gateway.rights import Right
from service.observe.exposition import CONTENT_TYPE, exposition


class Metrics:
    """Handler of /metrics over `collectors`, in their order."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        self._collectors = collectors

    def routes(self) -> list[Route]:
        """The one route of this module."""
        return [Route("GET", "/metrics", self.metrics, "Prometheus metrics", "Metrics", right=Right.METRICS)]

    async def metrics(self, _request: Request) -> Response:
        """Triton's `nv_inference_*` under their names, and our own histograms."""
        families = chain.from_iterable(collector.collect() for collector in self._collectors)
        return Response(exposition(families), media_type=CONTENT_TYPE)
