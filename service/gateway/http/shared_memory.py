"""Routes of Triton's shared memory extensions: the system's regions, and the refusal of CUDA's.

Only the server's own machine may use them, status included: a status names keys.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from service.core.errors import BadInput
from service.gateway.access import check_shared_memory
from service.gateway.codec import parse_object
from service.gateway.http.answers import json_answer
from service.gateway.http.orders import body_of_order
from service.gateway.http.routes import Route
from service.gateway.quote import quote
from service.gateway.rights import Right
from service.gateway.shared_memory import SharedMemory

_ADMIN = Right.ADMIN
_BODY_LIMIT_BYTES = 4 << 10
_ORDER = ("key", "offset", "byte_size")


class SharedMemoryRoutes:
    """Handlers of /v2/systemsharedmemory and /v2/cudasharedmemory."""

    def __init__(self, shared_memory: SharedMemory) -> None:
        self._shared_memory = shared_memory

    def routes(self) -> list[Route]:
        """Every route of this module."""
        ours, cuda = "/v2/systemsharedmemory", "/v2/cudasharedmemory"
        one, one_cuda = f"{ours}/region/{{region}}", f"{cuda}/region/{{region}}"
        register, forget, no_cuda = "Make a region known", "Forget a region", "Refused: there are no CUDA regions"
        clear, clear_cuda = self.unregister_all_regions, self.unregister_all_cuda_regions
        return [
            Route("GET", f"{ours}/status", self.all_regions, "Every region of shared memory", "Regions", right=_ADMIN),
            Route("GET", f"{one}/status", self.region, "One region of shared memory", "Regions", right=_ADMIN),
            Route("POST", f"{one}/register", self.register_region, register, "Nothing", "RegionOrder", right=_ADMIN),
            Route("POST", f"{one}/unregister", self.unregister_region, forget, "Nothing", right=_ADMIN),
            Route("POST", f"{ours}/unregister", clear, "Forget every region", "Nothing", right=_ADMIN),
            Route("GET", f"{cuda}/status", self.all_cuda_regions, "CUDA regions: none", "Regions", right=_ADMIN),
            Route("GET", f"{one_cuda}/status", self.cuda_region, "A CUDA region: none", "Regions", right=_ADMIN),
            Route("POST", f"{one_cuda}/register", self.register_cuda_region, no_cuda, "Nothing", right=_ADMIN),
            Route(
                "POST",
                f"{one_cuda}/unregister",
                self.unregister_cuda_region,
                "Does nothing",
                "Nothing",
                right=_ADMIN,
            ),
            Route("POST", f"{cuda}/unregister", clear_cuda, "Does nothing", "Nothing", right=_ADMIN),
        ]

    async def all_regions(self, request: Request) -> Response:
        """Every registered region."""
        check_shared_memory(request.scope)
        return json_answer(self._shared_memory.status(None))

    async def region(self, request: Request) -> Response:
        """One registered region, in a list."""
        check_shared_memory(request.scope)
        return json_answer(self._shared_memory.status(request.path_params["region"]))

    async def register_region(self, request: Request) -> Response:
        """Opens an object of shared memory and gives a span of it a name."""
        check_shared_memory(request.scope)
        order = parse_object(await body_of_order(request, _BODY_LIMIT_BYTES))
        for key in order:
            if key not in _ORDER:
                raise BadInput(f"{quote(key)} of the request is not known, expected 'key', 'offset' and 'byte_size'")
        self._shared_memory.register(
            request.path_params["region"], order.get("key"), order.get("offset", 0), order.get("byte_size")
        )
        return json_answer({})

    async def unregister_region(self, request: Request) -> Response:
        """Forgets one region; one that is not there is no error."""
        check_shared_memory(request.scope)
        self._shared_memory.unregister(request.path_params["region"])
        return json_answer({})

    async def unregister_all_regions(self, request: Request) -> Response:
        """Forgets every region."""
        check_shared_memory(request.scope)
        self._shared_memory.unregister(None)
        return json_answer({})

    async def all_cuda_regions(self, request: Request) -> Response:
        """No region."""
        check_shared_memory(request.scope)
        return json_answer(self._shared_memory.cuda_status(None))

    async def cuda_region(self, request: Request) -> Response:
        """Not found."""
        check_shared_memory(request.scope)
        return json_answer(self._shared_memory.cuda_status(request.path_params["region"]))

    async def register_cuda_region(self, request: Request) -> Response:
        """Refused."""
        check_shared_memory(request.scope)
        self._shared_memory.register_cuda()
        return json_answer({})

    async def unregister_cuda_region(self, request: Request) -> Response:
        """Nothing is there to be forgotten."""
        check_shared_memory(request.scope)
        self._shared_memory.unregister_cuda()
        return json_answer({})

    async def unregister_all_cuda_regions(self, request: Request) -> Response:
        """Nothing is there to be forgotten."""
        return await self.unregister_cuda_region(request)
