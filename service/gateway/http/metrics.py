"""The scrape: every metric in Prometheus' text format, collected when asked, in between requests.

With hundreds of models it takes a tenth of a second in all, and holds nobody up for more than some milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import chain

from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from service.gateway.http.routes import Route
from service.gateway.rights import Right
from service.observe.exposition import CONTENT_TYPE, pieces

AT_ONCE = 4  # each keeps what it has of its text
SHARE_S, REST_S = 0.001, 0.002  # a request takes several turns of the loop, and is not to meet a share in each


class Metrics:
    """Handler of /metrics over `collectors`, in their order."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        self._collectors = collectors
        self._scrapes = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[Route]:
        """The one route of this module."""
        return [Route("GET", "/metrics", self.metrics, "Prometheus metrics", "Metrics", right=Right.METRICS)]

    async def metrics(self, _request: Request) -> Response:
        """Triton's `nv_inference_*` under their names, and our own histograms."""
        async with self._scrapes:
            text = await self._text()
        return Response(text, media_type=CONTENT_TYPE)

    async def _text(self) -> str:
        families = chain.from_iterable(collector.collect() for collector in self._collectors)
        text, began_s = [], time.monotonic()
        for piece in pieces(families):
            text.append(piece)
            if time.monotonic() - began_s >= SHARE_S:
                await asyncio.sleep(REST_S)
                began_s = time.monotonic()
        return "".join(text)
