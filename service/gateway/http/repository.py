"""Routes that show and change what is served: Triton's repository extension, and our versions, cards and swaps.

Those that change something pass `access` first.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from service.core.cpu import cpu_class
from service.core.errors import BadInput, NotFound
from service.gateway import describe
from service.gateway.access import check_admin
from service.gateway.codec import JSON, parse_object
from service.gateway.http.answers import json_answer
from service.gateway.http.orders import body_of_order, order_of
from service.gateway.http.routes import Route
from service.gateway.load_order import check_unload_order, read_load_order
from service.gateway.quote import quote
from service.gateway.rights import Right
from service.repository.overlay import Override
from service.serving.catalog import Catalog
from service.serving.gate import Machine
from service.serving.threads import in_thread

T = TypeVar("T", bound=BaseModel)

_ADMIN = Right.ADMIN
_BESIDE_FILES_BYTES = 64 << 10  # of a load: its configuration, and the names of its files
_DAY_S = 86_400


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SwapOrder(_Order):
    """The body of a swap.

    Attributes:
        version: what is to become active.
        force: overrides the gate's verdict, nothing else.
        watch_s: seconds in which the swap reverts by itself when errors exceed `max_error_rate`.
        max_error_rate: failed requests / all that reached the version.
    """

    version: Annotated[str, Field(min_length=1, max_length=255)]
    force: bool = False
    watch_s: Annotated[float, Field(gt=0, le=_DAY_S)] | None = None
    max_error_rate: Annotated[float, Field(ge=0, le=1)] | None = None


class RollbackOrder(_Order):
    """The body of a rollback: an empty object."""


class IndexOrder(_Order):
    """The body of an index request; `ready` leaves out what does not answer."""

    ready: bool = False


class RepositoryRoutes:
    """Handlers of /v2/repository and of the versions' cards.

    Args:
        catalog: who answers.
        max_body_bytes: of the files that a load brings, before their base64.
    """

    def __init__(self, catalog: Catalog, max_body_bytes: int) -> None:
        self._catalog = catalog
        self._load_limit_bytes = max_body_bytes * 4 // 3 + _BESIDE_FILES_BYTES

    def routes(self) -> list[Route]:
        """Every route of this module."""
        one, model = "/v2/repository/models/{model}", "/v2/models/{model}"
        return [
            Route("POST", "/v2/repository/index", self.index, "Every version", "Index", body="IndexOrder"),
            Route("POST", f"{one}/load", self.load, "(Re)load a model", "Nothing", body="LoadOrder", right=_ADMIN),
            Route("POST", f"{one}/unload", self.unload, "Unload a model", "Nothing", body="UnloadOrder", right=_ADMIN),
            Route(
                "POST",
                f"{one}/swap",
                self.swap,
                "Change the version",
                "SwapReport",
                body="SwapOrder",
                right=_ADMIN,
            ),
            Route(
                "POST",
                f"{one}/rollback",
                self.rollback,
                "Go back",
                "SwapReport",
                body="RollbackOrder",
                right=_ADMIN,
            ),
            Route("GET", f"{model}/versions", self.versions, "A model's versions in short", "Versions"),
            Route("GET", f"{model}/versions/{{version}}/card", self.card, "A version's whole card", "Card"),
        ]

    async def index(self, request: Request) -> Response:
        """Every version of every model, with its state."""
        order = await _order(request, IndexOrder)
        return json_answer(describe.index(self._catalog, ready=order.ready))

    async def load(self, request: Request) -> Response:
        """Reads a model's files again, or what the request brings; what served before serves on if that fails."""
        check_admin(request.scope, needs_content_type=False)
        model = request.path_params["model"]
        body = await body_of_order(request, self._load_limit_bytes)

        def read() -> Override | None:
            return read_load_order(model, _parameters(parse_object(body) if body else {}))

        override = await in_thread("read a load", read)  # megabytes of base64 would hold up the requests of others
        await self._catalog.load(model, override)
        return json_answer({})

    async def unload(self, request: Request) -> Response:
        """Drains and closes every version of a model."""
        check_admin(request.scope, needs_content_type=False)
        check_unload_order(_parameters(await order_of(request)))
        await self._catalog.unload(request.path_params["model"])
        return json_answer({})

    async def swap(self, request: Request) -> Response:
        """Makes another version active, under traffic."""
        check_admin(request.scope)
        order = await _order(request, SwapOrder)
        report = await self._catalog.swap(request.path_params["model"], **order.model_dump())
        return json_answer(report.to_json())

    async def rollback(self, request: Request) -> Response:
        """Makes the version before the last swap active again."""
        check_admin(request.scope)
        await _order(request, RollbackOrder)
        report = await self._catalog.rollback(request.path_params["model"])
        return json_answer(report.to_json())

    async def versions(self, request: Request) -> Response:
        """Every version of a model, with what its card says in short."""
        model = request.path_params["model"]
        views, machine = self._catalog.versions(model), self._machine(model)
        return json_answer({"versions": [describe.summary(view, machine) for view in views]})

    async def card(self, request: Request) -> Response:
        """The card, every key."""
        model, version = request.path_params["model"], request.path_params["version"]
        view = next((view for view in self._catalog.versions(model) if view.version == version), None)
        if view is None or view.card is None:
            raise NotFound(f"version {quote(version)} of model {quote(model)} has no card here")
        return Response(view.card.to_json(), media_type=JSON)

    def _machine(self, model: str) -> Machine:
        """What this model's versions run on."""
        loaded = (servable.machine for servable in self._catalog.loaded() if servable.model == model)
        return next(loaded, Machine("cpu", cpu_class()))


async def _order(request: Request, kind: type[T]) -> T:
    order = await order_of(request)
    try:
        return kind.model_validate(order)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = quote(str(first["loc"][0]) if first["loc"] else "the body")
    what = "is not known" if first["type"] == "extra_forbidden" else first["msg"][:1].lower() + first["msg"][1:]
    raise BadInput(f"{where} of the request: {what}")


def _parameters(order: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a load or unload; none where it says none."""
    parameters = order.get("parameters")
    if not isinstance(parameters, dict | None):
        raise BadInput(f"'parameters' of the request is {quote(parameters)}, expected an object")
    return parameters or {}
