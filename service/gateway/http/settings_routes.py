"""Routes of Triton's trace and logging extensions: settings that an administrator changes, and anybody reads.

With keys an administrator alone reads them too: they name files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.gateway.access import check_settings
from service.gateway.controls import Controls
from service.gateway.http.answers import json_answer
from service.gateway.http.orders import order_of
from service.gateway.http.routes import Route
from service.gateway.rights import Right
from service.serving.catalog import Catalog

_ADMIN = Right.ADMIN


class SettingsRoutes:
    """Handlers of /v2/logging and of the trace settings.

    Args:
        catalog: which models there are.
        controls: the settings.
    """

    def __init__(self, catalog: Catalog, controls: Controls) -> None:
        self._catalog = catalog
        self._traces = controls.tracing.settings
        self._logs = controls.logs

    def routes(self) -> list[Route]:
        """Every route of this module."""
        trace, model, logging = "/v2/trace/setting", "/v2/models/{model}/trace/setting", "/v2/logging"
        told = "TraceSetting"
        return [
            Route("GET", trace, self.trace, "What is traced", told, right=_ADMIN),
            Route("POST", trace, self.set_trace, "Change what is traced", told, "TraceOrder", right=_ADMIN),
            Route("GET", model, self.model_trace, "What is traced of a model", told, right=_ADMIN),
            Route("POST", model, self.set_model_trace, "Change it for a model", told, "TraceOrder", right=_ADMIN),
            Route("GET", logging, self.log, "What is logged", "LogSetting", right=_ADMIN),
            Route("POST", logging, self.set_log, "Change what is logged", "LogSetting", "LogOrder", right=_ADMIN),
        ]

    async def trace(self, _request: Request) -> Response:
        """The global trace settings."""
        return json_answer(self._traces.get())

    async def set_trace(self, request: Request) -> Response:
        """Changes the global trace settings."""
        self._traces.update(await _order(request))
        return json_answer(self._traces.get())

    async def model_trace(self, request: Request) -> Response:
        """The trace settings that hold for a model."""
        return json_answer(self._traces.get(self._model(request)))

    async def set_model_trace(self, request: Request) -> Response:
        """Gives a model trace settings of its own."""
        order, model = await _order(request), self._model(request)
        self._traces.update(order, model)
        return json_answer(self._traces.get(model))

    async def log(self, _request: Request) -> Response:
        """The log settings."""
        return json_answer(self._logs.get())

    async def set_log(self, request: Request) -> Response:
        """Changes the log settings."""
        self._logs.update(await _order(request))
        return json_answer(self._logs.get())

    def _model(self, request: Request) -> str:
        """The model that the path names. Raises NotFound."""
        model: str = request.path_params["model"]
        self._catalog.versions(model)
        return model


async def _order(request: Request) -> Mapping[str, Any]:
    """The settings that an administrator sends; none in an empty body."""
    check_settings(request.scope)
    return await order_of(request)
