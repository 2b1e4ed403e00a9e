"""The outermost ASGI application: gives every request its id, counts and logs every answer, turns errors into problems.

Inference requests go straight to their handler, past FastAPI's middleware and its search through the routes, which
cost several times what the handler itself does; the route is registered there all the same, for its description.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.clock import MonotonicClock
from service.core.errors import Draining
from service.gateway.access import holder_of
from service.gateway.budget import ByteBudget, Share
from service.gateway.guard import SHARE
from service.gateway.http import traced
from service.gateway.http.answers import problem_answer
from service.gateway.http.exchange import WHOLE, Exchange
from service.gateway.http.flow import TAKEN_OVER_BYTES
from service.gateway.http.request_head import CAME_S, REF, origin_of, request_id_of
from service.gateway.http.routes import methods_at
from service.gateway.problems import Problem, problem, problem_of, was_meant
from service.gateway.quote import quote
from service.gateway.request_ids import RequestIds
from service.gateway.turns import Turns
from service.observe.logs import REQUEST_ID, Log
from service.observe.tracing import TRACE, RequestTrace, Tracing, nothing_followed

Handler = Callable[[Request], Awaitable[Response]]

_INFER = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/infer")
_PATH_LIMIT = 300
_PIECE_BYTES = 256 << 10  # of a large answer, handed over at once
_END: Message = {"type": "http.response.body", "body": b""}
# What uvloop says of a connection that its client closed, in the moment before uvicorn hears of it.
_CLOSED = "the handler is closed"


class Problems:
    """Answers an error, and logs with its traceback what was not raised on purpose."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def __call__(self, request: Request, error: Exception) -> Response:
        """The answer to `error`; has the form of a FastAPI exception handler."""
        trace = TRACE.get()
        if trace is not None:
            trace.failed(error)
        if isinstance(error, HTTPException):
            return problem_answer(_routing_problem(request, error))
        if not was_meant(error):
            self._log.error("internal error", exc_info=error)
        return problem_answer(problem_of(error, REQUEST_ID.get("")))


class Entrance:
    """See the module.

    Args:
        app: answers everything but inference.
        infer: answers inference requests.
        problems: answers errors.
        responses: HTTP status code -> answers sent; counted here.
        access_log: gets one line a request; None logs none.
        tracing: follows inference requests; None follows none.
        budget: of the bytes in flight; None for as many as come.
        turns: of the loop, for inference requests; None for turns that nobody else takes.
    """

    def __init__(
        self,
        app: ASGIApp,
        infer: Handler,
        problems: Problems,
        responses: Counter[int],
        access_log: Log | None,
        tracing: Tracing | None = None,
        budget: ByteBudget | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._app = app
        self._infer = infer
        self._problems = problems
        self._responses = responses
        self._access_log = access_log
        self._tracing = tracing or nothing_followed()
        self._budget = budget or ByteBudget(sys.maxsize)
        self._turns = turns or Turns(MonotonicClock())
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; anything but HTTP is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._ids.chosen(request_id_of(scope))
        REQUEST_ID.set(request_id)
        began_ns = time.perf_counter_ns()
        trace = self._trace_of(scope, request_id)
        headers = [(b"x-request-id", request_id.encode())]
        if trace is not None:
            headers += traced.headers_of(trace)
        sender = _Sender(send, headers)
        scope[SHARE] = share = Share(self._budget)
        try:
            if _asks_for_inference(scope):
                if (turn := self._turns.take()) is not None:  # before its key is looked at: a crowd may have none
                    scope[CAME_S] = self._turns.now_s()
                    await turn
                await sender.answer(await self._infer(Request(scope, receive)), scope, receive)
            else:
                await self._app(scope, receive, sender)
        except (Exception, asyncio.CancelledError) as error:
            if not sender.status:
                await sender.answer(await self._refusal(scope, error), scope, receive)
        finally:
            share.end()
            if trace is not None:
                traced.end(trace, sender.status)
            self._note(scope, sender.status, time.perf_counter_ns() - began_ns)

    def _trace_of(self, scope: Scope, request_id: str) -> RequestTrace | None:
        trace = traced.begin(self._tracing, scope, request_id) if self._tracing.on else None
        if TRACE.get() is not trace:  # the task of a pipelined request inherits what the request before it had
            TRACE.set(trace)
        return trace

    async def _refusal(self, scope: Scope, error: BaseException) -> Response:
        if isinstance(error, asyncio.CancelledError):  # by the server alone, when it stops and has waited long enough
            error = Draining("the server is shutting down, and this request took too long")
            return problem_answer(problem_of(error, REQUEST_ID.get("")))
        return await self._problems(Request(scope), cast("Exception", error))

    def _note(self, scope: Scope, status: int, took_ns: int) -> None:
        if status:
            self._responses[status] += 1
        if self._access_log is not None:
            _log_access(self._access_log, scope, status, took_ns)


class _Sender:
    """Passes messages on, adds headers such as the request's id and remembers the status; 0 until there is one.

    A large answer is sent when it is taken, not when it is handed over: the message behind it waits for that. One to a
    client that has just left goes nowhere, as uvicorn has it for one that left earlier.
    """

    __slots__ = ("_headers", "_send", "status")

    def __init__(self, send: Send, headers: list[traced.Header]) -> None:
        self._send = send
        self._headers = headers
        self.status = 0

    async def answer(self, response: Response, scope: Scope, receive: Receive) -> None:
        """Sends a whole answer; a small one at once where its request came so and its client takes it now.

        But not past who stands in between and adds to answers, as CORS does.
        """
        whole: Exchange | None = scope.get(WHOLE)
        if whole is None or self._send != whole.send or not whole.ready or len(response.body) > TAKEN_OVER_BYTES:
            await response(scope, receive, self)
            return
        self.status = response.status_code
        try:
            whole.answer(self.status, [*response.raw_headers, *self._headers], bytes(response.body))
        except RuntimeError as error:
            _check_closed(error)

    async def __call__(self, message: Message) -> None:
        try:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                message["headers"].extend(self._headers)
            elif len(message.get("body", b"")) > TAKEN_OVER_BYTES and not message.get("more_body"):
                await self._send_in_pieces(memoryview(message["body"]))
                message = _END
            await self._send(message)
        except RuntimeError as error:
            _check_closed(error)

    async def _send_in_pieces(self, body: memoryview) -> None:
        """A connection with TLS encrypts at once what it is given, and keeps memory for as much until it ends."""
        for at in range(0, len(body), _PIECE_BYTES):
            await self._send({"type": "http.response.body", "body": body[at : at + _PIECE_BYTES], "more_body": True})


def _asks_for_inference(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request is one for inference; notes then what its path names. Raises HTTPException: no path is so."""
    if REF in scope:
        return True
    if scope["path"].endswith("\n"):  # before which Starlette's routes end, too
        raise HTTPException(HTTPStatus.NOT_FOUND)
    match = _INFER.fullmatch(scope["path"]) if scope["method"] == "POST" else None
    if match is None:
        return False
    scope["path_params"] = match.groupdict()
    return True


def _check_closed(error: RuntimeError) -> None:
    if _CLOSED not in str(error):
        raise error


def _routing_problem(request: Request, error: HTTPException) -> Problem:
    path = quote(request.scope["path"])
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # by the first route there, which knows its own alone
        allow = {"Allow": methods_at(request.app.routes, request.scope)}
        return problem(error.status_code, f"the method {quote(request.method)} is not known at {path}", allow)
    return problem(error.status_code, f"nothing is found at {path}; GET /docs lists every route", error.headers)


def _log_access(log: Log, scope: Scope, status: int, took_ns: int) -> None:
    holder = holder_of(scope)
    log.info(
        "request",
        method=scope["method"],
        path=scope["path"][:_PATH_LIMIT],
        status=status,
        ms=round(took_ns / 1e6, 3),
        peer=origin_of(scope),
        **({} if holder is None else {"key": holder.name}),
    )
